"""What went into a key, as a tree of text: to be printed, and to be compared with another one."""

from __future__ import annotations

import msgspec

from mlcache.call import Default, Values
from mlcache.errors import UnhashableArgumentError
from mlcache.fastpath import Keying
from mlcache.keys.outline import describe, outline


class KeyTree(msgspec.Struct, frozen=True):
    """What went into the key of one call; ``print`` it, or compare its ``lines`` with those of another call.

    Args:
        lines: the function, then each parameter with its parts: type, size or value, and the first digits
            of its digest. A part that did not change has the same line in both.
    """

    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    __repr__ = __str__  # so that an interactive session shows it


def key_tree(function: str, keying: Keying, values: Values) -> KeyTree:
    """The tree for one call.

    Args:
        function: a line about it.
        keying: how its arguments become a digest.
        values: the bound arguments, which may be such that no key can be made from them.
    """
    keyed = dict(zip(keying.names(), keying.compile_keyed()(values), strict=True))
    lines = [f"key: {_digest(keying, values)}", f"function: {function}"]
    for name, value in zip(keying.parameters.names, values, strict=True):
        default = keying.parameters.default_of(name)
        mark = ", default" if default is not None and value is default[1] else ""
        if name not in keyed:
            lines.append(f"{name}: {describe(value)}, ignored")
        elif name in keying.stand_ins:
            mark += f", stands for {describe(value)}"
            lines += outline(name, keyed[name], mark)
        elif keyed[name] is Default.UNCHANGED:
            lines.append(f"{name}: {describe(value)}{mark}, which counts as unchanged")
        else:
            lines += outline(name, value, mark)
    return KeyTree(tuple(lines))


def _digest(keying: Keying, values: Values) -> str:
    try:
        return keying.compile_digest()(values).hex()
    except UnhashableArgumentError as error:
        return f"none: {error}"
