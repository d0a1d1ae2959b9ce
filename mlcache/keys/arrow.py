"""Codes of pyarrow's arrays and tables, and of what lies in Arrow's buffers elsewhere.

Equal content has one code, however it is cut into chunks, wherever a slice begins, and
whatever lies under a null. So what is hashed is not the buffers as they are but, chunk by
chunk, the values between the slice's ends: the lengths of texts rather than their offsets,
and zeros where there is a null. What pandas makes of a table depends on its dictionaries, and
on what the metadata of its schema say to pandas; so these count, and no other metadata. The
versions of pandas and of Arrow that wrote them do not.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from marshal import dumps
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlcache.keys import hashing
from mlcache.keys.digest import Encoder, Seen, encode

if TYPE_CHECKING:
    import pyarrow as pa

    Chunks: TypeAlias = list[pa.Array]


_WRITERS = frozenset({"creator", "pandas_version"})
"""What the metadata for pandas say of the libraries that wrote them."""


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
    schema = table.schema
    fields = [(field.name, field.nullable) for field in schema]
    about = encode((fields, _told_to_pandas((schema.metadata or {}).get(b"pandas"))), seen)
    return about + b"".join([encode_chunks(column, seen) for column in table.columns])


def _told_to_pandas(text: bytes | None) -> object:
    try:
        told = json.loads(text or b"")
    except ValueError:
        return text
    if not isinstance(told, dict):
        return text
    return {name: part for name, part in told.items() if name not in _WRITERS}


def encode_chunks(array: pa.Array | pa.ChunkedArray, seen: Seen) -> bytes:
    """The code of an array in one or in several chunks: its type, its length, its nulls and its values."""
    chunks = array.chunks if hasattr(array, "chunks") else [array]
    about: tuple[Any, int] = (_describe(array.type), len(array))
    return dumps(about, 2) + _encode(array.type, chunks, seen)


def _describe(kind: pa.DataType) -> object:
    """What a type is made of. Its text does not tell all: a field may be named ``a: int8, b``."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        said = getattr(kind, "__arrow_ext_serialize__", bytes)()
        return str(kind), kind.extension_name, said, _describe(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return str(kind), _describe(kind.value_type)
    inner = [kind.field(place) for place in range(kind.num_fields)]
    return (str(kind), *[(field.name, field.nullable, _describe(field.type)) for field in inner])


def _encode(kind: pa.DataType, chunks: Chunks, seen: Seen) -> bytes:
    if not hasattr(kind, "index_type"):  # a dictionary counts even where nothing is taken from it
        chunks = _filled(chunks)
    nulls = (
        b"@nulls:" + hashing.hash128_stream(map(_null_mask, chunks)) if _null_count(chunks) else b"@whole:"
    )
    return nulls + _encoder_of(kind)(chunks, seen)


def _filled(chunks: Chunks) -> Chunks:
    return [chunk for chunk in chunks if len(chunk)]


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
        (kinds.is_dictionary, _encode_chosen),
        (kinds.is_string_view, _through(lambda chunk: chunk.cast(pa.large_string()))),
        (kinds.is_binary_view, _through(lambda chunk: chunk.cast(pa.large_binary()))),
        (kinds.is_struct, _encode_struct),
        (kinds.is_union, _encode_union),
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


def _encode_chosen(chunks: Chunks, seen: Seen) -> bytes:
    """The values, and what they were chosen from, in its order: one dictionary for all chunks if possible."""
    import pyarrow as pa

    if len(chunks) > 1:
        # It fails where there are nulls among them, or values in each other.
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            chunks = pa.chunked_array(chunks).unify_dictionaries().chunks
    values = _through(lambda chunk: chunk.dictionary_decode())(_filled(chunks), seen)
    choices: Chunks = []
    for chunk in chunks:
        if len(chunk.dictionary) and not (choices and choices[-1].equals(chunk.dictionary)):
            choices.append(chunk.dictionary)
    return values + dumps(len(choices), 2) + b"".join([encode_chunks(each, seen) for each in choices])


def _encode_union(chunks: Chunks, seen: Seen) -> bytes:
    """Which type each value is of, and the values."""
    return hashing.hash128_stream(map(_type_codes, chunks)) + _encode_objects(chunks, seen)


def _type_codes(chunk: pa.Array) -> Any:
    # Not by its attribute of that name, which knows nothing of where a slice begins.
    codes = np.frombuffer(chunk.buffers()[1], np.int8)
    return codes[chunk.offset : chunk.offset + len(chunk)]


def _encode_objects(chunks: Chunks, seen: Seen) -> bytes:
    """Rare types: value by value."""
    return encode([value for chunk in chunks for value in chunk.to_pylist()], seen)
