"""Apache Arrow's tables and columns, as streams of its IPC format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer


def _refuse_extensions(schema: Any) -> None:
    for field in schema:
        if isinstance(field.type, pa.BaseExtensionType):
            msg = f"the Arrow extension type {field.type} may be unknown where it is read"
            raise NeedsPickleError(msg)


def _write_table(value: Any, out: Writer) -> Node:
    _refuse_extensions(value.schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, value.schema) as stream:
        stream.write_table(value)
    data = memoryview(sink.getvalue())
    return ["pyarrow.Table", out.buffer(data, len(data)), len(data)]


def _read_table(node: Node, source: Reader) -> Any:
    _, offset, size = node
    table = pa.ipc.open_stream(pa.py_buffer(source.buffer(offset, size))).read_all()
    # Arrow trusts the offsets in its buffers: without this, bytes of somebody else's making
    # could have it read anywhere in memory.
    table.validate(full=True)
    return table


def _write_column(value: Any, out: Writer) -> Node:
    return ["pyarrow.ChunkedArray", _write_table(pa.table({"": value}), out)]


def _read_column(node: Node, source: Reader) -> Any:
    return _read_table(node[1], source).column(0)


WRITERS: dict[type, Callable[[Any, Writer], Node]] = {
    pa.Table: _write_table,
    pa.ChunkedArray: _write_column,
}

READERS: dict[str, Callable[[Node, Reader], Any]] = {
    "pyarrow.Table": _read_table,
    "pyarrow.ChunkedArray": _read_column,
}
