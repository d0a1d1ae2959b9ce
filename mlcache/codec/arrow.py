"""Apache Arrow's tables and columns, as streams of its IPC format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from mlcache.codec.messages import check_uncompressed
from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer


def _write(tag: str, schema: Any, write: Callable[[Any], None], out: Writer) -> Node:
    for field in schema:
        if isinstance(field.type, pa.BaseExtensionType):
            raise NeedsPickleError(f"the Arrow extension type {field.type} may be unknown where it is read")
    sink = pa.BufferOutputStream()
    # Without options, variables of the environment could ask for an old version of the format.
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions()) as stream:
        write(stream)
    data = memoryview(sink.getvalue())
    return [tag, out.buffer(data, len(data)), len(data)]


def _open(node: Node, source: Reader) -> Any:
    _, offset, size = node
    data = pa.py_buffer(source.buffer(offset, size))
    check_uncompressed(data)
    return pa.ipc.open_stream(data)


def _check(value: Any) -> Any:
    # Arrow trusts the offsets in its buffers: without this, bytes of somebody else's making
    # could have it read anywhere in memory.
    value.validate(full=True)
    return value


def _write_table(value: Any, out: Writer) -> Node:
    return _write("pyarrow.Table", value.schema, lambda stream: stream.write_table(value), out)


def _read_table(node: Node, source: Reader) -> Any:
    return _check(_open(node, source).read_all())


def _write_batch(value: Any, out: Writer) -> Node:
    return _write("pyarrow.RecordBatch", value.schema, lambda stream: stream.write_batch(value), out)


def _read_batch(node: Node, source: Reader) -> Any:
    return _check(_open(node, source).read_next_batch())


def _write_column(value: Any, out: Writer) -> Node:
    return ["pyarrow.ChunkedArray", _write_table(pa.table({"": value}), out)]


def _read_column(node: Node, source: Reader) -> Any:
    return _read_table(node[1], source).column(0)


WRITERS: dict[type, Callable[[Any, Writer], Node]] = {
    pa.Table: _write_table,
    pa.RecordBatch: _write_batch,
    pa.ChunkedArray: _write_column,
}

READERS: dict[str, Callable[[Node, Reader], Any]] = {
    "pyarrow.Table": _read_table,
    "pyarrow.RecordBatch": _read_batch,
    "pyarrow.ChunkedArray": _read_column,
}
