"""Which part of a call cannot be sent to a worker, for the message that says so."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mlcache.offload import transport


def unsendable(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """The first argument that cannot be pickled, by its parameter and its type; None if each of them can.

    It pickles them one by one, so it is for a call that has failed already.
    """
    by_name = [(repr(name), value) for name, value in kwargs.items()]
    for name, value in [*zip(_names(function, len(args)), args, strict=True), *by_name]:
        try:
            transport.dump(value)
        except Exception:  # noqa: BLE001 - whatever pickling raises
            kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
            return f"the argument {name} (a {kind})"
    return None


def _names(function: Callable[..., Any], count: int) -> list[str]:
    """What positional arguments are called: their parameters, or where they stand, counted from 1."""
    named: list[str] = []
    try:
        for each in inspect.signature(function).parameters.values():
            if each.kind not in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD):
                break
            named.append(repr(each.name))
    except (TypeError, ValueError):  # some functions of C do not show theirs
        pass
    return [*named, *(f"number {place}" for place in range(len(named) + 1, count + 1))][:count]
