"""What importing the library costs, and what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mlcache

ROOT = Path(__file__).parents[1]
HEAVY = (
    *("pandas", "redis", "joblib", "diskcache", "asyncio", "pyarrow", "torch", "polars", "scipy", "sklearn"),
    *("PIL", "dogpile", "platformdirs", "filelock", "cachetools", "dask", "zstandard", "blake3", "sqlite3"),
    *("multiprocessing", "email", "http", "ssl", "unittest"),
)
LATER = (
    *("pathlib", "urllib.parse", "ipaddress", "dataclasses", "importlib.util"),
    *("mlcache.batch", "mlcache.cached_async", "mlcache.codec", "mlcache.explanation", "mlcache.info"),
    *("mlcache.key_tree", "mlcache.keys.dependencies", "mlcache.mutation", "mlcache.offload"),
    *("mlcache.progress", "mlcache.result", "mlcache.backends.encoded", "mlcache.sending", "array"),
    *(
        "mlcache.sealing_errors",
        "mlcache.sealing_frames",
        "mlcache.keys.standard",
        "mlcache.keys.structures",
        "mlcache.backends.listing",
    ),
)
"""Light, and of no use to most: together as much as half of what importing the library costs."""


def fresh(code: str, **environment: str) -> str:
    """What a new process prints."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout


def test_importing_imports_nothing_heavy() -> None:
    report = f"print(*[name for name in {HEAVY + LATER!r} if name in sys.modules])"
    assert fresh(f"import sys, numpy, mlcache; {report}").split() == (
        fresh(f"import sys, numpy; {report}").split()
    )


@pytest.mark.parametrize("heavy", ["pandas", "torch", "asyncio", "pyarrow", "joblib", "diskcache", "redis"])
def test_it_can_be_imported_and_used_in_memory_where_a_package_is_missing(heavy: str) -> None:
    code = (
        f"import sys; sys.modules[{heavy!r}] = None\n"
        "import numpy as np\n"
        "from mlcache import ml_cache\n"
        "f = ml_cache(lambda x: {'a': [x, np.arange(3)]})\n"
        "f(np.zeros(3)); f(np.zeros(3))\n"
        "print(f.cache_info().hits)\n"
    )
    assert fresh(code) == "1\n"


def test_what_is_used_in_memory_imports_nothing_heavy_either() -> None:
    code = (
        "import sys, numpy as np\n"
        "before = set(sys.modules)\n"
        "from mlcache import ml_cache\n"
        "f = ml_cache(ttl='1h')(lambda x, y: {'a': [x, np.arange(3)]})\n"
        "f(np.zeros(3), (1, 'a')); f(np.zeros(3), (1, 'a')); f.call_with_info(1, 2); f.explain(1, 2)\n"
        f"print(*[name for name in {HEAVY!r} if name in set(sys.modules) - before])\n"
    )
    assert fresh(code).split() == []


def test_the_first_call_imports_no_more_than_it_needs_either() -> None:
    code = (
        "import sys, numpy as np\n"
        "before = set(sys.modules)\n"
        "from mlcache import ml_cache\n"
        "f = ml_cache(lambda x: x)\n"
        "f(1); f(np.zeros(3)); f(1)\n"
        f"print(*[name for name in {HEAVY + LATER!r} if name in set(sys.modules) - before])\n"
    )
    assert fresh(code).split() == []


@pytest.mark.parametrize(
    "name", ["AsyncCachedFunction", "Batch", "CacheInfo", "CallOptions", "Pool", "Result"]
)
def test_what_is_imported_later_is_there_when_it_is_asked_for(name: str) -> None:
    code = (
        "import mlcache\n"
        f"print({name!r} in vars(mlcache), {name!r} in dir(mlcache), mlcache.{name} is mlcache.{name})"
    )
    assert fresh(code).split() == ["False", "True", "True"]


def test_a_name_that_is_not_there_is_told_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'mlcache' has no attribute 'nonsense'"):
        mlcache.nonsense  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nonsense' from 'mlcache'"):
        from mlcache import nonsense  # type: ignore[attr-defined]  # noqa: F401


def test_importing_costs_less_than_a_third_of_numpy(tmp_path: Path) -> None:
    """A ratio, of the least that several processes took for each, as machines differ and are noisy."""
    code = (
        "import time\n"
        "start = time.process_time(); import numpy\n"
        "middle = time.process_time(); import mlcache\n"
        "print(time.process_time() - middle, middle - start)\n"
    )
    compiled = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    fresh(code, **compiled)
    took = [map(float, fresh(code, **compiled).split()) for _ in range(7)]
    ours, numpys = map(min, zip(*took, strict=True))
    assert ours / numpys < 1 / 3


def test_all_is_what_is_public() -> None:
    assert sorted(mlcache.__all__) == mlcache.__all__
    for name in mlcache.__all__:
        assert getattr(mlcache, name).__doc__, name
    code = "from mlcache import *; print(*sorted(name for name in globals() if not name.startswith('_')))"
    assert fresh(code).split() == sorted(mlcache.__all__)


def test_importing_reads_no_environment_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLCACHE_TTL", "nonsense")
    monkeypatch.setenv("MLCACHE_COLOUR", "red")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    fresh("from mlcache import ml_cache; ml_cache(backend='lru, disk')(len)")
    assert [*tmp_path.iterdir()] == []
