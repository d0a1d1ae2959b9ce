"""Backends by name and URL: ``"lru"``, ``"disk:///var/cache/ml?max_bytes=10GiB"``, several with commas.

A plain name stands for the store of this process, which all functions that name it share
with one bound. A URL with options or a path stands for a store of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from mlcache import units
from mlcache.backends.disk import Disk, default_directory
from mlcache.backends.memory import Lru
from mlcache.backends.protocol import AnyBackend
from mlcache.errors import ConfigurationError


class Defaults(msgspec.Struct, frozen=True):
    """What a URL does not say.

    Args:
        directory: of the disk backend; None: the platform's cache folder.
        max_bytes: of each store; None: 512 MiB in memory, 10 GiB on disk.
    """

    directory: str | None = None
    max_bytes: int | None = None


MEMORY_BYTES = 512 * 2**20
DISK_BYTES = 10 * 2**30


class Address(msgspec.Struct, frozen=True):
    """A backend's URL, taken apart and checked."""

    text: str
    scheme: str
    path: str
    options: tuple[tuple[str, str], ...]

    @property
    def is_plain(self) -> bool:
        """Whether it is a name and nothing else."""
        return not self.path and not self.options


def parse(text: str) -> list[Address]:
    """The addresses in ``text``, nearest tier first. Nothing is opened.

    Raises:
        ConfigurationError: an unknown backend or option, or a value that cannot be understood.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ConfigurationError(f"backend {text!r} has an empty place between its commas")
    return [_parse_one(part) for part in parts]


def open_address(address: Address, defaults: Defaults) -> AnyBackend:
    """The backend at ``address``."""
    if address.is_plain:
        return _shared(address, defaults)
    return _OPENERS[address.scheme](address, defaults)


def forget_shared() -> None:
    """Let the next ``open_address`` open the stores of this process anew."""
    _shared.cache_clear()


@cache
def _shared(address: Address, defaults: Defaults) -> AnyBackend:
    return _OPENERS[address.scheme](address, defaults)


def _open_lru(address: Address, defaults: Defaults) -> Lru:
    options = dict(address.options)
    max_items = options.get("max_items")
    return Lru(
        max_bytes=_bytes(options, defaults.max_bytes or MEMORY_BYTES),
        max_items=None if max_items is None else int(max_items),
    )


def _open_disk(address: Address, defaults: Defaults) -> Disk:
    directory = address.path or defaults.directory or default_directory()
    return Disk(Path(directory), max_bytes=_bytes(dict(address.options), defaults.max_bytes or DISK_BYTES))


def _bytes(options: dict[str, str], default: int) -> int:
    return units.size(options["max_bytes"], what="max_bytes") if "max_bytes" in options else default


def _count(text: str, what: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ConfigurationError(f"{what} is {text!r}: give a whole number above zero")
    return int(text)


def _size(text: str, what: str) -> int:
    return units.size(text, what=what)


_OPENERS: dict[str, Callable[[Address, Defaults], AnyBackend]] = {"lru": _open_lru, "disk": _open_disk}
_CHECKS: dict[str, dict[str, Callable[[str, str], object]]] = {
    "lru": {"max_bytes": _size, "max_items": _count},
    "disk": {"max_bytes": _size},
}
_WITH_PATH = frozenset(("disk",))
_PLANNED = frozenset(("lfu", "rr", "ttl", "gdsf", "joblib", "dogpile", "redis"))


def _parse_one(text: str) -> Address:
    split = urlsplit(text) if ":" in text else urlsplit(f"{text.partition('?')[0]}:?{text.partition('?')[2]}")
    scheme, path = split.scheme.lower(), unquote(split.netloc + split.path)
    if scheme not in _OPENERS:
        raise ConfigurationError(f"backend {text!r}: {_unknown(scheme or text)}")
    if path and scheme not in _WITH_PATH:
        raise ConfigurationError(f"backend {text!r}: {scheme} takes no path")
    options = tuple(parse_qsl(split.query, keep_blank_values=True))
    for name, value in options:
        check = _CHECKS[scheme].get(name)
        if check is None:
            raise ConfigurationError(
                f"backend {text!r}: {scheme} has no option {name!r}{_closest(name, list(_CHECKS[scheme]))}"
            )
        check(value, f"{name} of backend {text!r}")
    return Address(text, scheme, path, options)


def _unknown(scheme: str) -> str:
    if scheme in _PLANNED:
        return f"{scheme} is not available in this version (there are {', '.join(_OPENERS)})"
    return f"there is no backend {scheme!r}{_closest(scheme, list(_OPENERS))}"


def _closest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f": did you mean {close[0]}?" if close else f" (there are {', '.join(known)})"
