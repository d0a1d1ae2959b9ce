"""Python's own types: numbers, texts, bytes, containers, dates, paths."""

from __future__ import annotations

import datetime as dt
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer, expect

INLINE_BYTES = 1024
"""Longer bytes become a buffer, which saves a copy."""


def _write_int(value: int, _: Writer) -> Node:
    if -(2**63) <= value < 2**64:
        return value
    return ["int", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)]


def _write_str(value: str, _: Writer) -> Node:
    try:
        value.encode()
    except UnicodeEncodeError:
        return ["str", value.encode("utf-8", "surrogatepass")]
    return value


def _write_bytes(value: bytes, out: Writer) -> Node:
    if len(value) <= INLINE_BYTES:
        return value
    return ["bytes", out.buffer(value, len(value)), len(value)]


def _write_bytearray(value: bytearray, out: Writer) -> Node:
    return ["bytearray", _write_bytes(bytes(value), out)]


def _write_items(tag: str) -> Callable[[Iterable[Any], Writer], Node]:
    def write(value: Iterable[Any], out: Writer) -> Node:
        items = list(value)
        if out.plain.issuperset(map(type, items)):
            return [tag, items, True]
        return [tag, [out.node(item) for item in items], False]

    return write


def _read_items(kind: Callable[[Iterable[Any]], Any]) -> Callable[[Node, Reader], Any]:
    def read(node: Node, source: Reader) -> Any:
        _, items, plain = node
        return kind(expect(items, list) if plain else [source.value(item) for item in items])

    return read


_write_list = _write_items("list")
_read_list = _read_items(list)


def _write_dict(value: dict[Any, Any], out: Writer) -> Node:
    return ["dict", _write_list(value, out), _write_list(value.values(), out)]


def _read_dict(node: Node, source: Reader) -> dict[Any, Any]:
    _, keys, values = node
    return dict(zip(_read_list(keys, source), _read_list(values, source), strict=True))


def _write_datetime(value: dt.datetime, out: Writer) -> Node:
    clock = (value.hour, value.minute, value.second, value.microsecond, value.fold)
    return ["datetime", value.year, value.month, value.day, *clock, out.node(value.tzinfo)]


def _read_datetime(node: Node, source: Reader) -> dt.datetime:
    _, year, month, day, hour, minute, second, microsecond, fold, zone = node
    tz = source.value(zone)
    return dt.datetime(year, month, day, hour, minute, second, microsecond, tz, fold=fold)


def _write_time(value: dt.time, out: Writer) -> Node:
    clock = (value.hour, value.minute, value.second, value.microsecond, value.fold)
    return ["time", *clock, out.node(value.tzinfo)]


def _read_time(node: Node, source: Reader) -> dt.time:
    _, hour, minute, second, microsecond, fold, zone = node
    return dt.time(hour, minute, second, microsecond, source.value(zone), fold=fold)


def _write_timezone(value: dt.timezone, out: Writer) -> Node:
    # A name that was given is the second of the arguments; asking tzname() would make one up.
    offset, *name = value.__getinitargs__()  # type: ignore[attr-defined]
    return ["timezone", out.node(offset), *map(out.node, name)]


def _read_timezone(node: Node, source: Reader) -> dt.timezone:
    return dt.timezone(*map(source.value, node[1:]))


def _write_zone(value: zoneinfo.ZoneInfo, _: Writer) -> Node:
    key: Any = value.key
    if key is None:
        raise NeedsPickleError("a ZoneInfo that was made from a file has no name to find it by")
    return ["zone", key]


def _write_path(value: pathlib.PurePath, out: Writer) -> Node:
    return ["path", type(value).__name__, out.node(str(value))]


def _read_path(node: Node, source: Reader) -> pathlib.PurePath:
    _, name, text = node
    return _PATHS[name](source.value(text))


_PATHS: dict[str, type[pathlib.PurePath]] = {
    kind.__name__: kind
    for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
}

_EMPTY: dict[str, Any] = {"...": ..., "NotImplemented": NotImplemented}

WRITERS: dict[type, Callable[[Any, Writer], Node]] = {
    int: _write_int,
    str: _write_str,
    bytes: _write_bytes,
    bytearray: _write_bytearray,
    list: _write_list,
    tuple: _write_items("tuple"),
    set: _write_items("set"),
    frozenset: _write_items("frozenset"),
    dict: _write_dict,
    complex: lambda value, _: ["complex", value.real, value.imag],
    range: lambda value, out: ["range", *map(out.node, (value.start, value.stop, value.step))],
    slice: lambda value, out: ["slice", *map(out.node, (value.start, value.stop, value.step))],
    type(...): lambda *_: ["singleton", "..."],
    type(NotImplemented): lambda *_: ["singleton", "NotImplemented"],
    dt.datetime: _write_datetime,
    dt.date: lambda value, _: ["date", value.toordinal()],
    dt.time: _write_time,
    dt.timedelta: lambda value, _: ["timedelta", value.days, value.seconds, value.microseconds],
    dt.timezone: _write_timezone,
    zoneinfo.ZoneInfo: _write_zone,
    Decimal: lambda value, _: ["Decimal", str(value)],
    uuid.UUID: lambda value, _: ["UUID", value.bytes, value.is_safe.value],
    **dict.fromkeys(_PATHS.values(), _write_path),
}

READERS: dict[str, Callable[[Node, Reader], Any]] = {
    "int": lambda node, _: int.from_bytes(node[1], "little", signed=True),
    "str": lambda node, _: node[1].decode("utf-8", "surrogatepass"),
    "bytes": lambda node, source: bytes(source.buffer(*node[1:])),
    "bytearray": lambda node, source: bytearray(expect(source.value(node[1]), bytes)),
    "list": _read_list,
    "tuple": _read_items(tuple),
    "set": _read_items(set),
    "frozenset": _read_items(frozenset),
    "dict": _read_dict,
    "complex": lambda node, _: complex(*node[1:]),
    "range": lambda node, source: range(*map(source.value, node[1:])),
    "slice": lambda node, source: slice(*map(source.value, node[1:])),
    "singleton": lambda node, _: _EMPTY[node[1]],
    "datetime": _read_datetime,
    "date": lambda node, _: dt.date.fromordinal(node[1]),
    "time": _read_time,
    "timedelta": lambda node, _: dt.timedelta(*node[1:]),
    "timezone": _read_timezone,
    "zone": lambda node, _: zoneinfo.ZoneInfo(node[1]),
    "Decimal": lambda node, _: Decimal(node[1]),
    "UUID": lambda node, _: uuid.UUID(bytes=node[1], is_safe=uuid.SafeUUID(node[2])),
    "path": _read_path,
}
