"""Backends by name and URL: ``"lru"``, ``"disk:///var/cache/ml?max_bytes=10GiB"``, several with commas.

A plain name stands for the store of this process, which all functions that name it share
with one bound. A URL with options or a path stands for a store of its own. Other packages
add backends by entry points of the group ``mlcache.backends``, each an ``Opener`` by its name.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from mlcache.backends.address import Address, Defaults, Opener, hide_passwords, take_apart
from mlcache.backends.protocol import AnyBackend, Closes
from mlcache.errors import ConfigurationError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

# Modules rather than openers, so that none is imported before it is asked for.
_MODULES = {
    "lru": "mlcache.backends.memory",
    "lfu": "mlcache.backends.policies",
    "rr": "mlcache.backends.policies",
    "ttl": "mlcache.backends.policies",
    "gdsf": "mlcache.backends.gdsf",
    "disk": "mlcache.backends.disk",
    "joblib": "mlcache.backends.joblib",
    "dogpile": "mlcache.backends.dogpile",
    "redis": "mlcache.backends.redis",
    "rediss": "mlcache.backends.redis",
    "redis+cluster": "mlcache.backends.redis",
    "rediss+cluster": "mlcache.backends.redis",
    "redis+sentinel": "mlcache.backends.redis",
    "rediss+sentinel": "mlcache.backends.redis",
    "redis+unix": "mlcache.backends.redis",
    "unix": "mlcache.backends.redis",
    "valkey": "mlcache.backends.redis",
    "valkeys": "mlcache.backends.redis",
}
_GROUP = "mlcache.backends"
_discovered: dict[str, Opener] = {}
_shared: dict[tuple[Address, Defaults], AnyBackend] = {}


class Region(Protocol):
    """A ``CacheRegion`` of dogpile.cache, configured or not yet."""

    region_invalidator: Any

    @property
    def is_configured(self) -> bool:
        """Whether it has a backend."""
        ...


class Folder(Protocol):
    """A ``Memory`` of joblib."""

    store_backend: Any


Foreign = Region | Folder
"""What other libraries have that can be a backend."""


def parse(text: str) -> list[Address]:
    """The addresses in ``text``, nearest tier first. Nothing is opened.

    Raises:
        ConfigurationError: an unknown backend or option, or a value that cannot be understood.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ConfigurationError(f"backend {hide_passwords(text)!r} has an empty place between its commas")
    addresses = [take_apart(part) for part in parts]
    for address in addresses:
        _check(address)
    return addresses


def open_address(address: Address, defaults: Defaults) -> AnyBackend:
    """The backend at ``address``: a new one, or for a plain name the one that this process shares."""
    opener = _opener(address)
    if not address.is_plain:
        return opener.open(address, defaults)
    known = _shared.get((address, defaults))
    return (
        known
        if known is not None
        else _shared.setdefault((address, defaults), opener.open(address, defaults))
    )


def overrule(address: Address, decided: Defaults) -> Address:
    """``address`` with what was decided elsewhere in place of what it says itself."""
    options = address.options
    if decided.max_bytes is not None:
        options = tuple(
            (name, f"{decided.max_bytes}" if name == "max_bytes" else value) for name, value in options
        )
    host, path = address.host, address.path
    if decided.directory is not None and address.location and _opener(address).folder:
        host, path = "", decided.directory
    return msgspec.structs.replace(address, options=options, host=host, path=path)


def adopt(value: object) -> AnyBackend | None:
    """The backend that another library's object stands for: a region of dogpile, a ``Memory`` of joblib.

    The library is not imported for that: whoever has such an object has done so.
    """
    libraries = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
    for name in sorted(libraries & {"dogpile", "joblib"}):
        backend: AnyBackend | None = importlib.import_module(_MODULES[name]).adopt(value)
        return backend
    return None


def forget_shared() -> None:
    """Close the stores that this process shares; the next ``open_address`` opens new ones."""
    while _shared:
        _, backend = _shared.popitem()
        if isinstance(backend, Closes):
            backend.close()


def _opener(address: Address) -> Opener:
    scheme = address.scheme
    if scheme in _MODULES:
        opener: Opener = importlib.import_module(_MODULES[scheme]).OPENERS[scheme]
        return opener
    found = _discovered.get(scheme) or _discover(scheme)
    if found is None:
        raise ConfigurationError(f"backend {address.text!r}: {_unknown(scheme or address.text)}")
    return found


def _discover(scheme: str) -> Opener | None:
    """What another package offers under this name, kept for the next time."""
    points = {point.value: point for point in _offered() if point.name == scheme}
    if not points:
        return None
    if len(points) > 1:
        raise ConfigurationError(f"backend {scheme!r} is offered more than once: by {' and '.join(points)}")
    ((value, point),) = points.items()
    try:
        opener = point.load()
    except Exception as error:
        raise ConfigurationError(
            f"backend {scheme!r} is {value}, which cannot be imported: {error}"
        ) from error
    if not isinstance(opener, Opener):
        raise ConfigurationError(
            f"backend {scheme!r} is {value}, which is {opener!r}: "
            "it must be an Opener of mlcache.backends.address"
        )
    return _discovered.setdefault(scheme, opener)


def _offered() -> Iterable[EntryPoint]:
    import importlib.metadata  # takes longer than all of mlcache to import

    return importlib.metadata.entry_points(group=_GROUP)


def _check(address: Address) -> None:
    opener = _opener(address)
    if address.location and not opener.located:
        raise ConfigurationError(f"backend {address.text!r}: {address.scheme} takes no path")
    for name, value in address.options:
        check = opener.options.get(name) or opener.options.get(f"{name.partition('.')[0]}.*")
        if check is None:
            close = _closest(name, opener.options)
            raise ConfigurationError(
                f"backend {address.text!r}: {address.scheme} has no option {name!r}{close}"
            )
        check(value, f"{name} of backend {address.text!r}")
    if opener.check is not None:
        opener.check(address)


def _unknown(scheme: str) -> str:
    known = dict.fromkeys((*_MODULES, *(point.name for point in _offered())))
    return f"there is no backend {scheme!r}{_closest(scheme, known)}"


def _closest(name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known := list(known), 1)
    return f": did you mean {close[0]}?" if close else f" (there are {', '.join(known)})"
