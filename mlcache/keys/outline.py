"""A value in lines of text, part by part, each with a short digest: for people who compare two keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.builtin import PLAIN
from mlcache.keys.classes import type_name
from mlcache.keys.digest import digest
from mlcache.keys.structures import field_names

_DEEP, _WIDE, _LONG = 4, 20, 40
"""Levels, parts of a level, and characters of a value that are shown."""

_PANDAS = ("pandas.DataFrame", "pandas.core.frame.DataFrame")


def outline(name: str, value: object, mark: str = "", depth: int = 0) -> Iterator[str]:
    """Lines that tell what ``value`` and its parts are, the same in every process.

    A line tells of its own part only, so that two outlines differ where the values do.

    Args:
        name: what stands before it.
        value: anything, also what cannot be keyed.
        mark: what else to say about it.
        depth: how far the lines are indented; parts deeper than four levels are not shown.
    """
    indent = "  " * depth
    yield f"{indent}{name}: {describe(value)}{mark}  {short_digest(value)}"
    if depth >= _DEEP:
        return
    parts = list(_parts(value))
    for step, part in parts[:_WIDE]:
        yield from outline(step, part, depth=depth + 1)
    if len(parts) > _WIDE:
        rest = [part for _, part in parts[_WIDE:]]
        yield f"{indent}  and {len(rest)} more  {short_digest(rest)}"


def describe(value: object) -> str:
    """The type of a value, and how large it is or what it says."""
    kind = type_name(type(value)).removeprefix("builtins.")
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        dtype = "" if hasattr(value, "columns") else f"{getattr(value, 'dtype', '')} "
        return f"{kind} {dtype}{tuple(shape)}"
    if isinstance(value, str | bytes | bytearray) and len(value) > _LONG:
        return f"{kind} of {len(value)}"
    if type(value) in PLAIN:
        return f"{kind} {value!r:.{_LONG + 4}}"
    return f"{kind} of {len(value)}" if isinstance(value, dict | list | tuple | set | frozenset) else kind


def short_digest(value: object) -> str:
    """The first 8 digits of a value's digest, or why it has none."""
    try:
        return digest(value).hex()[:8]
    except UnhashableArgumentError as error:
        where = f" at {error.path}" if error.path else ""
        return f"no stable key{where}: {error.reason or type_name(error.kind)}"


def _parts(value: Any) -> Iterable[tuple[str, object]]:
    """The parts that have lines of their own, by the step that leads to each."""
    kind = type(value)
    if type_name(kind) in _PANDAS:
        columns = ((f"[{name!r}]", value.iloc[:, place]) for place, name in enumerate(value.columns))
        return [("index", value.index), *columns]
    if isinstance(value, dict):
        parts = ((f"[{name!r:.{_LONG}}]", part) for name, part in dict.items(value))
        return sorted(parts, key=itemgetter(0))
    if isinstance(value, list | tuple) and not hasattr(kind, "_fields"):
        return ((f"[{place}]", part) for place, part in enumerate(value))
    names = getattr(kind, "_fields", None) if isinstance(value, tuple) else field_names(kind)
    return ((f".{name}", getattr(value, name)) for name in names or () if hasattr(value, name))
