"""Which edition of the program's code this process runs: another one after each reload that is noticed.

A worker imports a module once. When the program reloads it, the name of a function leads to other code
here than there, so workers that were ordered before must not compute any more.
"""

from __future__ import annotations

import sys
from typing import Any

_known: dict[str, tuple[Any, dict[bytes, Any]]] = {}
"""Of each module its spec, which every reload replaces, and what the references into it led to."""
_changes: list[str] = []


def latest() -> int:
    """The edition of now; they are counted from 0."""
    return len(_changes)


def look() -> int:
    """The edition of now, after all modules were compared that have been noted."""
    for module in list(_known):  # other threads may add to it
        note_module(module)
    return latest()


def note(module: str, reference: bytes, function: Any) -> None:
    """Compare a module, and what a reference leads to, with what they were last time.

    Args:
        module: the name of the function's module.
        reference: the packed name of the function.
        function: what it leads to here.
    """
    functions = note_module(module)
    code = getattr(function, "__code__", function)  # some tools reload into the same function
    if functions.setdefault(reference, code) is not code:
        _changes.append(module)  # first: whoever finds the new code noted must find the change counted
        functions[reference] = code


def note_module(module: str) -> dict[bytes, Any]:
    """Compare a module with what it was last time; what the references into it led to since.

    Args:
        module: its name.
    """
    spec = getattr(sys.modules.get(module), "__spec__", None)
    known = _known.get(module)
    if known is not None and known[0] is spec:
        return known[1]
    if known is not None:
        _changes.append(module)
    functions: dict[bytes, Any] = {}
    _known[module] = spec, functions
    return functions
