"""What a region of dogpile.cache can do of many keys at once, such that each has what it would have alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

GET = "get", "get_serialized"
SET = "set", "set_serialized"
DELETE = ("delete",)


def takes_many(region: Any, operations: tuple[str, ...]) -> bool:
    """Whether a region's way to do an operation for many keys does what its way for one does.

    A proxy, or a class that a user has derived from a backend, may change the one and know nothing of the
    other: values that it compresses would come back as they are. And what memcached has refused of many it
    tells dogpile, which tells nobody.

    Args:
        region: that is configured.
        operations: the names of an operation, as dogpile's backends have them.
    """
    kinds = [type(each) for each in _layers(region.backend)]
    if operations == SET and any(base.__module__.endswith(".memcached") for base in kinds[-1].__mro__):
        return False
    return not any(_is_overtaken(kind, operation) for kind in kinds for operation in operations)


def _layers(backend: Any) -> Iterator[Any]:
    """Proxies, and the backend behind them."""
    while backend is not None:
        yield backend
        backend = getattr(backend, "__dict__", {}).get("proxied")


def _is_overtaken(kind: type, operation: str) -> bool:
    """Whether a class defines how to do something for one key, and only one further up how for many."""
    for base in kind.__mro__:
        if f"{operation}_multi" in vars(base):
            return False
        if operation in vars(base):
            return True
    return False
