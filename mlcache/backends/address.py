"""A backend's URL, taken apart, and what a module of a backend says of its URLs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from mlcache import units
from mlcache.backends.protocol import AnyBackend
from mlcache.errors import ConfigurationError

MEMORY_BYTES = 512 * 2**20
DISK_BYTES = 10 * 2**30


class Defaults(msgspec.Struct, frozen=True):
    """What a URL does not say.

    Args:
        directory: of what lies in a folder; None: the platform's cache folder.
        max_bytes: of each store; None: 512 MiB in memory, 10 GiB on disk.
    """

    directory: str | None = None
    max_bytes: int | None = None


class Address(msgspec.Struct, frozen=True):
    """A backend's URL, taken apart.

    Args:
        text: the whole of it, to be shown: without passwords.
        scheme: the backend's name.
        host: what stands between ``//`` and the next ``/``, as it is.
        path: what comes after that, decoded.
        options: the pairs behind ``?``, decoded.
    """

    text: str
    scheme: str
    host: str
    path: str
    options: tuple[tuple[str, str], ...]

    @property
    def is_plain(self) -> bool:
        """Whether it is a name and nothing else."""
        return not self.host and not self.path and not self.options

    @property
    def location(self) -> str:
        """Host and path together, where both are one path in truth, as in ``disk://folder/below``.

        ``disk:///~/below`` is below the user's home, too: nobody means a folder called ``~`` by it.
        """
        both = self.path
        if self.host:
            from urllib.parse import unquote

            both = unquote(self.host) + both
        return both[1:] if both == "/~" or both.startswith("/~/") else both

    def __repr__(self) -> str:
        return f"Address({self.text!r})"

    def option(self, name: str) -> str | None:
        """The last value given for an option."""
        return dict(self.options).get(name)

    def size(self, name: str, default: int) -> int:
        """An option that is a size in bytes."""
        given = self.option(name)
        return default if given is None else units.size(given, what=f"{name} of backend {self.text!r}")


def take_apart(text: str) -> Address:
    """``text`` as an address; a name alone will do."""
    if text.isascii() and text.isalpha():  # as most are, for whom importing urllib would take the longest
        return Address(text, text.lower(), "", "", ())
    from urllib.parse import parse_qsl, unquote, urlsplit

    name, mark, query = text.partition("?")
    split = urlsplit(text if ":" in name else f"{name}:{mark}{query}")
    options = tuple(parse_qsl(split.query, keep_blank_values=True))
    return Address(hide_passwords(text), split.scheme.lower(), split.netloc, unquote(split.path), options)


def hide_passwords(text: str) -> str:
    """``text``, which holds URLs, with dots in place of passwords."""
    if "//" not in text:  # what follows a comma, which may stand in a password that is not encoded
        return re.sub(r"\S*@", "...@", text)
    return re.sub(_HIDDEN, "...", text)


_HIDDEN = r"(?<=password=)[^&,\s]+|(?<=//)[^\s/@:]*:\S*(?=@)"  # compiled by re when first used


Check = Callable[[str, str], object]
"""Takes an option's value and what it is called; raises ConfigurationError if it cannot be understood."""


class Opener(msgspec.Struct, frozen=True):
    """What a backend's module, or an entry point of the group ``mlcache.backends``, offers for a scheme.

    Args:
        open: makes the backend.
        options: by name, the check of each option; ``name.*`` stands for all that begin with ``name.``.
        located: whether there may be a host or path.
        folder: whether these are a folder, as the one of ``Defaults``.
        check: checks what concerns more than one option; raises ConfigurationError.
    """

    open: Callable[[Address, Defaults], AnyBackend]
    options: Mapping[str, Check]
    located: bool = False
    folder: bool = False
    check: Callable[[Address], object] | None = None


def a_size(text: str, what: str) -> int:
    """Check a size in bytes."""
    return units.size(text, what=what)


def a_count(text: str, what: str) -> int:
    """Check a whole number above zero."""
    if not text.isdecimal() or not int(text):
        raise ConfigurationError(f"{what} is {text!r}: give a whole number above zero")
    return int(text)


def a_compression(text: str, what: str) -> str:
    """Check the name of a way to compress."""
    if text != "zstd":
        raise ConfigurationError(f"{what} is {text!r}: give zstd, or leave it out")
    return text


def anything(text: str, what: str) -> str:  # noqa: ARG001 - as all checks
    """Check nothing: whoever takes the option will."""
    return text
