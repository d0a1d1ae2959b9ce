"""What is kept cannot be changed: not by who made it, not by who gets it."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import decimal
import enum
import pickle
import sys
import threading
import uuid
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache import ml_cache
from mlcache.sealing import SEALS, is_immutable, refer, seal, seal_for_copies
from mlcache.sizes import size_of


class Pair(NamedTuple):
    """A tuple of the user's."""

    left: Any
    right: Any


@dataclass(slots=True)
class Slotted:
    """An object without a ``__dict__``."""

    array: Any


@dataclass(eq=False)
class Box:
    """An object of the user's, with things in it that can be changed."""

    array: npt.NDArray[Any] = field(default_factory=lambda: np.arange(3))
    items: list[Any] = field(default_factory=lambda: [1, [2]])


class Tag:
    """An object that can be a key, and can be changed all the same."""

    def __init__(self) -> None:
        self.notes = ["new"]

    def __lt__(self, other: Any) -> bool:
        return id(self) < id(other)

    def __repr__(self) -> str:
        return f"Tag({self.notes})"


def structured() -> npt.NDArray[Any]:
    return np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "<i4"), ("b", ">f8")])


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"a": [1, 2], "b": [1.5, None], "c": ["x", "y"], "d": pd.Categorical(["u", "v"])},
        index=pd.Index([10, 20], name="i"),
    )


def object_frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [[1], [2]], "b": [1, 2]})


def twin_columns() -> pd.DataFrame:
    return pd.DataFrame([[[1], [2]]], columns=["a", "a"])


def frame_of_extensions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": pd.array([1, 2], dtype="Int64"),
            "b": pd.to_datetime(["2020-01-01", "2021-01-01"]),
            "c": pd.array([True, False], dtype="boolean"),
            "d": pd.Categorical(["u", "v"]),
            "f": pd.array(["x", "y"], dtype=pd.StringDtype("python")),
            "h": pd.array(["x", "y"], dtype="string"),
        },
    )


VALUES: dict[str, Callable[[], Any]] = {
    "array": lambda: np.arange(6).reshape(2, 3),
    "array in Fortran's order": lambda: np.asfortranarray(np.arange(6).reshape(2, 3)),
    "view": lambda: np.arange(20)[::3],
    "transposed": lambda: np.arange(6).reshape(2, 3).T,
    "broadcast": lambda: np.broadcast_to(np.arange(3), (2, 3)),
    "array without dimensions": lambda: np.array(5.0),
    "empty array": lambda: np.empty((0, 3), "f4"),
    "array of the other byte order": lambda: np.arange(3, dtype=">i4"),
    "array of times": lambda: np.array(["2020-01-01"], "M8[D]"),
    "array of texts": lambda: np.array(["a", "bc"]),
    "structured array": structured,
    "structured number": lambda: structured()[0],
    "array of objects": lambda: np.array([[1], None, "x"], dtype=object),
    "masked array": lambda: np.ma.masked_equal(np.arange(3), 1),
    "list": lambda: [1, "a", None],
    "nested": lambda: {"a": [1, (2, [3])], "n": {"z": np.arange(2)}, "s": {1}, "b": bytearray(b"x")},
    "tuple": lambda: (1, 2),
    "tuple of lists": lambda: ([1], [2]),
    "named tuple": lambda: Pair([1], np.arange(2)),
    "dict": lambda: {"a": 1},
    "ordered dict": lambda: OrderedDict(a=[1]),
    "dict with a default": lambda: defaultdict(list, a=[1]),
    "queue": lambda: deque([[1]], 5),
    "set": lambda: {1, 2},
    "frozen set": lambda: frozenset({1}),
    "bytearray": lambda: bytearray(b"ab"),
    "object": lambda: Box(),  # noqa: PLW0108 - a class is not cached
    "list of objects": lambda: [Box(), Box()],
    "frame": frame,
    "frame of objects": object_frame,
    "frame with two columns of one name": twin_columns,
    "frame of extension columns": frame_of_extensions,
    "frame of objects in an object": lambda: Box(items=[object_frame()]),
    "frame of spans": lambda: pd.DataFrame(
        {"a": [1, 2], "c": pd.period_range("2020", periods=2, freq="D"), "d": pd.interval_range(0, 2)}
    ),
    "frame with an index of objects": lambda: pd.DataFrame({"a": [1]}, index=pd.Index([Tag()])),
    "frame with an index of several levels": lambda: frame().set_index("c", append=True),
    "set of objects": lambda: {Tag()},
    "frozen set of objects": lambda: frozenset({Tag()}),
    "dict with an object as a key": lambda: {Tag(): 1, "a": [2]},
    "tuple of objects in a set": lambda: {(1, Tag())},
    "one list twice": lambda: [[1]] * 2,
    "one object twice": lambda: (Box(),) * 2,
    "frame in a list": lambda: [frame()],
    "series": lambda: pd.Series([1, 2], name="s"),
    "series of lists": lambda: pd.Series([[1], [2]]),
    "index": lambda: pd.Index([1, 2], name="i"),
    "categorical": lambda: pd.Categorical(["a", "b"]),
    "moment": lambda: pd.Timestamp("2020-01-01"),
    "nothing": lambda: None,
    "number": lambda: 5,
    "numpy's number": lambda: np.float32(5),
    "text": lambda: "text",
    "time": lambda: dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    "decimal": lambda: decimal.Decimal("1.5"),
    "uuid": lambda: uuid.UUID(int=5),
}


def same(a: Any, b: Any) -> bool:
    """Whether two values are of one type and have the same content."""
    return type(a) is type(b) and repr(_plain(a)) == repr(_plain(b))


def _plain(value: Any) -> Any:
    return next((show(value) for kind, show in SHOWN.items() if isinstance(value, kind)), value)


def _plain_array(array: Any) -> Any:
    as_list = array.dtype.hasobject or isinstance(array, np.ma.MaskedArray)
    return type(array), array.shape, array.dtype.str, array.tolist() if as_list else array.tobytes()


SHOWN: dict[Any, Callable[[Any], Any]] = {
    np.ndarray: _plain_array,
    pd.DataFrame: lambda frame: [
        *map(_plain, (column for _, column in frame.items())),
        frame.columns,
        frame.attrs,
    ],
    pd.Series: lambda series: (series.tolist(), str(series.dtype), series.name, _plain(series.index)),
    pd.Index: lambda index: (index.tolist(), str(index.dtype), index.name),
    pd.Categorical: lambda values: (list(values), values.dtype),
    dict: lambda value: [(key, _plain(item)) for key, item in value.items()],
    (list, tuple, deque): lambda value: [_plain(item) for item in value],
    (set, frozenset): sorted,
    Box: lambda box: (_plain(box.array), _plain(box.items)),
}


def spoil(value: Any) -> None:
    """Change whatever can be changed in a value."""
    if isinstance(value, dict | list | tuple | deque | set | frozenset):
        for item in [*value, *(value.values() if isinstance(value, dict) else ())]:
            spoil(item)
    for kind, changes in CHANGES.items():
        for change in changes if isinstance(value, kind) else ():
            with contextlib.suppress(
                ValueError, TypeError, AttributeError, LookupError
            ):  # it cannot be changed so
                change(value)


def spoil_series(series: Any) -> None:
    """Write to the array of a column, unless that is one of numpy's, which pandas leaves open."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biufc":
        return
    writes: list[Callable[[], object]] = [
        lambda: series.array.__setitem__(0, series.array[1]),
        lambda: series.to_numpy().__setitem__(0, series.to_numpy()[1]),
        lambda: series.cat.categories.values.__setitem__(0, "spoilt"),
    ]
    for write in writes:
        with contextlib.suppress(ValueError, TypeError, AttributeError, LookupError):
            write()


CHANGES: dict[Any, list[Callable[[Any], object]]] = {
    np.ndarray: [
        lambda array: array.setflags(write=True),
        lambda array: array.fill(9),
        lambda array: array.__setitem__(0, array[-1]),
        lambda array: array[0].append(9),
    ],
    pd.DataFrame: [
        lambda frame: frame.iloc.__setitem__((0, 0), 9),
        lambda frame: frame.iloc[-1, 0].append(9),
        lambda frame: frame["a"].values.fill(9),
        lambda frame: frame["b"].to_numpy().fill(9),
        lambda frame: list(map(spoil_series, (column for _, column in frame.items()))),
        lambda frame: frame.index.values.fill(9),
        lambda frame: frame.columns.values.__setitem__(0, "spoilt"),
        lambda frame: frame.index[0].notes.append(9),
        lambda frame: setattr(frame.index, "name", "spoilt"),
        lambda frame: setattr(frame.columns, "name", "spoilt"),
        lambda frame: frame.attrs.update(spoilt=9),
        lambda frame: frame.insert(0, "spoilt", 9),
        lambda frame: frame.pop("b"),
    ],
    pd.Series: [
        lambda series: setattr(series, "name", "spoilt"),
        lambda series: series.iloc.__setitem__(0, 9),
        lambda series: series.iloc[0].append(9),
    ],
    pd.Index: [lambda index: setattr(index, "name", "spoilt"), lambda index: index.values.fill(9)],
    Tag: [lambda tag: tag.notes.append("spoilt")],
    np.void: [lambda record: record.__setitem__("a", 9)],
    pd.Categorical: [lambda values: values.__setitem__(0, "b")],
    dict: [lambda value: value.update(spoilt=9)],
    (list, deque, bytearray): [lambda value: value.append(9)],
    set: [lambda value: value.add(9)],
    Box: [
        lambda box: list(map(spoil, box.items)),
        lambda box: spoil(box.items),
        lambda box: spoil(box.array),
        lambda box: setattr(box, "items", None),
    ],
}


@pytest.fixture(params=["lru", "disk", "lru, disk"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("returns", ["readonly", "copy"])
def test_nobody_can_change_what_is_kept(name: str, returns: Any, backend: str) -> None:
    made: list[Any] = []

    @ml_cache(backend=backend, returns=returns)
    def f() -> Any:
        made.append(VALUES[name]())
        return made[-1]

    expected = VALUES[name]()
    for _ in range(3):
        answer = f()
        assert same(answer, expected)
        spoil(answer)
        spoil(made[0])
    assert len(made) == 1


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("returns", ["readonly", "copy"])
def test_a_miss_and_a_hit_give_the_same_kind_of_thing(name: str, returns: Any, backend: str) -> None:
    f = ml_cache(backend=backend, returns=returns)(VALUES[name])
    miss, hit = f(), f()
    assert same(miss, hit)
    assert _writable(miss) == _writable(hit)


def _writable(value: Any) -> list[bool]:
    """Which arrays in a value can be written to."""
    if isinstance(value, np.ndarray):
        return [bool(value.flags.writeable)]
    if isinstance(value, list | tuple):
        return [flag for item in value for flag in _writable(item)]
    if isinstance(value, dict):
        return _writable(list(value.values()))
    return _writable(value.array) if isinstance(value, Box) else []


@pytest.mark.parametrize("name", [name for name in VALUES if isinstance(VALUES[name](), np.ndarray)])
def test_an_array_comes_back_read_only_and_shared(name: str, backend: str) -> None:
    f = ml_cache(backend=backend)(VALUES[name])
    for answer in (f(), f()):
        if answer.dtype.hasobject or type(answer) is not np.ndarray:
            continue  # these are copied for each caller instead
        with pytest.raises(ValueError, match="read-only"):
            answer[...] = answer
        with pytest.raises(ValueError, match="WRITEABLE"):
            answer.setflags(write=True)
    if backend != "disk" and type(answer) is np.ndarray and answer.nbytes and not answer.dtype.hasobject:
        assert np.shares_memory(f(), f())


def _reshape(array: Any) -> None:
    array.shape = (2, 3)


def _retype(array: Any) -> None:
    array.dtype = "u8"


def _restride(array: Any) -> None:
    array.strides = (0,)


HOLDERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "alone": (lambda array: array, lambda answer: answer),
    "list": (lambda array: [array, 1], lambda answer: answer[0]),
    "tuple": (lambda array: (array, 1), lambda answer: answer[0]),
    "dict": (lambda array: {"a": array}, lambda answer: answer["a"]),
    "twice": (lambda array: [array, array], lambda answer: answer[1]),
}


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")  # it is to go, but is there
@pytest.mark.parametrize("change", [_reshape, _retype, _restride])
@pytest.mark.parametrize("name", HOLDERS)
def test_who_sets_how_an_array_lies_sets_it_for_himself(
    name: str, change: Callable[[Any], None], backend: str
) -> None:
    hold, take = HOLDERS[name]
    made: list[Any] = []

    @ml_cache(backend=backend)
    def f() -> Any:
        made.append(np.frombuffer(np.arange(6.0).tobytes()))  # whose memory is kept as it is
        return hold(made[-1])

    earlier = [take(f()), take(f())]
    change(take(f()))
    change(made[0])
    for array in (*earlier, take(f())):
        assert array.tolist() == [0, 1, 2, 3, 4, 5]
    assert len(made) == 1


def _rename(array: Any) -> None:
    array.dtype.names = ("p", "q")


def _rename_within(array: Any) -> None:
    array.dtype["b"].names = ("p",)


@pytest.mark.parametrize("change", [_rename, _rename_within])
def test_who_renames_fields_does_so_for_himself(change: Callable[[Any], None], backend: str) -> None:
    made: list[Any] = []

    @ml_cache(backend=backend)
    def f() -> Any:
        made.append(np.zeros(2, np.dtype([("a", "i4"), ("b", np.dtype([("c", "f4")]))])))
        return made[-1]

    expected = repr(f().dtype)
    earlier = f()
    change(f())
    change(made[0])
    assert repr(earlier.dtype) == repr(f().dtype) == expected


def test_who_waits_for_an_array_gets_a_view_of_his_own() -> None:
    begun, go_on = threading.Event(), threading.Event()

    @ml_cache(ignore=["begun", "go_on"])
    def f() -> Any:
        begun.set()
        assert go_on.wait(20)
        return np.arange(6.0)

    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(f) for _ in range(4)]
        assert begun.wait(20)
        go_on.set()
        answers = [each.result(20) for each in waiting]
    _reshape(answers[0])
    assert [answer.shape for answer in answers] == [(2, 3), (6,), (6,), (6,)]


def test_a_copy_is_the_callers_own(backend: str) -> None:
    def made() -> dict[str, Any]:
        return {"a": np.arange(3), "t": (np.arange(2),), "f": frame()}

    f = ml_cache(backend=backend, returns="copy")(made)
    for _ in range(3):
        answer = f()
        answer["a"][0] = answer["t"][0][0] = 9
        answer["f"].iloc[0, 0] = 9
    assert (f()["a"][0], f()["t"][0][0], f()["f"].iloc[0, 0]) == (0, 0, 1)


def test_a_reference_is_the_very_object() -> None:
    box = Box()
    f = ml_cache(returns="reference")(lambda: box)
    assert f() is f() is box


@pytest.mark.parametrize(
    "change", [lambda f: f.iloc.__setitem__((0, 0), 9), lambda f: f.loc.__setitem__(10, 9)]
)
def test_a_frame_can_be_written_to_by_who_got_it(change: Callable[[Any], None], backend: str) -> None:
    f = ml_cache(backend=backend)(lambda: pd.DataFrame({"a": [1, 2], "b": [3, 4]}, index=[10, 20]))
    for _ in range(3):
        answer = f()
        column = answer["a"]
        change(answer)
        assert answer.iloc[0, 0] == 9
        del answer
        column.iloc[1] = 7  # outlives the frame that it was taken from
    assert f()["a"].tolist() == [1, 2]


def test_a_large_result_of_the_function_is_not_kept_twice() -> None:
    immutable = np.frombuffer(bytes(1000), "u1")
    assert np.shares_memory(seal(immutable).value, immutable)
    assert is_immutable(immutable)
    assert is_immutable(immutable[::2].reshape(-1))
    assert not is_immutable(np.arange(3))
    assert not is_immutable(np.frombuffer(bytearray(5), "u1"))
    hidden = np.arange(3)
    hidden.flags.writeable = False
    assert not is_immutable(hidden)
    assert not np.shares_memory(seal(hidden).value, hidden)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=3)
        | st.binary(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=2), inner, max_size=3)
            | st.tuples(inner, inner)
        ),
        max_leaves=15,
    )
)
@pytest.mark.parametrize("returns", ["readonly", "copy"])
def test_whatever_is_made_of_containers_stays_what_it_was(returns: str, value: Any) -> None:
    expected = copy.deepcopy(value)
    sealed = SEALS[returns](value)
    for _ in range(2):
        answer = sealed.value if sealed.renew is None else sealed.renew(sealed.value)
        assert answer == expected
        assert type(answer) is type(expected)
        spoil(answer)
        spoil(value)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (np.zeros(10_000), 80_000, 81_000),
        (b"x" * 10_000, 10_000, 11_000),
        ([np.zeros(1000), np.zeros(1000)], 16_000, 18_000),
        ({"a": "x" * 10_000}, 10_000, 11_000),
        (pd.DataFrame({"a": np.zeros(10_000)}), 80_000, 82_000),
        (pd.Series(["x" * 1000] * 10), 10_000, 20_000),
        (pd.Index(np.arange(1000)), 8_000, 9_000),
        (5, 1, 100),
        (Box(array=np.zeros(1000)), 8_000, 10_000),
        (Pair(np.zeros(1000), [np.zeros(1000)]), 16_000, 18_000),
        (OrderedDict(a=np.zeros(1000)), 8_000, 9_000),
        (deque([np.zeros(1000)]), 8_000, 10_000),
        (Slotted(np.zeros(1000)), 8_000, 9_000),
        (Box(items=[frame(), "x" * 10_000]), 10_000, 14_000),
        (np.array([np.zeros(1000), None], dtype=object), 8_000, 9_000),
        ([np.zeros(1000)] * 10, 8_000, 10_000),
        ({(1, "x" * 10_000): 1}, 10_000, 11_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sizes_are_those_of_the_memory_taken(value: Any, least: int, most: int) -> None:
    assert least <= size_of(value) <= most
    assert least <= seal(value).size <= most


def test_what_was_just_read_is_not_copied_again() -> None:
    array, items = np.arange(3), [np.arange(3)]
    assert np.shares_memory(seal(array, owned=True).value, array)
    assert not array.flags.writeable
    assert np.shares_memory(seal(items, owned=True).value[0], items[0])
    box = Box()
    assert seal(box, owned=True).value is box
    assert seal(box).value is not box


def _few_of_many(kind: str) -> Any:
    array, many = np.arange(3.0), range(1000)
    made = {
        "list": [*many, array],
        "tuple": (array, *many),
        "dict": dict.fromkeys(many, 1) | {1000: array},
    }
    return made[kind]


@pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
def test_parts_that_nobody_can_change_cost_no_call_of_their_own(kind: str) -> None:
    value = _few_of_many(kind)
    sealed = seal(value)
    calls: list[str] = []
    assert sealed.renew is not None
    sys.setprofile(lambda *what: calls.append(what[1]))
    try:
        got = sealed.renew(sealed.value)
    finally:
        sys.setprofile(None)
    assert len(calls) < 20, "calls, of Python and of C, and their returns"
    assert type(got) is type(value)
    assert list(map(repr, got)) == list(map(repr, value))
    assert got is not sealed.value


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_a_tensor_that_cannot_be_copied_is_told_of_in_a_line_with_the_way_out() -> None:
    torch = pytest.importorskip("torch")

    @ml_cache
    def with_graph() -> Any:
        return {"out": [torch.ones(2, requires_grad=True) * 2]}

    @ml_cache
    def nested() -> Any:
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])

    with pytest.warns(UserWarning, match=r"cannot be copied.*torch\.no_grad\(\), or return its \.detach\(\)"):
        with_graph()
    with pytest.warns(UserWarning, match="cannot be copied") as warned:
        nested()
    assert not any("\n" in str(each.message) or len(str(each.message)) > 600 for each in warned)


def test_what_cannot_be_copied_is_an_error_of_sealing_alone() -> None:
    generator = (i for i in range(3))
    for way in (seal, seal_for_copies):
        with pytest.raises(TypeError):
            way(generator)
    assert refer(generator).value is generator


def test_a_value_that_contains_itself_is_delivered() -> None:
    def circular() -> list[Any]:
        items: list[Any] = []
        items.append(items)
        return items

    with pytest.warns(UserWarning, match="cannot be copied"):
        answer = ml_cache(circular)()
    assert answer[0] is answer


def shared(depth: int) -> list[Any]:
    """Lists in lists, of which there are few, but which come to ``2 ** depth`` where all are written out."""
    items: list[Any] = [np.arange(3)]
    for _ in range(depth):
        items = [items, items]
    return items


@pytest.mark.parametrize("returns", ["readonly", "copy"])
def test_what_is_held_twice_is_kept_once(returns: str) -> None:
    sealed = SEALS[returns](shared(100))  # would never end, were it written out
    assert sealed.size < 100_000
    assert sealed.renew is not None
    answer = sealed.renew(sealed.value)
    assert answer[0] is answer[1]
    assert answer is not sealed.value
    spoilt: Any = answer
    while isinstance(answer, list):
        spoilt, answer = answer, answer[0]
    assert answer.flags.writeable == (returns == "copy")
    spoilt.append(9)
    assert repr(seal(shared(3)).value) == repr(shared(3))


def test_sizes_of_what_holds_itself_are_finite() -> None:
    items: list[Any] = [np.zeros(1000)]
    items.append(Box(items=items))
    assert 8_000 <= size_of(items) <= 10_000


def test_a_size_is_found_of_whatever_fails_to_tell() -> None:
    class Mute:
        @property
        def nbytes(self) -> int:
            raise OSError("closed")

    assert size_of(Mute()) > 0


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # torch calls its sparse tensors a beta
def test_tensors_count_their_memory() -> None:
    torch = pytest.importorskip("torch")
    assert 4_000 <= size_of(Box(items=[torch.zeros(1000)])) <= 6_000
    assert 20_000 <= size_of(torch.eye(1000).to_sparse()) <= 21_000, "two indices and a value each"
    assert 12_000 <= size_of(torch.eye(1000).to_sparse_csr()) <= 13_000


@pytest.mark.parametrize(("mode", "least"), [("RGB", 40_000), ("L", 10_000), ("1", 10_000), ("F", 40_000)])
def test_images_count_their_pixels(mode: str, least: int) -> None:
    image = pytest.importorskip("PIL.Image").new(mode, (100, 100))
    assert least <= size_of([image]) <= least + 1_000


@pytest.mark.parametrize("name", ["RandomForestClassifier", "GradientBoostingClassifier"])
def test_models_count_their_trees(name: str) -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    chance = np.random.default_rng(0)
    model = getattr(ensemble, name)(n_estimators=10, random_state=0)
    model.fit(chance.random((500, 4)), chance.integers(0, 2, 500))
    pickled = len(pickle.dumps(model))
    assert pickled > 20_000
    assert 0.8 * pickled <= size_of(model) <= 3 * pickled


def test_sparse_arrays_count_values_and_places() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    assert 16_000 <= size_of(sparse.eye_array(1000, format="csr")) <= 18_000


def test_members_of_an_enumeration_stay_keys_of_their_own() -> None:
    class Colour(enum.Enum):
        RED = 1

    f = ml_cache(lambda: {Colour.RED: {Colour.RED}})
    assert f() == f() == {Colour.RED: {Colour.RED}}
