"""Functions sent to other processes arrive as themselves, without their cache."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache import ConfigurationError, MissingExtraError, ml_cache
from mlcache.offload import functions
from tests.offload import samples

ROOT = Path(__file__).parents[2]


def call(data: bytes, *args: Any) -> Any:
    return functions.unpack(data)(*args)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Callable[..., Any]]:
    """Calls a function, sent as bytes, in another process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        executor.submit(os.getpid).result()
        yield lambda function, *args: executor.submit(call, functions.pack(function), *args).result()


def test_an_importable_function_goes_by_reference() -> None:
    assert functions.pack(samples.add)[:1] == b"R"
    assert len(functions.pack(samples.add)) < 50
    assert functions.unpack(functions.pack(samples.add)).__wrapped__ is samples.add  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "function",
    [
        samples.cached.__wrapped__,
        samples.twice.__wrapped__,
        samples.outside,
        samples.outside.__wrapped__.__wrapped__,  # type: ignore[attr-defined]
        samples.Model.predict,
        samples.Model.cached.__wrapped__,
        samples.Model.static,
        samples.Model,
        len,
        np.linalg.norm,
    ],
)
def test_a_reference_leads_to_exactly_this_function(function: Any) -> None:
    data = functions.pack(function)
    assert data[:1] == b"R"
    assert functions._rebuild(data) is function


@pytest.mark.parametrize("function", [samples.cached, samples.twice, samples.Model.cached])
def test_a_cached_function_goes_without_its_cache(function: Any) -> None:
    assert functions._rebuild(functions.pack(function)) is function.__wrapped__


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (samples.add, (2,), 3),
        (samples.twice, (4,), 8),
        (samples.outside, (4,), 8),
        (samples.Model(3).predict, (2,), 6),
        (samples.Model(3).cached, (2,), 6),
        (samples.Model(3), (2,), 5),
        (samples.Model.made, (2,), ("Model", 2)),
        (samples.Model.made_cached, (2,), ("Model", 2)),
        (functools.partial(samples.add, b=5), (2,), 7),
        (functools.partial(samples.twice, 5), (), 10),
        (samples.suspending, (2,), 3),
        (samples.suspending.__wrapped__, (2,), 3),
        (lambda x: x + 1, (2,), 3),
        (functools.partial(lambda x, y: x + y, 1), (2,), 3),
        (np.add, (1, 2), 3),
        ("a,b".split, (",",), ["a", "b"]),
        (len, ("four",), 4),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value)),  # the same in every process
)
def test_it_gives_elsewhere_what_it_gives_here(
    elsewhere: Callable[..., Any], function: Any, args: Any, expected: Any
) -> None:
    assert elsewhere(function, *args) == expected


def test_a_closure_takes_along_what_it_closes_over(elsewhere: Callable[..., Any]) -> None:
    weights = np.arange(4.0)

    def total(x: float) -> float:
        return float((weights * x).sum())

    assert elsewhere(total, 2.0) == 12.0


def test_cached_functions_are_plain_ones_elsewhere(elsewhere: Callable[..., Any]) -> None:
    x, process, kept = elsewhere(samples.nested, 7)
    assert x == 7
    assert process != os.getpid()
    assert kept == 0


def test_the_globals_of_a_function_that_goes_by_value_last() -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(  # noqa: S102 - as a notebook does
        "calls = []\ndef count(x):\n    calls.append(x)\n    return len(calls)\n", scope
    )
    data = functions.pack(scope["count"])
    assert data[:1] == b"V"
    assert [functions.unpack(data)(0) for _ in range(3)] == [1, 2, 3]
    assert scope["calls"] == []


def test_the_object_of_a_method_is_made_anew_each_time() -> None:
    model = samples.Model(1)
    data = functions.pack(model.predict)
    functions.unpack(data).__wrapped__.__self__.weight = 5  # type: ignore[attr-defined]
    assert functions.unpack(data)(1) == 1


def test_few_functions_that_hold_much_are_held() -> None:
    for fill in range(5):
        big = np.full(functions._SMALL, fill)
        functions.unpack(functions.pack(lambda big=big: big[0]))
    assert functions._rebuild_large.cache_info().currsize == 2
    functions._rebuild_large.cache_clear()


def test_what_is_found_by_name_but_is_another_function_goes_by_value(monkeypatch: Any) -> None:
    original = samples.add
    monkeypatch.setattr(samples, "add", lambda a, b=1: a - b)
    assert functions.pack(original)[:1] == b"V"


def test_a_module_that_only_this_process_has_cannot_be_referred_to() -> None:
    module = types.ModuleType("mlcache_made_here")
    exec("def f(x):\n    return x * 3\n", module.__dict__)  # noqa: S102 - as a notebook does
    sys.modules[module.__name__] = module
    try:
        data = functions.pack(module.f)
    finally:
        del sys.modules[module.__name__]
    assert data[:1] == b"V"


def test_a_reference_that_leads_nowhere_is_a_clear_error() -> None:
    data = functions.pack(samples.add).replace(b"add", b"odd")
    with pytest.raises(AttributeError, match=r"tests\.offload\.samples has no odd here"):
        functions.unpack(data)


@pytest.mark.parametrize("function", [lambda: 1, functools.partial(lambda x: x, 1), ml_cache(lambda x: x)])
def test_without_cloudpickle_the_error_says_what_to_install(monkeypatch: Any, function: Any) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    for do in (functions.check, functions.pack):
        with pytest.raises(MissingExtraError, match=r"lambda.*cloudpickle.*mlcache\[offload\]"):
            do(function)
    functions.check(samples.add)
    functions.check(samples.Model(1).cached)


def test_functions_of_a_script_go_by_value(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from mlcache.offload import functions\n"
        "from tests.offload.test_functions import call\n"
        "from mlcache import ml_cache\n"
        "helper_calls = 3\n"
        "def helper(x): return x + helper_calls\n"
        "@ml_cache\n"
        "def f(x): return helper(x)\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(1, mp_context=get_context('forkserver')) as executor:\n"
        "        print(executor.submit(call, functions.pack(f), 4).result())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "7\n", done.stderr


def test_the_resources_that_a_function_takes() -> None:
    def f(a: int, model: object, *, tokenizer: object = None, **rest: Any) -> None: ...

    resources = {"model": object, "other": object, "tokenizer": object, "rest": object}
    assert functions.resource_names(f, resources) == ("model", "tokenizer")
    assert functions.resource_names(samples.doubled(f), resources) == ("model", "tokenizer")  # type: ignore[arg-type]
    assert functions.resource_names(len, resources) == ()
    assert functions.resource_names(f, {}) == ()
    assert functions.resource_names(samples.Model(1).predict, {"x": int, "self": int}) == ("x",)
    assert functions.resource_names(samples.Model.predict, {"x": int, "self": int}) == ("x", "self")


def test_a_resource_that_can_be_passed_by_place_only_is_refused() -> None:
    def f(model: object, /) -> None: ...

    with pytest.raises(ConfigurationError, match=r"resource 'model'.*position only"):
        functions.resource_names(f, {"model": object})


def test_coroutine_functions_are_run_to_their_end_wherever_the_worker_is() -> None:
    async def inner() -> int:
        await asyncio.sleep(0)
        return 5

    assert functions.unpack(functions.pack(inner))() == 5
