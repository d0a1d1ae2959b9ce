"""Keys of classes, which instances are told apart by as well."""

from __future__ import annotations

import abc
import dataclasses
import enum
import functools
from typing import Any

import msgspec
import pytest

from mlcache.keys import digest


def make(k: int) -> Any:
    """A class of always the same name, that does something else for each ``k``."""

    @dataclasses.dataclass
    class Made:
        x: int

        def times(self) -> int:
            return self.x * k

    return Made


class Importable(metaclass=abc.ABCMeta):  # noqa: B024  # its metaclass is what matters
    """A class of a module."""

    lock = object()


def test_classes_of_one_factory_are_apart() -> None:
    assert digest(make(1)) == digest(make(1))
    assert digest(make(1)) != digest(make(2))
    assert digest(make(1)(3)) == digest(make(1)(3))
    assert digest(make(1)(3)) != digest(make(2)(3))


def test_classes_that_can_be_imported_stand_by_their_name() -> None:
    kinds = [
        int,
        float,
        str,
        dict,
        Importable,
        enum.Enum,
        enum.EnumMeta,
        abc.ABC,
        type,
        object,
        dataclasses.Field,
    ]
    assert len({digest(kind) for kind in kinds}) == len(kinds)
    assert digest(list[int]) != digest(list[str])
    assert digest(int | None) != digest(int | str)


def test_bases_count() -> None:
    def derive(base: type) -> type:
        return type("Derived", (base,), {})

    assert digest(derive(make(1))) == digest(derive(make(1)))
    assert digest(derive(make(1))) != digest(derive(make(2)))


def test_classes_that_lead_to_each_other_end() -> None:
    class First:
        def other(self) -> type:
            return Second

        def again(self) -> Any:
            return super().__init__()

    class Second:
        def other(self) -> type:
            return First

        zero: Any = None

    Second.zero = Second()
    assert digest(First) == digest(First)
    assert digest(First) != digest(Second)


def test_a_member_that_cannot_be_keyed_does_not_stand_in_the_way() -> None:
    class Locked:
        lock = object()

        @property
        def name(self) -> str:
            return "a"

        @staticmethod
        def static() -> int:
            return 1

    assert digest(Locked) == digest(Locked)


CELL = """
from dataclasses import dataclass
from typing import NamedTuple

@dataclass
class Point:
    x: int
    def times(self):
        return self.x * {}

class Pair(NamedTuple):
    x: int
    def times(self):
        return self.x * {}
"""


@pytest.mark.parametrize("name", ["Point", "Pair"])
def test_methods_of_a_class_of_code_that_came_as_a_text_count(name: str) -> None:
    def run(factor: int) -> Any:
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(CELL.format(factor, factor), scope)  # noqa: S102  # as an interactive session does
        return scope[name]

    assert digest(run(2)(1)) == digest(run(2)(1))
    assert digest(run(2)(1)) != digest(run(3)(1))


class AllOne(type):
    """The class of classes that are equal to each other."""

    def __eq__(cls, other: object) -> bool:
        return isinstance(other, AllOne)

    def __hash__(cls) -> int:
        return 1


@dataclasses.dataclass
class One(metaclass=AllOne):
    x: int


@dataclasses.dataclass
class Other(metaclass=AllOne):
    x: int


def test_classes_that_say_they_are_equal_are_apart() -> None:
    assert len({digest(each) for each in (One, Other, One(1), Other(1))}) == 4
    assert digest([One(1), Other(1)]) != digest([Other(1), One(1)])


@pytest.mark.parametrize(
    "define",
    [
        lambda size: dataclasses.make_dataclass(
            "C", [("x", list, dataclasses.field(default_factory=lambda: [size]))]
        ),
        lambda size: dataclasses.make_dataclass(
            "C", [("x", int, dataclasses.field(default=size))], slots=True
        ),
        lambda size: msgspec.defstruct("C", [("x", int, size)], module="nowhere"),
        lambda size: type("C", (), {"x": functools.cached_property(lambda _: size)}),
        lambda size: type("C", (), {"x": functools.partialmethod(print, size)}),
    ],
    ids=["factory", "default in slots", "default", "cached property", "partial method"],
)
def test_what_a_class_makes_its_fields_of_counts(define: Any) -> None:
    assert digest(define(1)) == digest(define(1))
    assert digest(define(1)) != digest(define(2))


@pytest.mark.parametrize("library", ["attrs", "pydantic"])
def test_defaults_of_classes_of_other_libraries_count(library: str) -> None:
    made = pytest.importorskip(library)

    def define(size: int) -> Any:
        if library == "attrs":
            fields = {"x": made.field(default=size), "y": made.field(factory=lambda: size)}
            return made.make_class("C", fields)
        return made.create_model("C", x=(int, size))

    assert digest(define(1)) == digest(define(1))
    assert digest(define(1)) != digest(define(2))


@pytest.mark.parametrize("role", ["converter", "validator"])
def test_functions_on_fields_of_attrs_count(role: str) -> None:
    attrs = pytest.importorskip("attrs")

    def define(size: int) -> Any:
        return attrs.make_class("C", {"x": attrs.field(**{role: lambda *values: values[-1] + size})})

    assert digest(define(1)) == digest(define(1))
    assert digest(define(1)) != digest(define(2))
