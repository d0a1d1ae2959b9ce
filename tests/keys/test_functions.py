"""Keys of functions that are arguments."""

from __future__ import annotations

import functools
import math
import operator
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import digest


def adder(k: Any) -> Callable[[Any], Any]:
    def add(x: Any) -> Any:
        return x + k

    return add


def scaled(factor: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return factor * function(*args)

        return wrapper

    return decorate


class Model:
    """A model that says what stands for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __ml_cache_key__(self) -> str:
        return self.name

    def predict(self) -> str:
        return self.name

    def explain(self) -> str:
        return self.name


def test_functions_are_apart_by_code_closure_and_defaults() -> None:
    one, two = (lambda x: x + 1), (lambda x: x + 2)
    made: list[Any] = [
        one,
        two,
        adder(1),
        adder(2),
        adder(1.0),
        adder([1]),
        digest,
        test_functions_are_apart_by_code_closure_and_defaults,
    ]
    made += [
        lambda x, y=1: x + y,
        lambda x, y=2: x + y,
        lambda x, *, y=1: x + y,
        scaled(1)(one),
        scaled(2)(one),
        scaled(1)(two),
    ]
    assert len({digest(each) for each in made}) == len(made)
    assert digest(adder(1)) == digest(adder(1))


def test_callables_of_every_kind() -> None:
    made: list[Any] = [
        len,
        sum,
        math.sqrt,
        math.cos,
        str.upper,
        str.lower,
        bytes.upper,
        "a".upper,
        "b".upper,
        [].append,
        [1].append,
        dict.fromkeys,
        int,
        float,
        str,
        operator.itemgetter(1),
        operator.itemgetter(2),
        operator.attrgetter("a"),
        math,
        operator,
        functools.partial(adder, 1),
        functools.partial(adder, 2),
        functools.partial(adder, k=1),
        functools.partial(len),
        Model("a").predict,
        Model("b").predict,
        Model("a").explain,
        Model.predict,
        Model,
        functools.lru_cache(adder),
        functools.lru_cache(scaled),
        object.__init__,
        int.__add__,
        (1).__add__,
        (2).__add__,
        property,
        classmethod,
    ]
    assert len({digest(each) for each in made}) == len(made)
    assert digest(functools.partial(adder, 1)) == digest(functools.partial(adder, 1))
    assert digest(Model("a").predict) == digest(Model("a").predict)


def test_what_a_wrapper_wraps_counts() -> None:
    """Generated wrappers differ in nothing but what they say they wrap."""

    def generated(function: Callable[..., Any]) -> Callable[..., Any]:
        namespace: dict[str, Any] = {"hidden": function}
        exec("def wrapper(*args):\n    return hidden(*args)", namespace)  # noqa: S102  # as decorators do
        return functools.update_wrapper(namespace["wrapper"], function)

    one, two = (lambda x: x + 1), (lambda x: x + 2)
    assert digest(generated(one)) != digest(generated(two))


def test_recursive_functions_end() -> None:
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    assert digest(factorial) == digest(factorial)
    assert digest(even) != digest(odd)


def test_a_variable_of_the_closure_that_cannot_be_keyed_is_named() -> None:
    with pytest.raises(UnhashableArgumentError) as caught:
        digest([adder(threading.Lock())])
    assert caught.value.path == "[0].k"


def test_a_function_can_say_what_stands_for_it() -> None:
    function: Any = adder(threading.Lock())
    function.__ml_cache_key__ = lambda: "v1"
    before = digest(function)
    function.__ml_cache_key__ = lambda: "v2"
    assert digest(function) != before


def test_a_module_stands_by_its_name() -> None:
    assert digest(math) == digest(sys.modules["math"])
