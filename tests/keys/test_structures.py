"""Keys of enums, dataclasses, models, named tuples and subclasses of builtins."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import time
import typing
from typing import Any

import msgspec
import pytest

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import digest


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int
    b: Any = ()


@dataclasses.dataclass
class Mutable:
    a: int
    b: Any = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    a: int
    b: Any = ()


class Named(typing.NamedTuple):
    a: int
    b: Any = ()


class Struct(msgspec.Struct):
    a: int
    b: Any = ()


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Number(enum.IntEnum):
    ONE = 1
    TWO = 2


class Word(enum.StrEnum):
    ONE = "one"


class Flags(enum.Flag):
    A = 1
    B = 2


class Meters(int):
    """An int of a type of its own."""


class Name(str):
    """A text of a type of its own."""

    __slots__ = ("note",)
    note: str


class Loud(str):
    """A text that lies."""

    __slots__ = ()

    def __str__(self) -> str:
        return "loud"


class Bag(dict[Any, Any]):
    """A dict of a type of its own."""


class Row(list[Any]):
    """A list with attributes."""


def test_all_are_apart() -> None:
    with_note, row = Name("1"), Row([1])
    with_note.note = "x"
    row.note = "x"  # type: ignore[attr-defined]
    made: list[Any] = [
        Frozen(1),
        Frozen(2),
        Frozen(1, [1]),
        Frozen(1, (1,)),
        Mutable(1),
        Slotted(1),
        Named(1),
        (1, ()),
        Struct(1),
        Struct(2),
        Colour.RED,
        Colour.GREEN,
        1,
        Number.ONE,
        Number.TWO,
        Word.ONE,
        "one",
        Flags.A,
        Flags.B,
        Flags.A | Flags.B,
        Flags(0),
        Meters(1),
        Name("1"),
        with_note,
        Loud("1"),
        Loud("2"),
        "1",
        Bag(a=1),
        {"a": 1},
        Row([1]),
        row,
        [1],
        True,
        1.0,
        collections.OrderedDict(a=1, b=2),
        collections.OrderedDict(b=2, a=1),
        {"a": 1, "b": 2},
        collections.Counter("ab"),
        collections.defaultdict(int, a=1),
        collections.defaultdict(list, a=1),
        collections.deque([1]),
        collections.deque([1], 2),
    ]
    clashes = [
        (a, b) for i, a in enumerate(made) for j, b in enumerate(made) if i < j and digest(a) == digest(b)
    ]
    assert clashes == []


@pytest.mark.parametrize("make", [Frozen, Mutable, Slotted, Named, Struct], ids=lambda make: make.__name__)
def test_fields_count(make: Any) -> None:
    assert digest(make(1, [1, {"a": None}])) == digest(make(1, [1, {"a": None}]))
    assert digest(make(1, [1, {"a": None}])) != digest(make(1, [1, {"a": 0}]))


def test_order_does_not_matter_in_subclasses_of_dict_and_counters() -> None:
    assert digest(Bag(a=1, b=2)) == digest(Bag(b=2, a=1))
    assert digest(collections.Counter("ab")) == digest(collections.Counter("ba"))


def test_a_field_that_cannot_be_keyed_is_named() -> None:
    with pytest.raises(UnhashableArgumentError) as caught:
        digest([Frozen(1, {"x": object()})])
    assert caught.value.path == "[0].b['x']"


def test_an_object_that_holds_itself_ends() -> None:
    one, two, other = Mutable(1), Mutable(1), Mutable(1)
    one.b, two.b, other.b = one, two, Mutable(1)
    assert digest(one) == digest(two)
    assert digest(one) != digest(other)


def test_attrs_classes() -> None:
    attrs = pytest.importorskip("attrs")
    cls = attrs.make_class("cls", {"a": attrs.field(), "b": attrs.field(default=())})
    assert digest(cls(1, [2])) == digest(cls(1, [2]))
    assert digest(cls(1, [2])) != digest(cls(1, [3]))


def test_pydantic_models() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Settings(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        model_config = pydantic.ConfigDict(extra="allow")
        rate: float = 0.1
        layers: tuple[int, ...] = ()
        _hidden: int = pydantic.PrivateAttr(default=0)

    made = [Settings(), Settings(rate=0.2), Settings(layers=(1,)), Settings(more=1)]
    hidden = Settings()
    hidden._hidden = 1
    assert len({digest(each) for each in [*made, hidden]}) == 5
    assert digest(Settings(rate=0.1)) == digest(Settings())


class Weighted(Mutable):
    """A class with an attribute that is no field."""

    def __init__(self, a: int, weight: Any) -> None:
        super().__init__(a)
        self.weight = weight


class Noted:
    """A class whose attributes are slots."""

    __slots__ = ("__hidden", "note")

    def hide(self, value: Any) -> None:
        self.__hidden = value


@dataclasses.dataclass(slots=True)
class Derived(Noted):
    a: int


class Open(msgspec.Struct, dict=True):
    a: int


@dataclasses.dataclass(frozen=True)
class Lazy:
    a: int

    @functools.cached_property
    def derived(self) -> Any:
        return object()


def _with(value: Any, **attributes: Any) -> Any:
    for name, content in attributes.items():
        if isinstance(value, msgspec.Struct):
            setattr(value, name, content)
        else:  # frozen ones as well
            object.__setattr__(value, name, content)
    return value


def _hiding(value: Derived, hidden: Any) -> Derived:
    value.hide(hidden)
    return value


def test_attributes_that_are_no_fields_count() -> None:
    made: list[Any] = [
        Weighted(1, 2),
        Weighted(1, 3),
        Mutable(1),
        _with(Mutable(1), x=1),
        _with(Mutable(1), x=2),
        _with(Mutable(1), y=1),
        _with(Mutable(1), y=1, x=1),
        Derived(1),
        _with(Derived(1), note=1),
        _with(Derived(1), note=2),
        _hiding(Derived(1), 1),
        _hiding(Derived(1), 2),
        Open(1),
        _with(Open(1), x=1),
        _with(Open(1), x=2),
    ]
    assert len({digest(each) for each in made}) == len(made)
    assert digest(_with(Mutable(1), y=1, x=2)) == digest(_with(Mutable(1), x=2, y=1))
    with pytest.raises(UnhashableArgumentError) as caught:
        digest([Weighted(1, object())])
    assert caught.value.path == "[0].weight"


def test_an_object_that_holds_itself_beside_its_fields_ends() -> None:
    one, two = Weighted(1, None), Weighted(1, None)
    one.weight, two.weight = one, two
    assert digest(one) == digest(two)


def test_what_a_cached_property_keeps_does_not_count() -> None:
    read = Lazy(1)
    assert read.derived is read.derived
    assert digest(read) == digest(Lazy(1))


def test_attributes_of_attrs_classes_that_are_no_fields_count() -> None:
    attrs = pytest.importorskip("attrs")
    plain = attrs.make_class("plain", {"a": attrs.field()}, slots=False)
    made = [plain(1), _with(plain(1), x=1), _with(plain(1), x=2)]
    assert len({digest(each) for each in made}) == len(made)


@pytest.mark.parametrize("options", [{"slots": False}, {"slots": True}], ids=str)
def test_the_hash_that_attrs_keeps_does_not_count(options: dict[str, bool]) -> None:
    attrs = pytest.importorskip("attrs")
    hashed = attrs.make_class("hashed", {"a": attrs.field()}, frozen=True, cache_hash=True, **options)
    used = hashed("x")
    hash(used)
    assert digest(used) == digest(hashed("x"))


def test_the_hash_that_msgspec_keeps_does_not_count() -> None:
    hashed = msgspec.defstruct("hashed", ["a"], frozen=True, cache_hash=True)
    used = hashed("x")
    hash(used)
    assert digest(used) == digest(hashed("x"))


def test_keying_does_not_compute_what_attrs_computes_on_demand() -> None:
    attrs = pytest.importorskip("attrs")
    computed: list[int] = []

    @attrs.define
    class Lazily:
        a: int

        @functools.cached_property
        def derived(self) -> int:
            computed.append(self.a)
            return 1

    make: Any = Lazily
    assert digest(make(1)) == digest(make(1))
    assert computed == []


def test_attributes_of_pydantic_models_that_are_no_fields_count() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("model", a=(int, 1))
    made = [model(), _with(model(), x=1), _with(model(), x=2)]
    assert len({digest(each) for each in made}) == len(made)


def test_fields_of_a_time_that_no_index_leads_to_count() -> None:
    parts = (2020, 1, 1, 0, 0, 0, 0, 1, 0)
    made = [
        time.struct_time(parts, {"tm_zone": zone, "tm_gmtoff": offset})
        for zone, offset in [("A", 0), ("A", 3600), ("B", 0)]
    ]
    assert len({digest(each) for each in [*made, parts]}) == 4
