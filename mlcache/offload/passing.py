"""Resources that are passed twice, or most likely misspelt, said before the call fails far away."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any
from weakref import WeakSet

from mlcache.offload.functions import parameters_of
from mlcache.warning import warn

Function = Callable[..., Any]

_ALIKE = 0.8
"""How alike, by the ratio of ``difflib``, two names are of which one may be the other misspelt."""


def check_passed(
    function: Function, names: tuple[str, ...], args: Collection[Any], kwargs: Mapping[str, Any]
) -> None:
    """Refuse a call that passes a resource of the pool itself.

    Args:
        function: to be called.
        names: of the resources that it takes.
        args: passed by position.
        kwargs: passed by name.

    Raises:
        TypeError: one of the resources is among these.
    """
    for name in names:
        if name in kwargs or _is_reached(parameters_of(function), name, len(args)):
            raise TypeError(
                f"{_shown(function)} is given {name!r} by the resources of its pool, and by its caller, too: "
                "do not pass it, or rename the parameter or the resource if they are different things"
            )


def _is_reached(parameters: Mapping[str, Any], name: str, count: int) -> bool:
    """Whether so many positional arguments include that parameter."""
    by_position = parameters[name] is inspect.Parameter.POSITIONAL_OR_KEYWORD
    return by_position and list(parameters).index(name) < count


def warn_of_misspelt(function: Function, resources: Collection[str]) -> None:
    """Warn, once for a function, if a parameter that is None unless passed almost has a resource's name."""
    try:
        if not resources or function in _seen:
            return
        _seen.add(function)
        parameters = inspect.signature(function).parameters.values()
    except (
        TypeError,
        ValueError,
    ):  # no weak references to it, or of C, where some do not show their parameters
        return
    from difflib import get_close_matches

    unused = [name for name in resources if name not in parameters_of(function)]
    for each in parameters:
        if each.default is None and each.name not in resources:
            for name in get_close_matches(each.name, unused, 1, _ALIKE):
                warn(
                    f"{_shown(function)} has a parameter {each.name!r}, and its pool a resource {name!r}, "
                    "which it does not take: if they are meant to be one, give both the same name"
                )


_seen: WeakSet[Any] = WeakSet()


def _shown(function: Function) -> str:
    return str(getattr(function, "__qualname__", function))
