"""Codes of pyarrow's arrays and tables, and of what lies in Arrow's buffers elsewhere.

Equal content has one code, however it is cut into chunks, wherever a slice begins, and
whatever lies under a null. So what is hashed is not the buffers as they are but, chunk by
chunk, the values between the slice's ends: the lengths of texts rather than their offsets,
and zeros where there is a null.
"""

from __future__ import annotations

from collections.abc import Callable
from marshal import dumps
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlcache.keys import hashing
from mlcache.keys.digest import Encoder, Seen, encode

if TYPE_CHECKING:
    import pyarrow as pa

    Chunks: TypeAlias = list[pa.Array]


def encoder_for(kind: type) -> Encoder | None:
    """How a type of pyarrow's is encoded; None if not here."""
    import pyarrow as pa

    table: dict[type, Encoder] = {
        pa.Table: lambda value, seen: b"@arrow.Table:" + _encode_table(value, seen),
        pa.RecordBatch: lambda value, seen: b"@arrow.RecordBatch:" + _encode_table(value, seen),
        pa.ChunkedArray: lambda value, seen: b"@arrow.ChunkedArray:" + encode_chunks(value, seen),
        pa.Array: lambda value, seen: b"@arrow.Array:" + encode_chunks(value, seen),
        pa.Scalar: lambda value, seen: b"@arrow.Scalar:" + encode_chunks(pa.repeat(value, 1), seen),
    }
    return next((encoder for base, encoder in table.items() if issubclass(kind, base)), None)


def _encode_table(table: pa.Table, seen: Seen) -> bytes:
    names = encode(list(table.schema.names), seen)
    return names + b"".join([encode_chunks(column, seen) for column in table.columns])


def encode_chunks(array: pa.Array | pa.ChunkedArray, seen: Seen) -> bytes:
    """The code of an array in one or in several chunks: its type, its length, its nulls and its values."""
    chunks = array.chunks if hasattr(array, "chunks") else [array]
    return dumps((str(array.type), len(array)), 2) + _encode(array.type, chunks, seen)


def _encode(kind: pa.DataType, chunks: Chunks, seen: Seen) -> bytes:
    chunks = [chunk for chunk in chunks if len(chunk)]
    nulls = (
        b"@nulls:" + hashing.hash128_stream(map(_null_mask, chunks)) if _null_count(chunks) else b"@whole:"
    )
    return nulls + _encoder_of(kind)(chunks, seen)


def _null_count(chunks: Chunks) -> int:
    return sum(chunk.null_count for chunk in chunks)


def _null_mask(chunk: pa.Array) -> Any:
    return chunk.is_null().to_numpy(zero_copy_only=False)


def _encoder_of(kind: pa.DataType) -> Callable[[Chunks, Seen], bytes]:
    import pyarrow as pa
    import pyarrow.types as kinds

    if isinstance(kind, pa.BaseExtensionType):
        return _through(lambda chunk: chunk.storage)
    table: list[tuple[Callable[[pa.DataType], bool], Callable[[Chunks, Seen], bytes]]] = [
        (kinds.is_null, lambda _chunks, _seen: b"@null:"),
        (_has_offsets, _encode_texts),
        (kinds.is_boolean, _through(lambda chunk: chunk.cast(pa.uint8()))),
        (kinds.is_dictionary, _through(lambda chunk: chunk.dictionary_decode())),
        (kinds.is_string_view, _through(lambda chunk: chunk.cast(pa.large_string()))),
        (kinds.is_binary_view, _through(lambda chunk: chunk.cast(pa.large_binary()))),
        (kinds.is_struct, _encode_struct),
        (_is_list, _encode_lists),
        (_has_fixed_width, _encode_fixed),
    ]
    return next((encoder for test, encoder in table if test(kind)), _encode_objects)


def _has_offsets(kind: pa.DataType) -> bool:
    return str(kind).removeprefix("large_") in {"string", "binary"}


def _is_list(kind: pa.DataType) -> bool:
    return str(kind).startswith(("list<", "large_list<", "fixed_size_list<"))


def _has_fixed_width(kind: pa.DataType) -> bool:
    import pyarrow.types as kinds

    return any(test(kind) for test in (kinds.is_primitive, kinds.is_decimal, kinds.is_fixed_size_binary))


def _through(change: Callable[[pa.Array], pa.Array]) -> Callable[[Chunks, Seen], bytes]:
    """An encoder by way of arrays of another type with the same content."""

    def encode_changed(chunks: Chunks, seen: Seen) -> bytes:
        changed = [change(chunk) for chunk in chunks]
        return _encode(changed[0].type, changed, seen) if changed else b"@empty:"

    return encode_changed


def _encode_fixed(chunks: Chunks, _: Seen) -> bytes:
    return hashing.hash128_stream(map(_fixed_bytes, chunks))


def _fixed_bytes(chunk: pa.Array) -> Any:
    """The values of a chunk as rows of bytes, with zeros for the nulls."""
    width = chunk.type.bit_width // 8
    buffer = chunk.buffers()[1]
    if buffer is None or not len(chunk):
        return b""
    start = chunk.offset * width
    rows = np.frombuffer(buffer, np.uint8)[start : start + len(chunk) * width]
    if chunk.null_count:
        rows = rows.reshape(len(chunk), width).copy()
        rows[_null_mask(chunk)] = 0
    return rows


def _encode_texts(chunks: Chunks, _: Seen) -> bytes:
    whole = [
        chunk.fill_null(b"" if "binary" in str(chunk.type) else "") if chunk.null_count else chunk
        for chunk in chunks
    ]
    return hashing.hash128_stream(map(_lengths, whole)) + hashing.hash128_stream(map(_characters, whole))


def _offsets(chunk: pa.Array) -> Any:
    wide = str(chunk.type).startswith("large")
    buffer = chunk.buffers()[1]
    if buffer is None or not len(chunk):
        return np.zeros(1, np.int64)
    offsets = np.frombuffer(buffer, np.int64 if wide else np.int32)
    return offsets[chunk.offset : chunk.offset + len(chunk) + 1]


def _lengths(chunk: pa.Array) -> Any:
    return np.diff(_offsets(chunk)).astype(np.int64, copy=False)


def _characters(chunk: pa.Array) -> Any:
    offsets = _offsets(chunk)
    buffer = chunk.buffers()[2]
    return b"" if buffer is None else np.frombuffer(buffer, np.uint8)[offsets[0] : offsets[-1]]


def _encode_lists(chunks: Chunks, seen: Seen) -> bytes:
    lengths = hashing.hash128_stream(map(_list_lengths, chunks))
    inner = [chunk.flatten() for chunk in chunks]
    return lengths + (_encode(inner[0].type, inner, seen) if inner else b"@empty:")


def _list_lengths(chunk: pa.Array) -> Any:
    return chunk.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)


def _encode_struct(chunks: Chunks, seen: Seen) -> bytes:
    parts = [chunk.flatten() for chunk in chunks]
    fields = [list(field) for field in zip(*parts, strict=True)]
    return b"".join([_encode(field[0].type, field, seen) for field in fields]) + b"@end:"


def _encode_objects(chunks: Chunks, seen: Seen) -> bytes:
    """Rare types, such as unions: value by value."""
    return encode([value for chunk in chunks for value in chunk.to_pylist()], seen)
