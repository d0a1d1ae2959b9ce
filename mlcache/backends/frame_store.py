"""The store of a ``joblib.Memory``, made such that it neither pickles nor unpickles.

This module imports joblib, so nobody imports it before a folder of joblib's is opened.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from joblib.memory import FileSystemStoreBackend

from mlcache.errors import BackendError

FILE = "output.pkl"
"""What joblib calls the file of a result; by the time of its last use it tells what to remove first."""

ATTEMPTS = 100
"""How often to write while others remove the folder to write to."""


class FrameStore(FileSystemStoreBackend):  # type: ignore[misc] # joblib has no types
    """joblib's folders, with bytes in them."""

    def load_item(self, call_id: Sequence[str], *_args: Any, **_options: Any) -> bytes:
        """The bytes of an item.

        Raises:
            KeyError: there is none.
        """
        try:
            return self._file(call_id).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise KeyError(str(error)) from None

    def dump_item(self, call_id: Sequence[str], item: bytes, *_args: Any, **_options: Any) -> None:
        """Write the bytes of an item, all at once or not at all.

        Raises:
            OSError: they cannot be written.
            BackendError: others remove the folder all the time.
        """
        file = self._file(call_id)
        for _ in range(ATTEMPTS):
            with suppress(FileNotFoundError):  # somebody removed the folder just now
                self.create_location(str(file.parent))
                return self._replace(file, item)
        raise BackendError(f"{file.parent} was removed {ATTEMPTS} times while it was written to")

    def names(self, call_id: Sequence[str]) -> list[str]:
        """The names of all items in a folder."""
        folder = Path(self.location, *call_id)
        try:
            found = [entry.name for entry in os.scandir(folder) if re.fullmatch("[0-9a-f]{32}", entry.name)]
        except FileNotFoundError:
            return []
        return [name for name in found if (folder / name / FILE).exists()]

    def _replace(self, file: Path, data: bytes) -> None:
        new = file.with_name(f"{FILE}.{uuid.uuid4().hex}")
        try:
            new.write_bytes(data)
            self._move_item(str(new), str(file))
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def _file(self, call_id: Sequence[str]) -> Path:
        return Path(self.location, *call_id, FILE)
