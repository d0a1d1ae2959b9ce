"""A folder of any file system that fsspec opens: whole files are read and written, each in one step."""

from __future__ import annotations

import errno
import os
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from mlcache import forks
from mlcache.backends.address import hide_passwords
from mlcache.errors import (
    ConfigurationError,
    InvalidModelError,
    MissingExtraError,
    ModelStoreError,
    UnknownModelError,
)

T = TypeVar("T")

LONGEST_NAME = 200
"""Bytes in the name of a file; an id that needs more is no model's."""

PATIENCE: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}
"""How long S3 is waited for, unless the user says otherwise: whoever asks for a model waits as long."""

IN_PARTS = 32 << 20
"""Bytes of a file from which on it is read in several parts at a time, where the file system does so."""

_REPLACES_IN_ONE_STEP = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}
_VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "modified", "updated", "created")


class FileSystem:
    """One folder, and what may be done in it.

    All methods raise ``ModelStoreError`` where the file system does not answer, and those that read
    ``FileNotFoundError``.

    Args:
        url: of the folder.
        options: of the file system.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None) -> None:
        self._url = url
        self._options = _options(url, options or {})
        self._lock = threading.Lock()
        self._opened: tuple[Any, str] | None = None
        forks.tend(self)
        self._open()  # a URL that nobody understands is the caller's error, and not a store that is down

    def read(self, path: str, size: int = 0) -> bytes:
        """The bytes of a file, about ``size`` where that is known."""

        def read(fs: Any, root: str) -> Any:
            if size >= IN_PARTS:
                return fs.cat_file(f"{root}/{path}")
            try:  # from the first byte on: before it reads whole files, s3fs asks for their size
                return fs.cat_file(f"{root}/{path}", start=0)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                return fs.cat_file(f"{root}/{path}")  # it has no first byte, or S3 says so of something else

        return bytes(self._do(read))

    def version_and_size(self, path: str) -> tuple[str, int]:
        """What changes when a file does, and its bytes."""

        def look(fs: Any, root: str) -> Any:
            fs.invalidate_cache()  # listings are remembered, in which files are as they once were
            return fs.info(f"{root}/{path}")

        info = self._do(look)
        if info.get("type") == "directory":
            raise FileNotFoundError(path)
        stamp = next((str(info[name]).strip('"') for name in _VERSIONS if info.get(name)), "")
        size = int(info["size"])
        return (stamp if info.get("ETag") or info.get("etag") else f"{stamp}-{size}"), size

    def put(self, path: str, data: bytes) -> None:
        """Write a file that others see as a whole or not at all."""

        def write(fs: Any, root: str) -> None:
            target = f"{root}/{path}"
            if _REPLACES_IN_ONE_STEP & _protocols(fs):
                fs.pipe_file(target, data)
                return
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            beside = f"{target}.{uuid.uuid4().hex}.tmp"
            fs.pipe_file(beside, data)
            fs.mv(beside, target)

        self._do(write)

    def remove(self, path: str) -> bool:
        """Remove a file; whether it was there."""
        try:
            self.version_and_size(path)  # S3 removes what is not there without a word
            self._do(lambda fs, root: fs.rm_file(f"{root}/{path}"))
        except FileNotFoundError:
            return False
        return True

    def remove_folder(self, path: str) -> bool:
        """Remove a folder with all that it holds; whether it held anything."""
        held = bool(self.paths(path))
        with suppress(FileNotFoundError):
            self._do(lambda fs, root: fs.rm(f"{root}/{path}", recursive=True))
        return held

    def paths(self, folder: str = "") -> list[str]:
        """The paths, within a folder that need not exist, of all files in it and in the folders in it."""

        def look(fs: Any, root: str) -> Any:
            fs.invalidate_cache()
            start = f"{root}/{folder}".rstrip("/")
            with suppress(FileNotFoundError):
                return [path[len(start) + 1 :] for path in fs.find(start)]
            return []

        found: list[str] = self._do(look)
        return found

    def check_root(self) -> None:
        """Find out, when a file is missing, whether the folder of a local disk is: it may not be mounted."""
        with suppress(FileNotFoundError):
            self._do(lambda fs, root: fs.info(root) if "file" in _protocols(fs) else None)
            return
        raise ModelStoreError(f"there is no folder {self}")

    def ping(self) -> None:
        """Ask for a sign of life."""

        def look(fs: Any, root: str) -> None:
            fs.invalidate_cache()
            with suppress(FileNotFoundError):
                fs.info(f"{root}/mlcache-ping")  # that it is not there is an answer

        self._do(look)
        self.check_root()

    def close(self) -> None:
        """Close connections; they are opened anew when they are needed."""
        with self._lock:
            opened, self._opened = self._opened, None
        fs: Any = opened[0] if opened else None
        if getattr(fs, "_s3", None) is not None:
            fs.close_session(fs.loop, fs._s3)  # noqa: SLF001 - s3fs has no other way

    def after_fork(self) -> None:
        """In a forked child: connections are the parent's."""
        self._lock = threading.Lock()
        self._opened = None

    def _open(self) -> tuple[Any, str]:
        with self._lock:
            if self._opened is None:
                self._opened = _open(self._url, self._options)
            return self._opened

    def _do(self, work: Callable[[Any, str], T]) -> T:
        fs, root = self._open()
        try:
            return work(fs, root)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise FileNotFoundError(str(error)) from error
        except PermissionError as error:
            raise InvalidModelError(f"{self} does not let us: {error}") from error
        except Exception as error:  # whatever a file system raises
            raise ModelStoreError(f"{self} does not answer: {type(error).__name__}: {error}") from error

    def __str__(self) -> str:
        return hide_passwords(self._url)


def name_of_model(model_id: str) -> str:
    """The name under which a model lies, which no id can turn into a path.

    Raises:
        UnknownModelError: no model can have that id.
    """
    name = urllib.parse.quote(model_id, safe=" @+=")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if not name or len(name) > LONGEST_NAME:
        raise UnknownModelError(f"no model has the id {model_id[:50]!r}: it has 1 to {LONGEST_NAME} bytes")
    return name


def id_of_name(name: str) -> str:
    """The id of the model that lies under a name."""
    return urllib.parse.unquote(name)


def _options(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    if url.partition("://")[0] not in ("s3", "s3a"):
        return dict(options)
    return {**options, "config_kwargs": {**PATIENCE, **options.get("config_kwargs", {})}}


def _open(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtraError("a repository of models in files", "fsspec", "models") from None
    try:
        # An instance of our own, with connections of our own, that we may close.
        fs, root = url_to_fs(os.path.expanduser(url), skip_instance_cache=True, **options)  # noqa: PTH111 - or a URL
    except ImportError as error:
        raise MissingExtraError(f"{hide_passwords(url)!r}", *_package(error)) from error
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"fsspec cannot open {hide_passwords(url)!r}: {error}") from error
    return fs, root.rstrip("/")


def _package(error: ImportError) -> tuple[str, str]:
    """The package that fsspec misses, and the extra that has it."""
    missing = "s3fs" if "s3fs" in str(error) else str(error.name or error)
    return missing, "s3" if missing == "s3fs" else "models"


def _protocols(fs: Any) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
