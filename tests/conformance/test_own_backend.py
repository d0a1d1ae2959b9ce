"""The backend that the documentation shows passes the suite that the documentation shows."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from mlcache.testing import BackendConformance

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-backend.md"


def _run(page: Path) -> dict[str, Any]:
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "own_backend"}
    with tempfile.TemporaryDirectory() as folder:
        exec("\n".join(blocks).replace("/var/cache", folder), names)  # noqa: S102 - our own page
    return names


_shown = _run(PAGE)
Shown: type[BackendConformance] = _shown["TestFiles"]


class TestShown(Shown):  # type: ignore[valid-type,misc]
    persistent = True


def test_the_page_shows_how_to_offer_it_by_name() -> None:
    from mlcache.backends.address import Defaults, Opener, take_apart

    opener = _shown["opener"]
    assert isinstance(opener, Opener)
    with tempfile.TemporaryDirectory() as folder:
        assert opener.open(take_apart(f"files://{folder}"), Defaults()).name == "files"
