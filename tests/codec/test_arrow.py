from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError
from tests.codec.likeness import CODEC, round_trip

pa = pytest.importorskip("pyarrow")

TABLE = pa.table(
    {
        "int": pa.array([1, None, 3]),
        "text": pa.array(["a", None, "bc"]),
        "list": pa.array([[1], None, [2, 3]]),
        "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
        "time": pa.array([1, 2, None], pa.timestamp("us", "Europe/Rome")),
        "": pa.array([None] * 3, pa.null()),
    },
    metadata={"a": "b"},
)

VALUES: dict[str, Any] = {
    "table": TABLE,
    "sliced": TABLE.slice(1, 1),
    "chunked": pa.concat_tables([TABLE, TABLE.slice(1)]),
    "no rows": TABLE.slice(0, 0),
    "no columns": pa.table({}),
    "nothing": TABLE.schema.empty_table(),
    "batch": TABLE.to_batches()[0],
    "empty batch": pa.record_batch({"a": pa.array([], pa.int8())}),
    "column": TABLE.column("text"),
    "chunked column": pa.chunked_array([[1], [], [2, None]]),
    "no chunks": pa.chunked_array([], pa.int8()),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_arrow_holds_comes_back(name: str) -> None:
    value = VALUES[name]
    back = round_trip({"a": (value,)})["a"][0]
    assert type(back) is type(value)
    assert back.equals(value)
    if isinstance(value, pa.ChunkedArray):
        assert back.type == value.type
    else:
        assert back.schema.equals(value.schema, check_metadata=True)


def test_a_column_is_read_in_place() -> None:
    data = CODEC.encode(Entry(pa.table({"a": np.arange(1000)}), 1.0))
    column = CODEC.decode(data).value.column("a").chunk(0).to_numpy()
    assert np.shares_memory(column, np.frombuffer(data, np.uint8))


def test_types_that_others_may_not_know_need_pickle() -> None:
    table = pa.table({"a": pa.array([b"x" * 16], pa.uuid())})
    with pytest.raises(CannotEncodeError, match="extension"):
        CODEC.encode(Entry(table, 1.0))


@pytest.mark.parametrize("variable", ["ARROW_PRE_1_0_METADATA_VERSION", "ARROW_PRE_0_15_IPC_FORMAT"])
def test_what_is_written_can_be_read_whatever_the_environment_asks_of_arrow(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    assert round_trip(TABLE).equals(TABLE)
