"""Frames in joblib's folder: where they are, what removes them, and that nothing is unpickled."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pytest

from mlcache import ml_cache, open_backend
from mlcache.backends.frame_store import FILE
from mlcache.backends.joblib import Joblib
from mlcache.entry import Key
from mlcache.errors import BackendError, ConfigurationError, MlcacheWarning


def key(number: int, namespace: str = "app.f@1") -> Key:
    return Key(namespace, number.to_bytes(16, "big"))


def opened(folder: Path) -> Joblib:
    backend = open_backend(f"joblib://{folder}")
    assert isinstance(backend, Joblib)
    return backend


def results(folder: Path) -> list[Path]:
    return sorted(folder.rglob(FILE))


def test_frames_lie_where_joblib_keeps_results(tmp_path: Path) -> None:
    opened(tmp_path).put(key(1), b"frame", 0.0)
    assert results(tmp_path) == [tmp_path / "joblib" / "mlcache" / "app.f@1" / f"{1:032x}" / FILE]
    assert results(tmp_path)[0].read_bytes() == b"frame"


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    opened(tmp_path / "new" / "one")
    assert (tmp_path / "new" / "one").stat().st_mode & 0o777 == 0o700


def test_joblib_clears_them_with_its_own(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    backend.put(key(1), b"frame", 0.0)
    memory = joblib.Memory(str(tmp_path), verbose=0)
    memory.clear(warn=False)
    assert backend.get(key(1)) is None
    backend.put(key(1), b"frame", 0.0)
    assert backend.get(key(1)) == b"frame"


def test_joblib_reduces_them_to_a_size_that_it_is_given(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    for number in range(10):
        backend.put(key(number), bytes(10_000), 0.0)
    joblib.Memory(str(tmp_path), verbose=0).reduce_size(bytes_limit=35_000)
    assert backend.count("app.f@1") == 3
    assert backend.usage().bytes <= 35_000


def test_a_memory_object_is_a_backend(tmp_path: Path) -> None:
    memory = joblib.Memory(tmp_path / "mine", verbose=0)
    calls: list[int] = []

    @ml_cache(backend=memory)
    def double(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        calls.append(1)
        return 2 * values

    def three_times(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 3 * values

    triple: Any = memory.cache(three_times)

    for _ in range(2):
        assert double(np.arange(3.0)).tolist() == [0, 2, 4]
        assert triple(np.arange(3.0)).tolist() == [0, 3, 6]
    assert len(calls) == 1
    assert double.call_with_info(np.arange(3.0)).tier == "joblib"
    double.cache_clear()
    assert triple.check_call_in_cache(np.arange(3.0))
    assert double.call_with_info(np.arange(3.0)).status == "miss"


def test_a_memory_object_without_a_folder_is_none(tmp_path: Path) -> None:  # noqa: ARG001 - as all
    with pytest.raises(ConfigurationError, match="which is no backend"):
        ml_cache(backend=joblib.Memory(None, verbose=0))(abs)


class Hostile:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


def test_a_planted_pickle_is_never_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "loaded"

    @ml_cache(backend=f"joblib://{tmp_path}/cache")
    def double(number: int) -> int:
        return 2 * number

    double(4)
    (file,) = results(tmp_path)
    joblib.dump(Hostile(mark), file)
    joblib.load(file)
    assert mark.exists(), "the pickle works"
    mark.unlink()
    with pytest.warns(MlcacheWarning, match="joblib failed at get"):
        assert double(4) == 8
    assert not mark.exists()
    assert double.call_with_info(4).status == "hit"


def test_what_needs_pickle_is_kept_and_signed(tmp_path: Path) -> None:
    @ml_cache(backend=f"joblib://{tmp_path}")
    def template(text: str) -> Template:
        return Template(text)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        template("a")
    assert template("a").template == "a"
    assert template.call_with_info("a").status == "hit"


def test_frames_are_compressed_on_request(tmp_path: Path) -> None:
    sizes: list[int] = []
    for url in (f"joblib://{tmp_path}/plain", f"joblib://{tmp_path}/small?compress=zstd"):

        @ml_cache(backend=url, version="1")
        def zeros(number: int) -> npt.NDArray[np.float64]:
            return np.zeros(number)

        zeros(10_000)
        assert zeros(10_000).shape == (10_000,)
        sizes.append(results(tmp_path / url.rpartition("/")[2].partition("?")[0])[0].stat().st_size)
    assert sizes[0] > 80_000
    assert sizes[1] < 8000


def test_there_is_one_way_to_compress() -> None:
    with pytest.raises(ConfigurationError, match="is 'lz77': give zstd"):
        ml_cache(backend="joblib:///tmp/ml?compress=lz77")(abs)


@pytest.mark.parametrize(
    "namespace", ["..", "../../above", ".hidden", "a/b", "m.<locals>.f@1", "ä" * 300, "f" * 500]
)
def test_any_namespace_has_a_folder_of_its_own(namespace: str, tmp_path: Path) -> None:
    backend = opened(tmp_path / "cache")
    backend.put(key(1, namespace), b"one", 0.0)
    backend.put(key(2, namespace + "x"), b"two", 0.0)
    assert len(results(tmp_path / "cache" / "joblib" / "mlcache")) == 2
    assert list(backend.keys(namespace)) == [key(1, namespace)]
    assert backend.clear(namespace) == 1
    assert (backend.get(key(1, namespace)), backend.get(key(2, namespace + "x"))) == (None, b"two")


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    import shutil

    backend = opened(tmp_path / "cache")
    backend.put(key(1), b"frame", 0.0)
    shutil.rmtree(tmp_path / "cache")
    assert (backend.get(key(1)), backend.count("app.f@1"), backend.usage().items) == (None, 0, 0)
    backend.put(key(1), b"frame", 0.0)
    assert backend.get(key(1)) == b"frame"


def test_writers_get_through_while_others_clear(tmp_path: Path) -> None:
    backend, finished = opened(tmp_path), threading.Event()

    def clear() -> None:
        while not finished.is_set():
            backend.clear("app.f@1")

    def write() -> None:
        try:
            for number in range(300):
                backend.put(key(number % 3), b"frame", 0.0)
                assert backend.get(key(number % 3)) in (None, b"frame")
        finally:
            finished.set()

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(clear), threads.submit(write)]:
            done.result()
    assert [path for path in tmp_path.rglob(f"{FILE}.*") if backend.count("app.f@1")] == []


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = opened(tmp_path)
    backend.put(key(1), b"old", 0.0)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backend._store, "_move_item", full)
    with pytest.raises(OSError, match="No space left"):
        backend.put(key(1), b"new", 0.0)
    assert backend.get(key(1)) == b"old"
    assert list(tmp_path.rglob(f"{FILE}.*")) == []


def test_a_folder_that_vanishes_each_time_is_an_error_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = opened(tmp_path)
    monkeypatch.setattr(backend._store, "create_location", lambda _: None)
    with pytest.raises(BackendError, match="was removed 100 times"):
        backend.put(key(1), b"frame", 0.0)


def test_without_joblib_the_error_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['joblib'] = None\n"
        f"from mlcache import open_backend; open_backend('joblib://{tmp_path}')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (
        "backend 'joblib' needs the package 'joblib': install it with pip install 'mlcache[joblib]'"
        in done.stderr
    )
