"""What tells one cached function from another."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import Identity, identify


def top(x: int, y: int = 1) -> int:
    return x + y


def factory(k: Any) -> Callable[[int], Any]:
    def inner(x: int) -> Any:
        return x, k

    return inner


class Keyed:
    """A class whose instances say what stands for them."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __ml_cache_key__(self) -> str:
        return self.name

    def method(self, x: int) -> int:
        return x

    @classmethod
    def of_class(cls, x: int) -> int:
        return x

    @staticmethod
    def of_none(x: int) -> int:
        return x

    def __call__(self, x: int) -> int:
        return x


class Opaque:
    """A class whose instances cannot be keyed."""

    def method(self, x: int) -> int:
        return x


def test_the_name_is_that_of_the_innermost_function() -> None:
    name = f"{__name__}.top"
    assert identify(top).name == name
    assert identify(functools.partial(functools.partial(top, 1), y=2)).name == name
    assert identify(Keyed("a").method).name == f"{__name__}.Keyed.method"
    assert identify(Keyed("a")).name == f"{__name__}.Keyed.__call__"
    assert identify(len).name == "builtins.len"
    assert identify(factory(1)).name == f"{__name__}.factory.<locals>.inner"


def test_functions_are_apart() -> None:
    one, two = (lambda x: x + 1), (lambda x: x + 2)
    made: list[Any] = [
        top,
        one,
        two,
        factory(1),
        factory(2),
        factory(1.0),
        factory("1"),
        len,
        sum,
        int,
        functools.partial(top, 1),
        functools.partial(top, 2),
        functools.partial(top, x=1),
        functools.partial(top, y=1),
        functools.partial(top, 1, 2),
        functools.partial(functools.lru_cache(top), 1),
        functools.lru_cache(top),
        Keyed("a").method,
        Keyed("b").method,
        Keyed("a"),
        Keyed("b"),
        Keyed.method,
        Keyed.of_class,
        Keyed.of_none,
    ]
    assert len({identify(each) for each in made}) == len(made)
    assert len({identify(each).digest for each in made}) == len(made)


def test_functions_of_one_factory_and_one_content_are_one() -> None:
    assert identify(factory([1, {"a": 2}])) == identify(factory([1, {"a": 2}]))
    assert isinstance(identify(top), Identity)
    assert len(identify(top).digest) == 16


def _same_name(*, changed: bool) -> Callable[[int], int]:
    if changed:

        def function(x: int) -> int:
            return x + 2

    else:

        def function(x: int) -> int:
            return x + 1

    return function


def test_the_version_says_what_of_the_code_counts() -> None:
    one, other = _same_name(changed=False), _same_name(changed=True)
    assert identify(one).name == identify(other).name
    assert identify(one) != identify(other)
    assert identify(one, version=None) == identify(other, version=None)
    assert identify(one, version="v1") == identify(other, version="v1")
    assert len({identify(one, version=each) for each in ("code", None, "v1", "v2")}) == 4


def test_a_variable_that_cannot_be_keyed_is_named_and_can_be_ignored_or_stood_in_for() -> None:
    locked = factory(threading.Lock())
    with pytest.raises(UnhashableArgumentError) as caught:
        identify(locked)
    assert caught.value.parameter == "k"
    ignoring = frozenset({"k"})
    assert identify(locked, ignore=ignoring) == identify(factory(1), ignore=ignoring)
    assert identify(locked, stand_ins={"k": lambda _: "lock"}) != identify(
        locked, stand_ins={"k": lambda _: "other"}
    )


def test_an_owner_that_cannot_be_keyed_is_named_and_can_be_ignored_or_stood_in_for() -> None:
    with pytest.raises(UnhashableArgumentError) as caught:
        identify(Opaque().method)
    assert caught.value.parameter == "self"
    ignoring = frozenset({"self"})
    assert identify(Opaque().method, ignore=ignoring) == identify(Opaque().method, ignore=ignoring)
    stand_ins = {"self": lambda _: 1}
    assert identify(Opaque().method, stand_ins=stand_ins) == identify(Opaque().method, stand_ins=stand_ins)


def test_what_is_ignored_counts() -> None:
    asked = [frozenset[str](), frozenset({"x"}), frozenset({"y"}), frozenset({"x", "y"})]
    assert len({identify(top, ignore=each).digest for each in asked}) == len(asked)
    assert identify(top, ignore=frozenset(["x", "y"])) == identify(top, ignore=frozenset(["y", "x"]))


def _first(value: Any) -> Any:
    return value[:1]


def _first_by(lock: Any) -> Callable[[Any], Any]:
    return lambda value: (lock, value[0])


def _last_by(lock: Any) -> Callable[[Any], Any]:
    return lambda value: (lock, value[-1])


def test_what_stands_in_counts() -> None:
    lock = threading.Lock()
    asked: list[dict[str, Callable[[Any], object]]] = [
        {},
        {"x": _first},
        {"y": _first},
        {"x": _first, "y": _first},
        {"x": lambda value: value[:2]},
        {"x": lambda value: value[:3]},
        {"x": _first_by(1)},
        {"x": _first_by(2)},
        {"x": _first_by(lock)},
        {"x": _last_by(lock)},
        {"x": len},
        {"x": Opaque().method},
    ]
    assert len({identify(top, stand_ins=each).digest for each in asked}) == len(asked)
    assert identify(top, stand_ins={"x": _first, "y": len}) == identify(
        top, stand_ins={"y": len, "x": _first}
    )
    assert identify(top, stand_ins={"x": _first_by(lock)}) == identify(
        top, stand_ins={"x": _first_by(threading.Lock())}
    )


def test_a_function_that_calls_itself() -> None:
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    def wrapped(n: int) -> int:
        return n if n < 2 else wrapped(n - 1)

    inner = wrapped
    wrapped = functools.lru_cache(inner)
    seen: list[Identity] = []

    def decorate(function: Callable[[int], int]) -> Callable[[int], int]:
        seen.append(identify(function))
        return function

    @decorate
    def early(n: int) -> int:
        return n if n < 2 else early(n - 1)

    assert identify(fibonacci) == identify(fibonacci)
    assert identify(inner) == identify(inner)
    assert len(seen) == 1
    assert seen[0] != identify(early)  # the variable was still empty


def test_a_wrapper_of_its_own_parts_that_leads_back_is_the_function_itself() -> None:
    def inner(n: int) -> int:
        return n if n < 2 else outer(n - 1)

    lock = threading.Lock()

    def outer(n: int) -> int:
        with lock:
            return inner(n)

    functools.update_wrapper(outer, inner)
    assert identify(inner) == identify(inner)


@pytest.mark.parametrize(
    ("arguments", "keywords", "name"),
    [([threading.Lock()], {}, "x"), ([], {"y": threading.Lock()}, "y")],
)
def test_an_argument_of_a_partial_that_cannot_be_keyed_is_named(
    arguments: list[Any], keywords: dict[str, Any], name: str
) -> None:
    with pytest.raises(UnhashableArgumentError) as caught:
        identify(functools.partial(top, *arguments, **keywords))
    assert caught.value.parameter == name


SCRIPT = """
import multiprocessing
import sys

from library import through
from mlcache import ml_cache


def helper(x):
    return {helper}


@ml_cache(backend="disk"{options})
{decorator}
def f(x):
    return helper(x), multiprocessing.current_process().name


if __name__ == "__main__":
    answers = [f(1)]
    if "spawn" in sys.argv:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            answers.append(pool.apply(f, (1,)))
    print(answers, f.cache_info().hits)
"""

LIBRARY = """
import functools


def through(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)
    return wrapper
"""


def _run(folder: Path, *arguments: str) -> str:
    environment = os.environ | {
        "MLCACHE_DIR": str(folder.parent / "answers"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(folder.parent)]),
    }
    command = [sys.executable, "script.py", *arguments]
    made = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


DECORATORS = ["", "@through"]
"""Without one, and one of a library, whose function has the globals of the library."""


def _script(folder: Path, helper: str, options: str = "", decorator: str = "") -> Path:
    folder.mkdir()
    (folder.parent / "library.py").write_text(LIBRARY, "utf-8")
    text = SCRIPT.format(helper=helper, options=options, decorator=decorator)
    (folder / "script.py").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize("decorator", DECORATORS)
def test_scripts_of_one_code_and_other_helpers_are_apart(tmp_path: Path, decorator: str) -> None:
    one, other = (_script(tmp_path / f"plus {by}", f"x + {by}", decorator=decorator) for by in (1, 100))
    assert _run(one) == "[(2, 'MainProcess')] 0"
    assert _run(other) == "[(101, 'MainProcess')] 0"
    assert _run(one) == "[(2, 'MainProcess')] 1"


@pytest.mark.parametrize("decorator", DECORATORS)
def test_a_script_shares_with_the_processes_that_it_spawns(tmp_path: Path, decorator: str) -> None:
    expected = "[(2, 'MainProcess'), (2, 'MainProcess')] 0"
    assert _run(_script(tmp_path / "one", "x + 1", decorator=decorator), "spawn") == expected


def test_scripts_share_what_they_give_a_name(tmp_path: Path) -> None:
    one, other = (_script(tmp_path / name, "x + 1", ", name='f'") for name in ("one", "other"))
    assert [_run(one), _run(other)] == ["[(2, 'MainProcess')] 0", "[(2, 'MainProcess')] 1"]


@pytest.mark.parametrize("decorate", [functools.singledispatch, contextmanager(lambda: iter([None]))()])
def test_what_a_decorator_holds_that_has_no_key_is_said_to_be_its(decorate: Any) -> None:
    function = decorate(lambda value: value)
    with pytest.raises(UnhashableArgumentError, match="with @ml_cache below that decorator"):
        identify(function)
