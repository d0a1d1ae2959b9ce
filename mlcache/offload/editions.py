"""Which edition of the program's code this process runs: another one after each reload that is noticed.

A worker imports a module once. When the program reloads it, the name of a function leads to other code
here than there, so workers that were ordered before must not compute any more.
"""

from __future__ import annotations

from typing import Any

_known: dict[bytes, Any] = {}
_changes: list[bytes] = []


def latest() -> int:
    """The edition of now; they are counted from 0."""
    return len(_changes)


def note(reference: bytes, function: Any) -> None:
    """Compare what a reference leads to with what it led to last time.

    Args:
        reference: the packed name of a function.
        function: what it leads to here.
    """
    code = getattr(function, "__code__", function)  # some tools reload into the same function
    if _known.setdefault(reference, code) is not code:
        _known[reference] = code
        _changes.append(reference)
