"""Cached functions on their way to other processes: by name, by value, and with their keys."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mlcache import AsyncCachedFunction, ml_cache, sending
from mlcache.keys import Identity

ROOT = Path(__file__).parent.parent

SCRIPT = """
import asyncio, json, pickle, sys
from dataclasses import dataclass
import cloudpickle
from mlcache import ml_cache

SCALE = 3

@ml_cache(ttl="1h", key={"x": lambda x: abs(x)})
def scaled(x):
    return x * SCALE

@ml_cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

@ml_cache
async def later(x):
    return x * SCALE

@dataclass(frozen=True)
class Model:
    bias: int

    @ml_cache
    def score(self, x):
        return x + self.bias

def made(shift):
    @ml_cache
    def shifted(x):
        return x + shift
    return shifted

for each in (scaled, scaled.aio, fib, later, Model.score):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(each, protocol)) is each
things = {
    "scaled": (scaled, [2]), "fib": (fib, [20]), "score": (Model(5).score, [2]), "shifted": (made(4), [2]),
    "same": (scaled, [Model(1)]),
}
print(json.dumps({name: str(f.cache_key(*args)) for name, (f, args) in things.items() if name != "same"}))
with open(sys.argv[1], "wb") as file:
    cloudpickle.dump((things, scaled.aio, later), file)
"""

RECEIVER = """
import asyncio, json, pickle, sys
data = open(sys.argv[1], "rb").read()
things, aio, later = pickle.loads(data)
del things["same"]
print(json.dumps({name: str(f.cache_key(*args)) for name, (f, args) in things.items()}))
answers = {name: f(*args) for name, (f, args) in things.items()}
answers["later"] = asyncio.run(later(2))
again, aio, _ = pickle.loads(data)
assert again["fib"][0].call_with_info(20).status == "hit"
assert again["shifted"][0].call_with_info(2).status == "hit"
assert asyncio.run(aio.call_with_info(2)).status == "hit"
assert things["scaled"][0].cache_parameters()["ttl"] == "ttl 1h"
print(json.dumps(answers))
"""


@ml_cache
def doubled(x: int) -> int:
    return 2 * x


@dataclass(frozen=True)
class Model:
    """Has a method."""

    name: str

    @ml_cache
    def score(self, x: int) -> tuple[str, int]:
        return self.name, x


def run(*command: str, folder: Path) -> list[Any]:
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, *command], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_a_script_defines_arrives_by_value_with_its_keys(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    [sent] = run("script.py", "sent", folder=tmp_path)
    received, answers = run("-c", RECEIVER, "sent", folder=tmp_path)
    assert received == sent
    assert answers == {"scaled": 6, "fib": 6765, "score": 7, "shifted": 6, "later": 6}


def local() -> tuple[Any, list[int]]:
    calls: list[int] = []

    @ml_cache(ignore=["calls"])
    def f(x: int) -> int:
        calls.append(x)
        return x

    return f, calls


def test_in_its_own_process_what_arrives_by_value_shares_the_cache() -> None:
    f, calls = local()
    f(1)
    for _ in range(2):
        assert pickle.loads(cloudpickle.dumps(f))(1) == 1
    assert pickle.loads(cloudpickle.dumps(f)).cache_info() == f.cache_info()
    assert calls == [1]


def test_what_pickle_cannot_find_by_name_it_refuses() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="<locals>"):
        pickle.dumps(local()[0])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
async def test_the_awaitable_face_is_pickled_as_the_attribute_that_it_is(protocol: int) -> None:
    assert pickle.loads(pickle.dumps(doubled.aio, protocol)) is doubled.aio
    assert cloudpickle.loads(cloudpickle.dumps(doubled.aio)) is doubled.aio
    method = pickle.loads(pickle.dumps(Model("a").score.aio, protocol))
    assert await method(1) == ("a", 1)
    alone = pickle.loads(cloudpickle.dumps(local()[0].aio))
    assert isinstance(alone, AsyncCachedFunction)
    assert await alone(1) == 1


def test_a_function_of_the_same_name_that_does_something_else_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def defined(text: str) -> Any:
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(text, scope)  # noqa: S102 - as a notebook does
        return ml_cache(scope["f"])

    old, new = defined("def f(x): return 1"), defined("def f(x): return 2")
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "f", new, raising=False)
    assert pickle.loads(cloudpickle.dumps(old))(0) == 1
    assert pickle.loads(cloudpickle.dumps(new)) is new


CLASS = """
from mlcache import ml_cache
class Box:
    @{first}
    @{second}
    def make(cls, x):
        return cls.__name__, x
"""


@pytest.mark.parametrize("order", [("classmethod", "ml_cache"), ("ml_cache", "classmethod")])
def test_a_class_stays_whole_when_it_comes_back_from_where_it_was_sent_to(
    order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(CLASS.format(first=order[0], second=order[1]), scope)  # noqa: S102 - as a notebook does
    kind = scope["Box"]
    monkeypatch.setattr(sys.modules["__main__"], "Box", kind, raising=False)
    assert pickle.loads(cloudpickle.dumps(kind)) is kind
    assert kind.make(1) == ("Box", 1)
    assert kind.make.call_with_info(1).status == "hit"


def test_only_so_many_of_those_that_arrived_are_held_on_to() -> None:
    f, _ = local()
    identity: Identity = f._actions.identity

    def contents(number: int) -> Any:
        return lambda: (f"token {number}", f.__wrapped__, f._actions.options, identity, False)

    before = len(sending._arrived)
    first = sending.unpack(contents(-1))
    assert sending.unpack(contents(-1)) is first
    for number in range(2 * sending.MOST_ARRIVED):
        sending.unpack(contents(number))
    assert len(sending._arrived) == sending.MOST_ARRIVED >= before
    assert sending.unpack(contents(-1)) is first  # which is still in use
    del first
    gc.collect()
    assert "token -1" not in sending._known
    for token in [token for token in sending._arrived if token.startswith("token ")]:
        del sending._arrived[token]
