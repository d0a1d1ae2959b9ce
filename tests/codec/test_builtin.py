from __future__ import annotations

import collections
import datetime as dt
import enum
import pathlib
import uuid
import zoneinfo
from decimal import Decimal
from importlib import resources
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.codec import FrameCodec, Signer, tree
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError
from tests.codec.likeness import CODEC, round_trip, same

ZONES = (
    st.none()
    | st.timezones()
    | st.builds(
        dt.timezone,
        st.timedeltas(-dt.timedelta(1), dt.timedelta(1)).filter(lambda span: abs(span) < dt.timedelta(1)),
    )
)


def _is_comparable(number: Any) -> bool:
    return "nan" not in str(number).lower()


TEXTS = st.text(st.characters(codec=None)) | st.text(st.characters(categories=["Cs"]))
NUMBERS = st.integers() | st.integers(-(2**80), 2**80) | st.floats() | st.complex_numbers() | st.decimals()
TIMES = st.datetimes(timezones=ZONES) | st.dates() | st.times(timezones=ZONES) | st.timedeltas()
HASHABLE = (
    st.none() | st.booleans() | NUMBERS.filter(_is_comparable) | TEXTS | st.binary() | TIMES | st.uuids()
)
INDEX = st.none() | st.integers(-(2**70), 2**70)
LEAVES = (
    HASHABLE
    | NUMBERS
    | st.binary(max_size=3000).map(bytearray)
    | st.builds(range, INDEX.filter(lambda x: x is not None), INDEX.filter(lambda x: x is not None))
    | st.builds(slice, INDEX, INDEX, INDEX)
    | st.sampled_from([..., NotImplemented, pathlib.Path("/a/b"), pathlib.PureWindowsPath("c:/x")])
    | st.sets(HASHABLE)
    | st.frozensets(HASHABLE)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(HASHABLE, inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_comes_back_is_the_same(value: Any) -> None:
    assert same(round_trip(value), value)


@pytest.mark.parametrize(
    "value",
    [
        0,
        -0.0,
        2**63,
        2**64 - 1,
        2**64,
        -(2**63),
        -(2**63) - 1,
        10**4000,
        "\ud83d\ude00",
        "\U0001f600",
        "x" * 100_000,
        b"x" * 1024,
        b"x" * 1025,
        [[1, "a"], (2**64, "\ud800"), {"\udfff": 2**64}],
        {(1, (2, None)): frozenset({1, "a"})},
        {1: "a", 1.5: "b", None: "c", "x": {}},
        Decimal("sNaN123"),
        Decimal("-0E+1000"),
        dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Rome")),
        dt.time(1, 2, fold=1),
        dt.timezone(dt.timedelta(hours=1)),
        dt.timezone(dt.timedelta(hours=1), "mine"),
        uuid.uuid1(),
        range(2**70, -1, -3),
        (float("nan"), float("inf"), complex("nan-infj")),
        list(range(1000)),
        [],
        (),
        {},
        set(),
    ],
)
def test_edges_come_back(value: Any) -> None:
    assert same(round_trip(value), value)


def test_details_that_equality_does_not_see() -> None:
    assert round_trip(dt.UTC) is dt.UTC
    assert repr(round_trip(dt.timezone(dt.timedelta(0), "zero"))) == repr(
        dt.timezone(dt.timedelta(0), "zero")
    )
    first = uuid.uuid1()
    assert round_trip(first).is_safe is first.is_safe
    assert list(round_trip({"b": 1, "a": 2})) == ["b", "a"]
    assert type(round_trip(pathlib.PurePosixPath("a"))) is pathlib.PurePosixPath


def test_mutable_values_come_back_mutable_and_fresh() -> None:
    frame = CODEC.encode(Entry({"a": [1], "b": bytearray(b"x" * 2000)}, 1.0))
    first, second = CODEC.decode(frame).value, CODEC.decode(frame).value
    first["a"].append(2)
    first["b"].clear()
    assert second == {"a": [1], "b": bytearray(b"x" * 2000)}


class Point(NamedTuple):
    x: int


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


class Zone(dt.tzinfo):
    def utcoffset(self, _: object) -> None:
        pass

    def dst(self, _: object) -> None:
        pass

    def tzname(self, _: object) -> str:
        return "nowhere"


SUBCLASSED = [
    Point(1),
    Colour.RED,
    Level.LOW,
    Text("a"),
    collections.OrderedDict(a=1),
    collections.Counter("aab"),
    collections.defaultdict(list, a=[1]),
    object,
    len,
]


@pytest.mark.parametrize("value", SUBCLASSED)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x, 1], lambda x: {"a": (x,)}])
def test_a_subclass_never_comes_back_as_its_base(value: Any, wrap: Any) -> None:
    with pytest.raises(CannotEncodeError, match="MLCACHE_SECRET"):
        CODEC.encode(Entry(wrap(value), 1.0))
    back = round_trip(wrap(value), FrameCodec(signer=Signer(b"k" * 32)))
    assert back == wrap(value)
    assert same(back, wrap(value))


def test_a_container_in_itself_comes_back_so() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    with pytest.raises(CannotEncodeError, match="contains itself"):
        CODEC.encode(Entry(loop, 1.0))
    back = round_trip(loop, FrameCodec(signer=Signer(b"k" * 32)))
    assert back[1] is back


def test_a_container_that_would_unfold_without_end_is_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_NODES", 1000)
    folded: list[Any] = []
    for _ in range(60):
        folded = [folded, folded]
    with pytest.raises(CannotEncodeError, match="more than 1000 parts"):
        CODEC.encode(Entry(folded, 1.0))
    back = round_trip(folded, FrameCodec(signer=Signer(b"k" * 32)))
    assert back[0][0] is back[1][1]


def test_nesting_up_to_the_limit_needs_no_pickle() -> None:
    deep: list[Any] = []
    for _ in range(90):
        deep = [deep]
    assert round_trip(deep) == deep
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(CannotEncodeError):
        CODEC.encode(Entry(deep, 1.0))
    with pytest.raises(CannotEncodeError):
        FrameCodec(signer=Signer(b"k" * 32)).encode(Entry(deep, 1.0))


def test_what_cannot_be_named_is_refused() -> None:
    here = zoneinfo.ZoneInfo("Europe/Rome")
    with (resources.files("tzdata") / "zoneinfo/Europe/Rome").open("rb") as file:
        nameless = zoneinfo.ZoneInfo.from_file(file)
    assert same(round_trip(dt.datetime(2024, 1, 1, tzinfo=here)), dt.datetime(2024, 1, 1, tzinfo=here))
    with pytest.raises(CannotEncodeError, match="no name"):
        CODEC.encode(Entry(dt.datetime(2024, 1, 1, tzinfo=nameless), 1.0))
    with pytest.raises(CannotEncodeError, match="Zone"):
        CODEC.encode(Entry(dt.datetime(2024, 1, 1, tzinfo=Zone()), 1.0))


@pytest.mark.parametrize("field", ["created", "fresh_until", "stale_until", "cost", "size"])
def test_an_entry_of_odd_fields_is_refused(field: str) -> None:
    fields: dict[str, Any] = {"value": 1, "created": 1.0, field: "soon"}
    with pytest.raises(CannotEncodeError, match="must be numbers"):
        CODEC.encode(Entry(**fields))
