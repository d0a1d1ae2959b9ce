"""Codes of the standard library's value types: times, exact numbers, paths, arrays and such.

Each stands by the few things that make it up, under a name of ours, because the module in
which Python defines a type is not the same in all its versions.
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import fractions
import pathlib
import types
import uuid
import zoneinfo
from collections.abc import Callable
from marshal import dumps
from typing import Any

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.builtin import encode_buffer
from mlcache.keys.digest import Encoder, Seen, encode, tracked


def made_of(name: str, parts: Callable[[Any], object]) -> Encoder:
    """An encoder of values that ``parts`` says everything about."""
    tag = b"@" + name.encode() + b":"

    def body(value: object, seen: Seen) -> bytes:
        return tag + encode(parts(value), seen)

    return tracked(body)


def _zone_key(zone: zoneinfo.ZoneInfo) -> str:
    if zone.key is None:
        raise UnhashableArgumentError(type(zone), reason="it was read from a file and has no key")
    return zone.key


def _encode_moment(value: datetime.datetime, seen: Seen) -> bytes:
    parts = (value.toordinal(), value.hour, value.minute, value.second, value.microsecond, value.fold)
    return b"@datetime:" + dumps(parts, 2) + encode(value.tzinfo, seen)


def _encode_time(value: datetime.time, seen: Seen) -> bytes:
    parts = (value.hour, value.minute, value.second, value.microsecond, value.fold)
    return b"@time:" + dumps(parts, 2) + encode(value.tzinfo, seen)


def _encode_date(value: datetime.date, _: Seen) -> bytes:
    return b"@date:" + dumps(value.toordinal(), 2)


def _encode_timedelta(value: datetime.timedelta, _: Seen) -> bytes:
    return b"@timedelta:" + dumps((value.days, value.seconds, value.microseconds), 2)


def _encode_decimal(value: decimal.Decimal, _: Seen) -> bytes:
    """Not by its text, which depends on the context of the thread."""
    return b"@Decimal:" + dumps(tuple(value.as_tuple()), 2)


def _encode_array(value: array.array[Any], _: Seen) -> bytes:
    return b"@array:" + dumps(value.typecode, 2) + encode_buffer(value)


def _offset(zone: datetime.timezone) -> object:
    return zone.utcoffset(None), zone.tzname(None)


def _alias(value: Any) -> object:
    return value.__origin__, value.__args__, value.__unpacked__


_BY_PARTS: dict[Any, Encoder] = {
    datetime.datetime: _encode_moment,
    datetime.date: _encode_date,
    datetime.time: _encode_time,
    datetime.timedelta: _encode_timedelta,
    datetime.timezone: made_of("timezone", _offset),
    zoneinfo.ZoneInfo: made_of("ZoneInfo", _zone_key),
    decimal.Decimal: _encode_decimal,
    fractions.Fraction: made_of("Fraction", lambda value: (value.numerator, value.denominator)),
    uuid.UUID: made_of("UUID", lambda value: value.bytes),
    pathlib.PosixPath: made_of("PosixPath", str),
    pathlib.WindowsPath: made_of("WindowsPath", str),
    pathlib.PurePosixPath: made_of("PurePosixPath", str),
    pathlib.PureWindowsPath: made_of("PureWindowsPath", str),
    array.array: _encode_array,
    types.SimpleNamespace: made_of("SimpleNamespace", vars),
    types.MappingProxyType: made_of("mappingproxy", dict),
    types.GenericAlias: made_of("GenericAlias", _alias),
    types.UnionType: made_of("UnionType", lambda value: set(value.__args__)),
    collections.deque: made_of("deque", lambda value: (value.maxlen, list(value))),
    collections.OrderedDict: made_of("OrderedDict", lambda value: list(value.items())),
    collections.defaultdict: made_of("defaultdict", lambda value: (value.default_factory, dict(value))),
    collections.Counter: made_of("Counter", dict),
}

TYPES: dict[type, Encoder] = _BY_PARTS
