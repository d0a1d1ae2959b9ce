"""Watching whether a function changes what it is called with, which a hit would not do.

It is asked for by ``MLCACHE_CHECK=mutation``, and hashes all arguments twice more at each miss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlcache.call import Values
from mlcache.errors import UnhashableArgumentError
from mlcache.fastpath import Keying
from mlcache.keys import digest

Apply = Callable[[Values], Any]


def watch(apply: Apply, keying: Keying, tell: Callable[[str], object], *, suspends: bool) -> Apply:
    """``apply``, followed by a look at the arguments.

    Args:
        apply: calls the function with a tuple of bound arguments.
        keying: says which parameters count.
        tell: is called with the name of each parameter whose argument has changed meanwhile.
        suspends: whether ``apply`` returns something to be awaited.
    """
    keyed = keying.compile_keyed()

    def look(values: Values) -> list[bytes]:
        return [_digest(part) for part in keyed(values)]

    def compare(before: list[bytes], values: Values) -> None:
        for name, one, other in zip(keying.names(), before, look(values), strict=True):
            if one != other:
                tell(name)

    def watched(values: Values) -> Any:
        before = look(values)
        result = apply(values)
        compare(before, values)
        return result

    async def watched_suspending(values: Values) -> Any:
        before = look(values)
        result = await apply(values)
        compare(before, values)
        return result

    return watched_suspending if suspends else watched


def _digest(value: object) -> bytes:
    """The digest of an argument; one into which something was put that has none is not what it was."""
    try:
        return digest(value)
    except UnhashableArgumentError:
        return b""
