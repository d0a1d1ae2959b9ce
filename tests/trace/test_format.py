"""The file of a trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.errors import TraceError
from mlcache.trace.format import HEADER, RECORD, Records, pack, read_trace, write_trace

RECORDS = np.array([(key, 100.0 + key, 0.5, 2000) for key in range(5)], dtype=RECORD)


def read_all(path: Path, chunk: int = 2) -> Records:
    return np.concatenate([np.empty(0, RECORD), *read_trace(path, chunk)])


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
def test_what_is_written_is_read_in_pieces(tmp_path: Path, chunk: int) -> None:
    write_trace(tmp_path / "t", RECORDS)
    pieces = list(read_trace(tmp_path / "t", chunk))
    assert all(len(piece) <= chunk for piece in pieces)
    assert (np.concatenate(pieces) == RECORDS).all()


def test_the_bytes_are_as_documented(tmp_path: Path) -> None:
    write_trace(tmp_path / "t", RECORDS[:1])
    header = b"mlctrace" + (1).to_bytes(4, "little") + (24).to_bytes(4, "little")
    assert (tmp_path / "t").read_bytes() == header + RECORDS[:1].tobytes()
    assert pack((3).to_bytes(8, "little") + b"the rest", 103.0, 0.5, 2000.0) == RECORDS[3].tobytes()


@given(length=st.integers(0, len(HEADER) + 5 * RECORD.itemsize))
def test_a_file_that_was_cut_off_has_the_records_before(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "t"
    path.write_bytes((HEADER + RECORDS.tobytes())[:length])
    whole = max(0, length - len(HEADER)) // RECORD.itemsize
    assert (read_all(path) == RECORDS[:whole]).all()
    assert len(read_all(path)) == whole


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("time,key,cost\n1,2,3\n")
    with pytest.raises(TraceError, match="is no trace: give a file that MLCACHE_TRACE"):
        list(read_trace(tmp_path / "t"))
    (tmp_path / "t").write_text("short")
    with pytest.raises(TraceError, match="is no trace"):
        list(read_trace(tmp_path / "t"))


def test_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"mlctrace" + (7).to_bytes(4, "little") + (24).to_bytes(4, "little"))
    with pytest.raises(TraceError, match="version 7, and this version of mlcache reads version 1"):
        list(read_trace(tmp_path / "t"))
