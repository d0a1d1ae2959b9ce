"""Checks of what pools and other engines are given, each of which says how to mend it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

from mlcache import units
from mlcache.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import timedelta


def count(value: object, what: str) -> int:
    """A whole number above zero.

    Raises:
        ConfigurationError: it is something else; ``what`` names it.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ConfigurationError(f"{what} is {value!r}: give a whole number above zero")
    return int(value)


def factories(resources: Mapping[str, Callable[[], Any]] | None) -> dict[str, Callable[[], Any]]:
    """Functions that load resources, by the name of a parameter.

    Raises:
        ConfigurationError: they are something else.
    """
    if resources is None:
        return {}
    if not isinstance(resources, Mapping):
        raise ConfigurationError(
            f"resources is {resources!r}: give a dict of functions that load them, by the name of a parameter"
        )
    for name, factory in resources.items():
        if not isinstance(name, str) or not name.isidentifier() or not callable(factory):
            raise ConfigurationError(
                f"resources has {name!r}: {factory!r}: give the name of a parameter, and a function without "
                "arguments that loads what is passed for it in each worker"
            )
    return dict(resources)


def time_to_close(timeout: float | str | timedelta | None) -> float | None:
    """The seconds that ``close`` may wait: any duration or zero; None: as long as it takes.

    Raises:
        ConfigurationError: it is something else.
    """
    if timeout is None or units.read_seconds(timeout) == 0:
        return None if timeout is None else 0.0
    given = units.seconds(timeout, what="timeout", instead="0 waits for nobody, None for all")
    return min(given, threading.TIMEOUT_MAX)
