"""The decorator on every kind of callable, and its keywords with right and wrong values."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import json
import math
import operator
import sys
import threading
import weakref
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from mlcache import (
    AsyncCachedFunction,
    CachedFunction,
    ConfigurationError,
    Expiry,
    MlcacheWarning,
    UnhashableArgumentError,
    ml_cache,
)

MISSING = object()

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def note(*what: Any) -> Any:
    """Says that a function ran, and gives what it is to return."""
    calls.append(what)
    return what


class Opaque:
    """Nothing stands for it."""

    def __init__(self, value: object = None) -> None:
        self.value = value


# ---- functions ----


def test_without_parentheses() -> None:
    @ml_cache
    def f(x: int, y: int = 2) -> Any:
        return note(x, y)

    assert f(1) == f(1, 2) == f(x=1) == f(y=2, x=1) == (1, 2)
    assert calls == [(1, 2)]
    assert isinstance(f, CachedFunction)


@pytest.mark.parametrize("decorate", [ml_cache(), ml_cache(ttl="1h"), functools.partial(ml_cache)])
def test_with_parentheses(decorate: Callable[[Callable[..., Any]], Any]) -> None:
    @decorate
    def f(x: int) -> Any:
        return note(x)

    assert f(1) == f(1) == (1,)
    assert calls == [(1,)]
    assert isinstance(f, CachedFunction)


def test_look_alike_arguments_are_apart() -> None:
    f = ml_cache(note)
    for values in [(1,), (1.0,), (True,), ("1",), (b"1",), ("a b", "c"), ("a", "b c"), (), (None,), ((),)]:
        for _ in range(2):
            result = f(*values)
            assert (result, [*map(type, result)]) == (values, [*map(type, values)])
    assert len(calls) == 10


def test_the_order_of_keywords_and_of_dicts_does_not_matter() -> None:
    f = ml_cache(lambda **options: note(options))
    assert f(a=1, b=2) == f(b=2, a=1)
    assert f(a={"x": 1, "y": 2}) == f(a={"y": 2, "x": 1})
    assert len(calls) == 2


def test_arrays_count_by_their_bytes_type_and_shape() -> None:
    f = ml_cache(lambda a: note(a.sum()))
    a = np.arange(12).reshape(3, 4)
    for same in (a, a.copy(), a.T.copy().T, np.asfortranarray(a), np.repeat(a, 2, axis=0)[::2]):
        f(same)
    assert len(calls) == 1
    changed = a.copy()
    changed[1, 1] += 1
    for other in (
        a.reshape(4, 3),
        a.astype("i4"),
        a.astype(">i8"),
        a.astype(float),
        changed,
        [*map(tuple, a)],
    ):
        f(np.asarray(other) if isinstance(other, list) else other)
    assert len(calls) == 6  # the last is an array like the first


def test_frames_count_by_values_types_labels_and_index() -> None:
    f = ml_cache(lambda frame: note(len(frame)))
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert f(frame) == f(frame.copy()) == f(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    assert len(calls) == 1
    for other in (
        frame[["b", "a"]],
        frame.rename(columns={"a": "c"}),
        frame.set_index("a"),
        frame.assign(a=[1.0, 2.0]),
    ):
        f(other)
    assert len(calls) == 5


def test_none_is_a_value_like_another() -> None:
    @ml_cache
    def f(x: object) -> None:
        calls.append(x)

    answers: list[object] = [f(1), f(1), f(None), f(None)]
    assert answers == [None] * 4
    assert calls == [1, None]


def test_exceptions_are_not_kept() -> None:
    @ml_cache
    def f(x: int) -> int:
        note(x)
        if len(calls) < 3:
            raise KeyError(x)
        return x

    for _ in range(2):
        with pytest.raises(KeyError):
            f(1)
    assert (f(1), f(1), len(calls)) == (1, 1, 3)


def test_the_key_is_taken_before_the_function_can_change_its_arguments() -> None:
    @ml_cache
    def f(values: list[int], array: np.ndarray[Any, Any]) -> int:
        values.append(0)
        array[0] = -1
        return note(len(values))[0]  # type: ignore[no-any-return]

    assert f([1], np.arange(3)) == f([1], np.arange(3)) == 2
    assert f([1, 0], np.arange(3)) == 3
    assert len(calls) == 2


def test_two_lambdas_on_one_line_are_apart() -> None:
    f, g = ml_cache(lambda x: x + 1), ml_cache(lambda x: x + 2)
    assert [f(1), g(1), f(1), g(1)] == [2, 3, 2, 3]


def test_two_closures_of_one_factory_are_apart() -> None:
    def factory(step: int) -> CachedFunction[[int], int]:
        @ml_cache
        def f(x: int) -> int:
            return x + int(step)

        return f

    f, g, h = factory(1), factory(2), factory(1)
    assert [f(1), g(1), f(1), g(1)] == [2, 3, 2, 3]
    assert h.cache_key(1) == f.cache_key(1)


def test_two_functions_of_one_name_are_apart() -> None:
    made: list[CachedFunction[[int], int]] = []
    for _ in range(2):
        if made:

            @ml_cache
            def f(x: int) -> int:
                return x + 1
        else:

            @ml_cache
            def f(x: int) -> int:
                return x + 2

        made.append(f)
    assert [made[0](1), made[1](1), made[0](1)] == [3, 2, 3]


def test_functions_that_differ_in_a_default_alone_are_apart_where_it_is_used() -> None:
    made = [ml_cache(lambda x, step=step: x + step) for step in (1, 2)]
    assert [f(1) for f in made] == [2, 3]


def test_functions_that_differ_in_a_default_without_a_key_never_share_an_answer() -> None:
    def factory(model: Opaque) -> Any:
        @ml_cache
        def f(x: int, model: Opaque = model) -> Any:
            return x, model.value

        return f

    f, g = factory(Opaque("a")), factory(Opaque("b"))
    for cached in (f, g):
        with pytest.raises(UnhashableArgumentError, match="from model of type"):
            cached(1)
    f, g = (ml_cache(key={"model": lambda model: model.value})(each.__wrapped__) for each in (f, g))
    assert [f(1), g(1), f(1)] == [(1, "a"), (1, "b"), (1, "a")]


def test_a_sentinel_as_default() -> None:
    @ml_cache
    def f(x: object = MISSING) -> Any:
        return note(x is MISSING)

    assert f() == f(MISSING) == (True,)
    assert f(None) == (False,)
    assert len(calls) == 2


def test_a_closure_over_what_has_no_key_is_refused_at_decoration_with_ways_out() -> None:
    def factory(**options: Any) -> Any:
        model = Opaque()

        @ml_cache(**options)
        def f(x: int) -> Any:
            return note(x, model is not None)

        return f

    with pytest.raises(
        UnhashableArgumentError, match=r"from model of type .*Opaque.*ignore=\['model'\]"
    ) as caught:
        factory()
    assert "key={'model': function}" in str(caught.value)
    assert "__ml_cache_key__" in str(caught.value)
    assert factory(ignore=["model"])(1) == factory(key={"model": lambda _: "v1"})(1) == (1, True)


def test_a_closure_counts_by_its_content_when_it_was_decorated() -> None:
    weights = [1, 2]

    def factory() -> Any:
        return ml_cache(lambda x: x + sum(weights))

    f = factory()
    assert f(1) == 4
    weights.append(3)
    assert factory()(1) == 7


def test_recursion_by_a_global_name() -> None:
    assert fibonacci(20) == 6765
    assert fibonacci.cache_info().misses == 21


@ml_cache
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def test_recursion_through_a_closure() -> None:
    def factory(step: int) -> CachedFunction[[int], int]:
        @ml_cache
        def climb(n: int) -> int:
            return 1 if n <= 0 else climb(n - 1) + climb(n - step)

        return climb

    assert [factory(2)(10), factory(3)(10), factory(2)(10)] == [144, 60, 144]


def test_functions_that_call_each_other_through_closures() -> None:
    def factory(end: str) -> tuple[CachedFunction[[int], str], CachedFunction[[int], str]]:
        @ml_cache
        def ping(n: int) -> str:
            return end if n == 0 else "i" + pong(n - 1)

        @ml_cache
        def pong(n: int) -> str:
            return end if n == 0 else "o" + ping(n - 1)

        return ping, pong

    (ping, pong), (ping2, _) = factory("!"), factory("?")
    assert [ping(3), pong(3), ping2(3), ping(3)] == ["ioi!", "oio!", "ioi?", "ioi!"]


def test_a_function_can_be_an_argument() -> None:
    @ml_cache
    def apply(function: Callable[[int], int], x: int) -> Any:
        return note(function(x))

    assert apply(lambda x: x + 1, 1) == (2,)
    assert apply(lambda x: x + 2, 1) == (3,)
    assert apply(lambda x: x + 1, 1) == (2,)
    assert len(calls) == 2


# ---- partial objects, bound methods, callable objects, functions of C ----


def power(base: int, exponent: int, *, offset: int = 0) -> Any:
    return note(base**exponent + offset)


def test_partial_objects_are_apart_by_what_they_hold() -> None:
    made = [
        functools.partial(power, 2),
        functools.partial(power, 3),
        functools.partial(power, exponent=2),
        functools.partial(power, 2, offset=1),
        functools.partial(functools.partial(power, 2), offset=2),
    ]
    cached = [ml_cache(each) for each in made]
    plain = [each(4) for each in made]
    calls.clear()
    assert [each(4) for each in cached] == [each(4) for each in cached] == plain
    assert len(calls) == len(made)


def test_a_partial_object_lets_its_keywords_be_overridden() -> None:
    f = ml_cache(functools.partial(power, exponent=2))
    assert f(3) == f(3, exponent=2) == f(base=3) == (9,)
    assert f(3, exponent=3) == (27,)
    assert len(calls) == 2


def test_what_a_partial_object_holds_can_be_left_out_of_the_key() -> None:
    def predict(model: Any, x: int, scale: object = 1) -> Any:
        return note(getattr(model, "value", model), x, scale)

    for held, name in (
        (functools.partial(predict, Opaque("a")), "model"),
        (functools.partial(predict, scale=Opaque("a")), "scale"),
    ):
        with pytest.raises(UnhashableArgumentError, match=rf"from {name} of type .*ignore=\['{name}'\]"):
            ml_cache(held)
    assert ml_cache(ignore=["model"])(functools.partial(predict, Opaque("a")))(1) == ("a", 1, 1)
    assert ml_cache(ignore=["scale"])(functools.partial(predict, scale=2))("m", 1)[1:] == (1, 2)
    by_value = [
        ml_cache(key={"model": lambda m: m.value})(functools.partial(predict, Opaque(v))) for v in "ab"
    ]
    assert [f(1)[0] for f in by_value] == ["a", "b"]


@dataclass(frozen=True)
class Scaler:
    factor: int

    def scale(self, x: int) -> Any:
        return note(self.factor * x)

    def __call__(self, x: int) -> Any:
        return note(self.factor + x)


def test_bound_methods_are_apart_by_their_instances_content() -> None:
    f, g, h = (ml_cache(Scaler(factor).scale) for factor in (2, 3, 2))
    assert [f(1), g(1), h(1)] == [(2,), (3,), (2,)]
    assert len(calls) == 2


def test_callable_objects_are_apart_by_their_content() -> None:
    f, g, h = (ml_cache(Scaler(factor)) for factor in (2, 3, 2))
    assert [f(1), g(1), h(1)] == [(3,), (4,), (3,)]
    assert len(calls) == 2


@dataclass
class Model:
    weight: int

    def predict(self, x: int) -> int:
        return self.weight * x


def test_an_owner_is_read_once_and_an_argument_at_each_call() -> None:
    model = Model(1)
    bound, plain = ml_cache(model.predict), ml_cache(Model.predict)
    assert (bound(1), plain(model, 1)) == (1, 1)
    model.weight = 2
    assert (bound(1), plain(model, 1)) == (1, 2)


class Plain:
    """An object without a key, which can be called and has a method."""

    def __init__(self) -> None:
        self.aio = self.put = self.cache_info = self._actions = self._lock = "mine"

    def __call__(self, x: int) -> Any:
        return note(x)

    def method(self, x: int) -> Any:
        return note(x)


@pytest.mark.parametrize("make", [Plain, lambda: Plain().method, lambda: functools.partial(Plain().method)])
def test_the_object_behind_a_callable_is_called_self(make: Callable[[], Any]) -> None:
    with pytest.raises(UnhashableArgumentError, match=r"from self of type .*Plain.*ignore=\['self'\]"):
        ml_cache(make())
    assert ml_cache(ignore=["self"])(make())(1) == ml_cache(ignore="self")(make())(1) == (1,)
    assert ml_cache(key={"self": lambda _: "v1"})(make())(1) == (1,)


def test_attributes_of_a_callable_object_do_not_hide_those_of_the_cache() -> None:
    f = ml_cache(ignore=["self"])(Plain())
    f.put((7,), 1)
    assert f(1) == (7,)
    assert f.cache_info().hits == 1
    assert asyncio.run(f.aio(1)) == (7,)


def test_a_mock_can_be_cached() -> None:
    mock = Mock(return_value=3)
    f = ml_cache(ignore=["self"])(mock)
    assert [f(1), f(1), f(2, key="x"), f(2, key="x")] == [3] * 4
    assert mock.call_count == 2


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (math.sqrt, (4.0,)),
        (math.hypot, (3.0, 4.0)),
        (max, (1, 3, 2)),
        (len, ([1, 2],)),
        (sorted, ([2, 1],)),
        (zlib.crc32, (b"abc",)),
        (json.dumps, ([1],)),
        (int.from_bytes, (b"\x01", "big")),
        ("a,b".split, (",",)),
        (operator.itemgetter(1), ([1, 2],)),
        (functools.lru_cache(abs), (-1,)),
        (np.dot, ([1, 2], [3, 4])),
        (np.sin, (0.5,)),
        (np.linalg.norm, ([3.0, 4.0],)),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
@pytest.mark.parametrize("version", ["code", None, "v1"])
def test_functions_of_c(function: Callable[..., Any], args: tuple[Any, ...], version: str | None) -> None:
    f = ml_cache(version=version)(function)
    assert f(*args) == f(*args) == function(*args)
    assert f.cache_info()[:2] == (1, 1)


@pytest.mark.parametrize(
    ("first", "second", "argument"),
    [
        (operator.itemgetter(0), operator.itemgetter(1), "ab"),
        ("abc".startswith, "xyz".startswith, "a"),
    ],
)
@pytest.mark.parametrize("version", ["code", None, "v1"])
def test_what_is_bound_to_a_callable_counts_whatever_its_version(
    first: Any, second: Any, argument: str, version: str | None
) -> None:
    name = "same" if version != "code" else None
    cached = [ml_cache(version=version, name=name)(each) for each in (first, second)]
    assert [each(argument) for each in cached] == [first(argument), second(argument)]


def test_functions_with_a_cache_of_their_own_are_apart_by_what_is_in_it() -> None:
    cached = [ml_cache(functools.lru_cache(each)) for each in (lambda x: x + "1", lambda x: x + "2")]
    assert [f("a") for f in cached] == ["a1", "a2"]
    apply = ml_cache(lambda function: function("a"))
    assert [apply(f.__wrapped__) for f in cached] == ["a1", "a2"]


def test_vectorized_functions_are_apart_as_arguments_or_refused() -> None:
    apply = ml_cache(lambda function: function(1))
    assert apply(np.negative) == -1
    for function in (lambda x: x + 1, lambda x: x + 2):
        with pytest.raises(UnhashableArgumentError):
            apply(np.frompyfunc(function, 1, 1))


def test_a_cached_function_within_another() -> None:
    f = ml_cache(functools.partial(fibonacci, 10))
    assert f() == f() == 55
    g = ml_cache(functools.lru_cache(note))
    assert g(1) == g(1) == (1,)
    assert g.cache_info().hits == 1
    assert g.cache_parameters()["version"] == "code"


def test_other_decorators_below() -> None:
    def doubled(function: Callable[[int], int]) -> Callable[[int], int]:
        @functools.wraps(function)
        def wrapper(x: int) -> int:
            return 2 * function(x)

        return wrapper

    f, g = ml_cache(doubled(lambda x: x)), ml_cache(doubled(lambda x: x + 1))
    assert [f(1), g(1), f(1)] == [2, 4, 2]


# ---- methods ----


class Service:
    """Methods of every kind, in both orders of the decorators."""

    @ml_cache(ignore=["self"])
    def ignoring(self, x: int) -> Any:
        return note(x)

    @ml_cache
    def refusing(self, x: int) -> Any:
        return note(x)

    @staticmethod
    @ml_cache
    def static_below(x: int) -> Any:
        return note(x)

    @ml_cache
    @staticmethod
    def static_above(x: int) -> Any:
        return note(x)

    @classmethod
    @ml_cache
    def class_below(cls, x: int) -> Any:
        return note(cls.__name__, x)

    @ml_cache
    @classmethod
    def class_above(cls, x: int) -> Any:
        return note(cls.__name__, x)

    @property
    @ml_cache(ignore=["self"])
    def shown(self) -> Any:
        return note("shown")


class SubService(Service):
    pass


@pytest.mark.parametrize("name", ["static_below", "static_above"])
@pytest.mark.parametrize("owner", [Service, SubService, Service()], ids=["class", "subclass", "instance"])
def test_static_methods(name: str, owner: Any) -> None:
    function = getattr(owner, name)
    assert function(1) == function(x=1) == (1,)
    assert len(calls) == 1
    assert function.invalidate(1)
    assert not function.invalidate(1)


@pytest.mark.parametrize("name", ["class_below", "class_above"])
def test_class_methods_are_apart_by_their_class(name: str) -> None:
    for owner in (Service, SubService, Service(), SubService()):
        kind = owner if isinstance(owner, type) else type(owner)
        assert getattr(owner, name)(1) == (kind.__name__, 1)
    assert len(calls) == 2
    Service.class_above.cache_clear()
    Service.class_below.cache_clear()


def below_is_bound() -> bool:
    """Whether ``classmethod`` binds what it decorates by its own ``__get__``: not since Python 3.13."""
    return sys.version_info < (3, 13)


@pytest.mark.parametrize(
    "name",
    [
        "class_above",
        pytest.param(
            "class_below", marks=pytest.mark.skipif(not below_is_bound(), reason="binds no descriptors")
        ),
    ],
)
async def test_class_methods_have_the_control_surface_of_their_class(name: str) -> None:
    function = getattr(SubService, name)
    assert function.put(("put",), 5) is None
    assert function(5) == getattr(SubService(), name)(5) == await function.aio(5) == ("put",)
    assert getattr(Service, name).peek(5) is None
    assert function.invalidate(5)


def test_properties() -> None:
    service = Service()
    assert service.shown == service.shown == ("shown",)
    assert len(calls) == 1


def test_an_instance_without_a_key_is_an_error_that_says_so() -> None:
    with pytest.raises(UnhashableArgumentError, match=r"from self of type .*Service") as caught:
        Service().refusing(1)
    for way in ("ignore=['self']", "key={'self': function}", "__ml_cache_key__"):
        assert way in str(caught.value)


def test_an_ignored_instance_shares_its_answers() -> None:
    assert Service().ignoring(1) == Service().ignoring(1) == (1,)
    assert len(calls) == 1


class WithKey:
    def __init__(self, name: str) -> None:
        self.name = name

    def __ml_cache_key__(self) -> str:
        return self.name

    @ml_cache
    def score(self, x: int) -> Any:
        return note(self.name, x)


class Keyed:
    def __init__(self, name: str) -> None:
        self.name = name

    @ml_cache(key={"self": lambda self: self.name})
    def score(self, x: int) -> Any:
        return note(self.name, x)


@dataclass(frozen=True)
class Frozen:
    name: str

    @ml_cache
    def score(self, x: int) -> Any:
        return note(self.name, x)

    @ml_cache
    async def ascore(self, x: int) -> Any:
        return note(self.name, x)


@pytest.mark.parametrize("kind", [WithKey, Keyed, Frozen])
def test_methods_are_apart_by_the_key_of_their_instance_and_never_by_its_identity(kind: Any) -> None:
    for name in "abab":
        assert kind(name).score(1) == (name, 1)
        gc.collect()  # so that identities come again
    assert len(calls) == 2


@pytest.mark.parametrize("kind", [WithKey, Keyed, Frozen])
def test_a_method_does_not_keep_its_instance_alive(kind: Any) -> None:
    instance = kind("a")
    instance.score(1)
    instance.score(1)
    instance.score.put((1,), 2)
    instance.score.refresh(1)
    asyncio.run(instance.score.aio(3))
    gone = weakref.ref(instance)
    del instance
    gc.collect()
    assert gone() is None


async def test_a_coroutine_method_does_not_keep_its_instance_alive() -> None:
    instance = Frozen("a")
    await instance.ascore(1)
    await instance.ascore(1)
    gone = weakref.ref(instance)
    del instance
    await asyncio.sleep(0)
    gc.collect()
    assert gone() is None


def test_a_failing_method_does_not_keep_its_instance_alive() -> None:
    @dataclass(frozen=True)
    class Failing:
        name: str

        @ml_cache
        def score(self) -> None:
            raise KeyError(self.name)

    instance = Failing("a")
    with contextlib.suppress(KeyError):
        instance.score()
    gone = weakref.ref(instance)
    del instance
    gc.collect()
    assert gone() is None


def test_a_cached_function_and_its_values_can_die() -> None:
    def use() -> list[weakref.ref[Any]]:
        f = ml_cache(backend="lru?max_items=5", returns="reference")(lambda _: Opaque())
        return [weakref.ref(f(1)), weakref.ref(f), weakref.ref(asyncio.run(f.aio(2)))]

    gone = use()
    gc.collect()
    assert [each() for each in gone] == [None] * 3


def test_inheritance_and_super() -> None:
    @dataclass(frozen=True)
    class Base:
        name: str

        @ml_cache
        def score(self, x: int) -> Any:
            return note("base", self.name, x)

    @dataclass(frozen=True)
    class Derived(Base):
        @ml_cache
        def score(self, x: int) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
            return ("derived", *super().score(x))

    for _ in range(2):
        assert Base("a").score(1) == ("base", "a", 1)
        assert Derived("a").score(1) == ("derived", "base", "a", 1)
    assert len(calls) == 2  # the instances are of two classes


def test_abstract_methods_stay_abstract() -> None:
    class Abstract(ABC):
        @ml_cache
        @abstractmethod
        def below(self) -> None: ...

        @abstractmethod
        @ml_cache
        def above(self) -> None: ...

    assert Abstract.__abstractmethods__ == {"below", "above"}


def test_bound_cached_methods_as_arguments_are_apart_by_their_instances() -> None:
    @ml_cache
    def apply(method: Callable[[int], Any]) -> Any:
        return method(1)

    assert [apply(Frozen(name).score) for name in "aba"] == [("a", 1), ("b", 1), ("a", 1)]


def test_two_cached_methods_of_one_instance_are_equal_and_hash_alike() -> None:
    instance, twin = Frozen("a"), Frozen("a")
    assert instance.score == instance.score
    assert instance.score != twin.score
    assert len({instance.score, instance.score, twin.score}) == 2


# ---- coroutine functions ----


async def test_coroutine_functions() -> None:
    @ml_cache
    async def f(x: int) -> Any:
        await asyncio.sleep(0)
        return note(x)

    assert isinstance(f, AsyncCachedFunction)
    assert [await f(1), await f(x=1), await f(2)] == [(1,), (1,), (2,)]
    assert calls == [(1,), (2,)]


async def test_tasks_that_miss_the_same_key_compute_it_once() -> None:
    @ml_cache
    async def f(x: int) -> Any:
        await asyncio.sleep(0)
        return note(x)

    assert await asyncio.gather(*(f(1) for _ in range(50))) == [(1,)] * 50
    assert calls == [(1,)]


class AsyncService:
    @ml_cache(ignore=["self"])
    async def method(self, x: int) -> Any:
        return note(x)

    @classmethod
    @ml_cache
    async def klass(cls, x: int) -> Any:
        return note(cls.__name__, x)

    @ml_cache
    @staticmethod
    async def static(x: int) -> Any:
        return note(x)

    async def plain(self, x: int) -> Any:
        return note(x)

    async def __call__(self, x: int) -> Any:
        return note(x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AsyncService().method,
        lambda: AsyncService.klass,
        lambda: AsyncService.static,
        lambda: ml_cache(ignore=["self"])(AsyncService().plain),
        lambda: ml_cache(ignore=["self"])(AsyncService()),
        lambda: ml_cache(ignore=["self"])(functools.partial(AsyncService().plain)),
    ],
    ids=["method", "class method", "static method", "bound method", "object", "partial"],
)
async def test_coroutine_methods_of_every_kind(make: Any) -> None:
    function = make()
    assert await function(1) == await function(1)
    assert len(calls) == 1


async def test_a_plain_function_is_awaited_through_aio() -> None:
    f = ml_cache(note)
    assert [await f.aio(1), await f.aio(1), f(1)] == [(1,)] * 3
    assert calls == [(1,)]


# ---- what is refused ----


def generator(x: int) -> Iterator[int]:
    yield x


async def async_generator(x: int) -> AsyncIterator[int]:
    yield x


def any_generator(*args: Any) -> Iterator[Any]:
    yield from args


class Generators:
    def __call__(self) -> Iterator[int]:
        yield 1

    def method(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    "function",
    [
        *(generator, async_generator, functools.partial(generator, 1), Generators(), Generators().method),
        staticmethod(generator),
        classmethod(any_generator),
        lambda: (yield),
    ],
)
@pytest.mark.parametrize("decorate", [ml_cache, ml_cache(ttl=1)], ids=["plain", "with parentheses"])
def test_generator_functions_are_refused_saying_why(function: Any, decorate: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"generator function.*exists once.*Return a list"):
        decorate(function)


def test_a_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Plain is a class: decorate a function"):
        ml_cache(Plain)


@pytest.mark.parametrize(
    "cached", [ml_cache(power), ml_cache(power).aio, Frozen("a").score, Service.class_above]
)
def test_what_is_cached_already_is_refused(cached: Any) -> None:
    with pytest.raises(ConfigurationError, match="is cached already"):
        ml_cache(ttl=1)(cached)


@pytest.mark.parametrize("wrong", [5, "disk", [power], object(), {"ttl": 1}])
def test_what_is_no_function_is_refused(wrong: Any) -> None:
    for decorate in (ml_cache, ml_cache()):
        with pytest.raises(
            ConfigurationError, match=r"takes a function.*by keyword.*@ml_cache\(backend='disk'\)"
        ):
            decorate(wrong)


@pytest.mark.parametrize("kind", [property, functools.cached_property])
def test_a_property_is_to_stand_above(kind: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=f"not a {kind.__name__}: put @{kind.__name__} above @ml_cache"
    ):
        ml_cache(kind(repr))


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="maxsize"):
        ml_cache(maxsize=5)  # type: ignore[call-overload]


def test_options_come_by_keyword_alone() -> None:
    with pytest.raises(TypeError):
        ml_cache(power, "disk")  # type: ignore[call-overload]


# ---- keywords ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "lruu"}, "did you mean lru"),
        ({"backend": "lru,"}, "commas"),
        ({"backend": ""}, "commas"),
        ({"backend": []}, "empty list"),
        ({"backend": 5}, "backend is 5.*'lru'.*'disk:///"),
        ({"backend": object()}, "get, put, delete, name, blocking, holds"),
        ({"backend": ["lru", None]}, "backend is None"),
        ({"backend": "lru?max_itens=5"}, "did you mean max_items"),
        ({"backend": "lru?max_items=0"}, "whole number above zero"),
        ({"backend": "lru?max_items=many"}, "whole number above zero"),
        ({"backend": "lru?max_bytes=much"}, "512MiB"),
        ({"backend": "lru:///tmp"}, "takes no path"),
        ({"ttl": 0}, "ttl is 0.*above zero"),
        ({"ttl": -5}, "ttl is -5.*above zero"),
        ({"ttl": "soon"}, "ttl is 'soon'.*1h30m"),
        ({"ttl": True}, "ttl is True"),
        ({"ttl": [1]}, r"ttl is \[1\]"),
        ({"ignore": 5}, r"ignore is 5.*ignore=\['device'\]"),
        ({"ignore": [5]}, r"ignore is \[5\]"),
        ({"key": str}, r"key is .*key=\{'model'"),
        ({"key": {"x": "id"}}, r"key is .*key=\{'model'"),
        ({"key": {1: str}}, "key is"),
        ({"key": ["x"]}, "key is"),
        ({"version": 2}, "version is 2.*'code'"),
        ({"version": ""}, "version is ''"),
        ({"ttl": Expiry}, "ttl is the class Expiry.*such as Expiry"),
        ({"when": True}, r"when is True.*when=bool"),
        ({"when": "always"}, "when is 'always'"),
        ({"returns": "writable"}, "returns is 'writable'.*'readonly', 'copy', 'reference'"),
        ({"returns": None}, "returns is None"),
        ({"name": ""}, r"name is ''.*name='embed'"),
        ({"name": " "}, "name is ' '"),
        ({"name": 5}, "name is 5"),
        ({"batch": 5}, r"batch is 5.*the items parameter, or Batch\('texts'\)"),
        ({"offload": "all"}, "offload is 'all'.*a number of worker processes"),
    ],
)
def test_a_wrong_value_is_refused_at_decoration_naming_the_option(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ml_cache(**options)


@pytest.mark.parametrize("option", ["ignore", "key"])
def test_an_unknown_parameter_is_refused_at_decoration_with_the_known_ones(option: str) -> None:
    value: Any = ["exponnent"] if option == "ignore" else {"exponnent": str}
    with pytest.raises(ConfigurationError, match=f"{option} names 'exponnent'.*base, exponent, offset"):
        ml_cache(**{option: value})(power)


def test_a_parameter_cannot_be_ignored_and_stood_for() -> None:
    with pytest.raises(ConfigurationError, match="'base' is in ignore and in key"):
        ml_cache(ignore=["base"], key={"base": str})(power)


@pytest.mark.parametrize("option", ["when", "ttl", "key"])
def test_a_coroutine_function_as_an_option_is_refused(option: str) -> None:
    async def says(value: object) -> object:
        return value

    given: Any = {"base": says} if option == "key" else says
    with pytest.raises(ConfigurationError, match=f"{option}.*coroutine function"):
        ml_cache(**{option: given})(power)


@pytest.mark.parametrize(
    "ignore", ["exponent", ["exponent"], ("exponent",), {"exponent"}, iter(["exponent"])]
)
def test_ignore(ignore: Any) -> None:
    f = ml_cache(ignore=ignore)(power)
    assert f(2, 3) == f(2, 4) == f(2, exponent=5) == (8,)


def test_ignore_what_is_collected() -> None:
    f = ml_cache(ignore=["args", "options"])(lambda x, *args, **options: note(x, *args, *options))
    assert f(1) == f(1, 2) == f(1, 2, verbose=Opaque()) == (1,)
    assert f(2, 3) == (2, 3)


def test_key() -> None:
    seen: list[Any] = []

    def stand_in(model: Opaque) -> Any:
        seen.append(model)
        return model.value

    @ml_cache(key={"model": stand_in})
    def f(x: int, model: Opaque) -> Any:
        return note(x, model.value)

    a, b = Opaque("a"), Opaque("b")
    assert [f(1, a), f(1, model=Opaque("a")), f(1, b)] == [(1, "a"), (1, "a"), (1, "b")]
    assert len(calls) == 2
    assert seen[0] is a


def test_key_of_what_is_collected() -> None:
    @ml_cache(key={"args": len, "options": sorted})
    def f(*args: int, **options: int) -> Any:
        return note(args, options)

    assert f(1, 2, a=1) == f(3, 4, a=5) == ((1, 2), {"a": 1})
    assert len(calls) == 1


def test_an_error_in_a_key_function_is_the_callers() -> None:
    f = ml_cache(key={"x": lambda x: x.nothing})(lambda x: x)
    with pytest.raises(UnhashableArgumentError, match=r"from x of type int .*nothing"):
        f(1)


def test_versions() -> None:
    def factory(version: str | None) -> list[CachedFunction[[int], int]]:
        made: list[Callable[[int], int]] = [lambda x: x + 1, lambda x: x + 2]
        return [ml_cache(version=version, name="f")(each) for each in made]

    for version, answers in {"code": [1, 2], "v1": [1, 1], None: [1, 1]}.items():
        f, g = factory(version)
        assert [f(0), g(0)] == answers
        f.cache_clear()
    f, g = factory("v1")[0], factory("v2")[0]
    assert f.cache_key(0) != g.cache_key(0)


def test_comments_and_layout_do_not_change_the_key() -> None:
    sources = [
        "def f(x):\n    return x + 1\n",
        'def f(x):\n    """Says more."""\n\n    # too\n    return x + 1\n',
    ]
    keys = []
    for source in sources:
        names: dict[str, Any] = {"__name__": __name__}
        exec(source, names)  # noqa: S102 - written above
        keys.append(ml_cache(names["f"]).cache_key(1))
    assert keys[0] == keys[1]


@pytest.mark.parametrize("version", [None, "v1"])
def test_a_lambda_without_its_code_needs_a_name(version: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"lambda has no name.*name="):
        ml_cache(version=version)(lambda x: x)


def test_when() -> None:
    f = ml_cache(when=lambda value: value[0] > 1)(note)
    assert [f(1), f(1), f(2), f(2)] == [(1,), (1,), (2,), (2,)]
    assert calls == [(1,), (1,), (2,)]
    assert f.cache_info().not_kept == 2


def test_a_name_parts_the_answers_of_one_function() -> None:
    f, g = ml_cache(name="left")(power), ml_cache(name="right")(power)
    f(2, 2)
    g(2, 2)
    assert len(calls) == 2
    assert str(f.cache_key(2, 2)).startswith("left@")


def test_shared_stores_keep_functions_apart() -> None:
    cached = [ml_cache(each) for each in (lambda x: ("a", x), lambda x: ("b", x))]
    assert [f(x) for x, f in itertools.product((1, 2), cached)] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    cached[0].cache_clear()
    assert [f.cache_info().currsize for f in cached] == [0, 2]


@pytest.mark.parametrize("returns", ["readonly", "copy", "reference"])
def test_what_can_be_used_only_once_is_delivered_and_never_kept_with_one_warning(returns: Any) -> None:
    @ml_cache(returns=returns)
    def f(n: int) -> Iterator[int]:
        return (i for i in range(n))

    with pytest.warns(MlcacheWarning, match=r"uses it up: return a list") as warned:
        assert [*f(2), *f(2)] == [0, 1, 0, 1]
    assert len(warned) == 1
    assert f.cache_info().not_kept == 2


async def test_a_coroutine_from_a_plain_function_is_delivered_and_never_kept() -> None:
    async def inner(x: int) -> int:
        return x

    @ml_cache(returns="reference")
    def f(x: int) -> Coroutine[Any, Any, int]:
        return inner(x)

    plain: Any = f
    with pytest.warns(MlcacheWarning, match="async def"):
        assert [await plain(1), await plain(1)] == [1, 1]


def test_a_value_that_cannot_be_copied_is_delivered_and_not_kept_with_the_way_to_keep_it() -> None:
    def f(x: int) -> Any:
        return threading.Lock(), x

    with pytest.warns(MlcacheWarning, match=r"cannot be copied.*returns='reference'") as warned:
        ml_cache(f)(1)
    assert len(warned) == 1
    kept = ml_cache(returns="reference")(f)
    assert kept(1) is kept(1)
