"""Keys of the standard library's value types."""

from __future__ import annotations

import datetime as dt
import pathlib
import pickle
import types
import uuid
import zoneinfo
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import digest

PARIS = zoneinfo.ZoneInfo("Europe/Paris")
MOMENT = dt.datetime(2020, 10, 25, 2, 30)
VALUES: list[Any] = [
    MOMENT,
    MOMENT.replace(fold=1),
    MOMENT.replace(tzinfo=dt.UTC),
    MOMENT.replace(tzinfo=PARIS),
    MOMENT.replace(tzinfo=PARIS, fold=1),
    MOMENT.replace(tzinfo=dt.timezone(dt.timedelta(0), "Z")),
    MOMENT.replace(microsecond=1),
    MOMENT.date(),
    MOMENT.time(),
    MOMENT.time().replace(tzinfo=dt.UTC),
    MOMENT.isoformat(),
    dt.timedelta(1),
    dt.timedelta(seconds=1),
    dt.UTC,
    PARIS,
    dt.timezone(dt.timedelta(hours=1)),
    zoneinfo.ZoneInfo("Europe/Berlin"),
    "Europe/Paris",
    Decimal(1),
    Decimal("1.0"),
    Decimal("-0"),
    Decimal(0),
    Decimal("NaN"),
    Decimal("Infinity"),
    Fraction(1),
    Fraction(1, 2),
    1,
    0.5,
    uuid.UUID(int=1),
    uuid.UUID(int=2),
    uuid.UUID(int=1).bytes,
    str(uuid.UUID(int=1)),
    pathlib.PurePosixPath("a"),
    pathlib.PureWindowsPath("a"),
    pathlib.Path("a"),
    pathlib.Path("a/b"),
    pathlib.Path("/a"),
    "a",
    types.SimpleNamespace(a=1),
    types.SimpleNamespace(a=2),
    types.MappingProxyType({"a": 1}),
    {"a": 1},
]


def test_all_are_apart() -> None:
    clashes = [
        (a, b) for i, a in enumerate(VALUES) for j, b in enumerate(VALUES) if i < j and digest(a) == digest(b)
    ]
    assert clashes == []


@pytest.mark.parametrize(
    "value", [each for each in VALUES if not isinstance(each, types.MappingProxyType)], ids=repr
)
def test_a_value_that_travelled_has_the_same_key(value: Any) -> None:
    assert digest(pickle.loads(pickle.dumps(value))) == digest(value)


def test_a_zone_without_a_name_is_refused() -> None:
    paths = [pathlib.Path(each) / "Europe/Paris" for each in [*zoneinfo.TZPATH, _packaged()]]
    path = next(each for each in paths if each.exists())
    with path.open("rb") as file, pytest.raises(UnhashableArgumentError, match="has no key"):
        digest(zoneinfo.ZoneInfo.from_file(file))


def _packaged() -> str:
    tzdata = pytest.importorskip("tzdata")
    return str(pathlib.Path(tzdata.__file__).parent / "zoneinfo")


def test_a_decimal_does_not_depend_on_its_context() -> None:
    before = digest(Decimal("1e30"))
    with localcontext(capitals=0):
        assert digest(Decimal("1e30")) == before


def test_types_of_equal_meaning() -> None:
    assert digest(int | str) == digest(str | int)
    assert digest(int | str) != digest(int | bytes)
    alias: Any = list[int]
    assert digest(alias) != digest(next(iter(alias)))


class Moment(dt.datetime):
    """A time with a note, and a source in a slot."""

    __slots__ = ("__dict__", "source")
    source: str


class Day(dt.date):
    """A day with a note."""


class Money(Decimal):
    """An amount with a note."""


class Part(Fraction):
    """A share with a note."""


class Place(type(pathlib.Path())):  # type: ignore[misc]  # of which there is one for each system
    """A path with a note."""


CARRIERS: list[Any] = [lambda: Moment(2020, 1, 1), lambda: Day(2020, 1, 1), lambda: Money("1.5")]


@pytest.mark.parametrize("make", [*CARRIERS, lambda: Part(1, 2), lambda: Place("a")])
def test_what_values_of_derived_classes_carry_counts(make: Any) -> None:
    def noted(note: str) -> Any:
        made = make()
        made.note = note
        return made

    assert digest(noted("a")) == digest(noted("a"))
    assert len({digest(noted("a")), digest(noted("b")), digest(make())}) == 3


def test_what_a_slot_of_a_derived_class_holds_counts() -> None:
    moments = [Moment(2020, 1, 1) for _ in range(3)]
    moments[0].source, moments[1].source = "a", "b"
    assert len({digest(each) for each in moments}) == 3
