"""Which types have values that cannot be changed, so that they can be kept and shared as they are."""

from __future__ import annotations

import types

import numpy as np

_UNCHANGING: set[type] = {
    *(type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis), object),
    *(types.FunctionType, types.BuiltinFunctionType, type),
}
"""Those known so far. Those of ``_BY_NAME`` come in when they are first met."""

_CHANGING = frozenset((list, tuple, dict, set, frozenset, bytearray, np.ndarray))
"""Those that are met most often, so that they need no closer look."""

_BY_NAME = frozenset(
    (
        *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
        *("decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
    )
)


def is_unchanging(kind: type) -> bool:
    """Whether no value of exactly this type can be changed."""
    if kind in _UNCHANGING:
        return True
    if kind in _CHANGING:
        return False
    # A structured scalar (np.void) can be assigned to.
    number = kind.__module__ == "numpy" and issubclass(kind, np.generic) and not issubclass(kind, np.void)
    if number or f"{kind.__module__}.{kind.__qualname__}" in _BY_NAME:
        _UNCHANGING.add(kind)
        return True
    return False
