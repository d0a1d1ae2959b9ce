"""Keys of objects: who says what stands for a value, and the error where nobody does."""

from __future__ import annotations

import copyreg
import decimal
import ipaddress
import operator
import random
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import digest, objects, register_key


class Opaque:
    """An object that nobody says anything about."""

    def __init__(self, x: int = 1) -> None:
        self.x = x

    def method(self) -> int:
        return self.x


class Keyed(Opaque):
    """An object that says what stands for it."""

    def __ml_cache_key__(self) -> object:
        return {"x": self.x}


class Tokenized(Opaque):
    """An object that says it to dask."""

    def __dask_tokenize__(self) -> object:
        return ("token", self.x)


class Reduced(Opaque):
    """An object that says how it is pickled."""

    def __reduce__(self) -> Any:
        return Reduced, (self.x,)


class Registered(Opaque):
    """An object whose users say what stands for it."""


@pytest.fixture
def _registry() -> Iterator[None]:
    before = dict(objects._registered)
    yield
    objects._registered.clear()
    objects._registered.update(before)
    objects._look_again()


@pytest.mark.parametrize("kind", [Keyed, Tokenized, Reduced])
def test_what_an_object_says_of_itself_counts(kind: Any) -> None:
    assert digest(kind(1)) == digest(kind(1))
    assert digest(kind(1)) != digest(kind(2))


def test_two_types_that_say_the_same_are_apart() -> None:
    class Other(Keyed):
        pass

    assert len({digest(Keyed(1)), digest(Other(1)), digest({"x": 1})}) == 3


@pytest.mark.usefixtures("_registry")
def test_a_registered_function_says_what_stands_for_a_type_and_its_subclasses() -> None:
    class Derived(Registered):
        pass

    with pytest.raises(UnhashableArgumentError):
        digest(Registered())
    register_key(Registered, lambda value: value.x)
    assert digest(Registered(1)) == digest(Registered(1))
    assert len({digest(Registered(1)), digest(Registered(2)), digest(Derived(1)), digest(1)}) == 4
    register_key(Derived, lambda _: "derived")
    assert digest(Derived(1)) == digest(Derived(2))
    assert digest(Registered(1)) != digest(Registered(2))


@pytest.mark.usefixtures("_registry")
def test_a_registered_function_has_the_first_word() -> None:
    register_key(Keyed, lambda _: "all one")
    register_key(decimal.Decimal, round)
    assert digest(Keyed(1)) == digest(Keyed(2))
    assert digest(decimal.Decimal("1.1")) == digest(decimal.Decimal("1.2"))
    assert digest([1.5, "a"]) == digest([1.5, "a"])


@pytest.mark.parametrize(("kind", "function"), [(1, len), (int, "len")])
def test_registering_what_is_no_type_or_no_function_is_refused(kind: Any, function: Any) -> None:
    with pytest.raises(TypeError, match="a type and a function"):
        register_key(kind, function)


def _generator() -> Any:
    yield 1


REFUSED: list[Any] = [
    Opaque(),
    object(),
    threading.Lock(),
    _generator(),
    iter([1]),
    map(str, [1]),
    Opaque().method,
]


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_has_no_stable_key_is_refused(value: Any) -> None:
    with pytest.raises(UnhashableArgumentError, match="Three ways out"):
        digest(value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Opaque(), ""),
        ([1, Opaque()], "[1]"),
        ({"a": {"b": (0, Opaque())}}, "['a']['b'][1]"),
        ({1: Opaque()}, "[1]"),
        (((Opaque(),),), "[0][0]"),
    ],
)
def test_an_error_says_where(value: Any, path: str) -> None:
    with pytest.raises(UnhashableArgumentError) as caught:
        digest(value)
    assert caught.value.path == path
    assert caught.value.kind is Opaque


def test_pickling_by_a_registry_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign(Opaque):
        pass

    monkeypatch.setitem(copyreg.dispatch_table, Foreign, lambda value: (complex, (value.x,)))
    assert digest(Foreign(1)) == digest(Foreign(1))
    assert digest(Foreign(1)) != digest(Foreign(2))


def test_being_made_by_something_that_cannot_be_imported_is_refused() -> None:
    class Local(Opaque):
        def __reduce__(self) -> Any:
            return (lambda: None), ()

    with pytest.raises(UnhashableArgumentError, match="cannot be imported"):
        digest(Local())


def test_objects_of_the_standard_library_that_say_how_they_are_pickled() -> None:
    made = [
        re.compile("a"),
        re.compile("b"),
        re.compile("a", re.IGNORECASE),
        *[random.Random(seed) for seed in (1, 2)],  # no secrets here
        ipaddress.ip_address("1.2.3.4"),
        ipaddress.ip_address("1.2.3.5"),
        ValueError("a"),
        ValueError("b"),
        KeyError("a"),
    ]
    assert len({digest(each) for each in made}) == len(made)


def test_an_object_that_holds_itself_ends() -> None:
    class Node:
        def __init__(self) -> None:
            self.next: Any = None

        def __ml_cache_key__(self) -> Any:
            return [self.next]

    node, other = Node(), Node()
    node.next = node
    assert digest(node) == digest(node)
    other.next = Node()
    assert digest(node) != digest(other)


def test_an_object_that_answers_to_every_name_is_refused() -> None:
    class Proxy:
        def __getattr__(self, name: str) -> str:
            return name

        def __call__(self) -> None: ...

    with pytest.raises(UnhashableArgumentError):
        digest(Proxy())


def test_how_many_parts_an_object_is_pickled_in_counts() -> None:
    noted = ValueError("a")
    noted.note = 1  # type: ignore[attr-defined]
    assert len(noted.__reduce__()) > len(ValueError("a").__reduce__())
    one = [noted, 5, ValueError("a"), {"note": 1}]
    other = [ValueError("a"), {"note": 1}, 5, noted]
    assert digest(one) != digest(other)


class Restless(Opaque):
    """An object that is pickled in another way each time."""

    def __reduce__(self) -> Any:
        self.x += 1
        return Restless, (self.x,)


class Senseless(Opaque):
    """An object that says it is pickled, and not how."""

    def __reduce__(self) -> Any:
        return ()


def test_being_pickled_in_another_way_each_time_is_refused() -> None:
    with pytest.raises(UnhashableArgumentError, match="another way each time"):
        digest(Restless())


def test_being_pickled_in_no_way_is_refused() -> None:
    with pytest.raises(UnhashableArgumentError, match="it reduces to"):
        digest([Senseless()])


def test_objects_that_a_partial_function_makes_are_keyed_by_all_of_it() -> None:
    made = [
        operator.methodcaller("a", b=1),
        operator.methodcaller("a", b=2),
        operator.methodcaller("a", 1),
        operator.methodcaller("a"),
        operator.methodcaller("b"),
    ]
    assert len({digest(each) for each in made}) == len(made)
    assert digest(made[0]) == digest(operator.methodcaller("a", b=1))


def test_the_third_way_out_is_one_that_there_is() -> None:
    ways = [(Opaque(), "give Opaque a method __ml_cache_key__"), (object(), r"register_key\(object, ")]
    for value, way in ways:
        with pytest.raises(UnhashableArgumentError, match=way):
            digest([value])


class Failing(Opaque):
    def __ml_cache_key__(self) -> Any:
        raise ZeroDivisionError("by nothing")


class Itself(Opaque):
    def __ml_cache_key__(self) -> Any:
        return self


def test_a_method_that_fails_to_say_what_stands_for_an_object_is_told() -> None:
    said = r"\[1\] of type .*Failing \(.*ZeroDivisionError\('by nothing'\)"
    with pytest.raises(UnhashableArgumentError, match=said):
        digest([1, Failing()])


def test_an_object_that_stands_for_itself_is_refused() -> None:
    with pytest.raises(UnhashableArgumentError, match="is itself"):
        digest(Itself(1))
