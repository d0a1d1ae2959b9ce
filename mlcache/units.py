"""Durations and sizes as people write them: ``"1h30m"``, ``"10GiB"``."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from numbers import Integral, Real
from typing import Any

from mlcache.errors import ConfigurationError

_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}
_NUMBER = r"\d+(?:\.\d+)?"
# Texts, as compiling them would take a third of importing this module; re keeps what it has compiled.
_PART = rf"({_NUMBER})\s*(ms|s|m|h|d|w)\s*"
_SIZE = rf"({_NUMBER})\s*([a-z]*)"


def seconds(value: float | str | timedelta, *, what: str, instead: str = "") -> float:
    """A duration in seconds.

    Args:
        value: seconds, a timedelta, or text such as ``"90"``, ``"1h30m"``, ``"250ms"``.
        what: the option or variable it was given for, for the error.
        instead: what to give or to call for no duration or an endless one, for the error.

    Raises:
        ConfigurationError: it is no duration, or not above zero.
    """
    number = read_seconds(value)
    if number is None:
        raise ConfigurationError(
            f"{what} is {value!r}, which is no duration: give seconds (90), "
            f"text ('90s', '1h30m', '250ms', '7d') or a timedelta"
        )
    if not number > 0 or math.isinf(number):
        hint = f"; {instead}" if instead else ""
        raise ConfigurationError(f"{what} is {value!r}: a duration must be above zero and finite{hint}")
    return number


def read_seconds(value: object) -> float | None:
    """A duration in seconds, also one that is not above zero; None for what is no duration."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Real) and not isinstance(value, bool):  # numpy's numbers too
        return _as_float(value)
    return _text_seconds(value.strip().lower()) if isinstance(value, str) else None


def _as_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number beyond all floats
        return math.inf if number > 0 else -math.inf


def _text_seconds(text: str) -> float | None:
    if re.fullmatch(rf"-?{_NUMBER}", text):
        return float(text)
    parts = re.findall(_PART, text)
    if not parts or re.sub(_PART, "", text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def size(value: int | str, *, what: str) -> int:
    """A size in bytes.

    Args:
        value: bytes, or text such as ``"512MiB"``, ``"10GB"``, ``"1048576"``.
        what: the option or variable it was given for, for the error.

    Raises:
        ConfigurationError: it is no size, or not above zero.
    """
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if isinstance(value, str):
        number = _text_size(value.strip().lower())
    if number is None or number <= 0:
        raise ConfigurationError(
            f"{what} is {value!r}: give a number of bytes above zero, such as 1048576, '512MiB' or '10GB'"
        )
    return number


def _text_size(text: str) -> int | None:
    match = re.fullmatch(_SIZE, text)
    if match is None or match[2] not in _BYTES:
        return None
    number = float(match[1]) * _BYTES[match[2]]
    return None if math.isinf(number) else int(number)


def show_size(number: float) -> str:
    """``number`` bytes as people read them, such as ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:  # noqa: PLR2004 - the step between the units
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def show_seconds(number: float) -> str:
    """``number`` seconds as people read them, such as ``1h 30m``."""
    if number < 60:  # noqa: PLR2004 - a minute
        return f"{number:.3g}s"
    rest, shown = round(number), []
    for unit, step in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, step)
        if count:
            shown.append(f"{count}{unit}")
    return " ".join(shown[:2])
