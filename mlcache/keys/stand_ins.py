"""What stands for an argument in the key: functions of the user's, whose failures name the parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlcache.errors import UnhashableArgumentError

StandIn = Callable[[Any], Any]


def named(name: str, stand_in: StandIn) -> StandIn:
    """``stand_in``, whose failure says that it stands for the parameter ``name``."""

    def call(value: Any) -> Any:
        try:
            return stand_in(value)
        except Exception as error:
            reason = f"its key= function raised {error!r}"
            raise UnhashableArgumentError(type(value), parameter=name, reason=reason) from error

    return call
