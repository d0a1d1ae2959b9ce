"""The compiled fast path: the same key as the slow way, for any signature and any name."""

from __future__ import annotations

import marshal
import types
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache import UnhashableArgumentError, hook, ml_cache
from mlcache.call import Parameters
from mlcache.entry import Entry
from mlcache.fastpath import Exits, Keying, compile_fast_path
from mlcache.testing import FakeClock

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.just((1, [2])),
)


class Opaque:
    """Nothing stands for it."""


def keying(function: Callable[..., Any], **options: Any) -> Keying:
    return Keying(b"p" * 16, Parameters(function), **options)


class Trace:
    """Exits that note where a call went."""

    def __init__(self, function: Callable[..., Any], entries: dict[bytes, Entry], **options: Any) -> None:
        self.hits = 0
        self.touched: list[bytes] = []
        self.keying = keying(function, **options)
        exits = Exits(
            miss=lambda digest, values: ("miss", digest, values),
            detour=lambda values: ("detour", values),
            count_hit=self._count,
        )
        self.call = compile_fast_path(
            "call", self.keying, exits, (entries.get, self.touched.append), suspends=False
        )

    def _count(self) -> None:
        self.hits += 1


def pair(a: Any, b: Any = 2) -> tuple[Any, Any]:
    return a, b


@given(ANYTHING, ANYTHING)
def test_the_digest_is_the_same_with_and_without_the_fast_path(a: object, b: object) -> None:
    trace = Trace(pair, {})
    digest = trace.keying.compile_digest()((a, b))
    assert trace.call(a, b)[1] == digest
    assert trace.call(b=b, a=a)[1] == digest


def test_long_texts_and_bytes_are_hashed_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def dumps(value: Any, version: int) -> bytes:
        made = marshal.dumps(value, version)
        sizes.append(len(made))
        return made

    monkeypatch.setattr("mlcache.fastpath.marshal", types.SimpleNamespace(dumps=dumps))
    trace = Trace(pair, {})
    long: list[Any] = ["a" * 1_000_000, "b" * 1_000_000, b"a" * 1_000_000, b"b" * 1_000_000]
    assert len({trace.call(value)[1] for value in [*long, "a", b"a"]}) == 6
    assert len(sizes) == 2


def test_the_digest_of_the_arguments_alone_depends_on_the_function() -> None:
    other = Keying(b"q" * 16, Parameters(pair))
    assert keying(pair).compile_digest()((1, 2)) != other.compile_digest()((1, 2))
    assert keying(pair).compile_digest()((1, [2])) != other.compile_digest()((1, [2]))


def test_a_fresh_entry_is_a_hit_and_is_touched() -> None:
    entries: dict[bytes, Entry] = {}
    trace = Trace(pair, entries)
    digest = trace.call(1)[1]
    entries[digest] = Entry("kept", 0.0)
    assert trace.call(1) == trace.call(a=1, b=2) == "kept"
    assert (trace.hits, trace.touched) == (2, [digest, digest])


def test_what_may_not_be_shared_is_renewed_for_each_caller() -> None:
    entries: dict[bytes, Entry] = {}
    trace = Trace(pair, entries)
    entries[trace.call(1)[1]] = Entry([1], 0.0, renew=list)
    assert trace.call(1) == [1]
    assert trace.call(1) is not trace.call(1)


def test_none_is_a_value_and_not_the_lack_of_one() -> None:
    entries: dict[bytes, Entry] = {}
    trace = Trace(pair, entries)
    entries[trace.call(1)[1]] = Entry(None, 0.0)
    assert trace.call(1) is None
    assert trace.hits == 1


def test_an_entry_at_its_deadline_is_a_miss() -> None:
    entries: dict[bytes, Entry] = {}
    trace = Trace(pair, entries)
    with FakeClock(100.0) as time:
        entries[trace.call(1)[1]] = Entry("kept", 0.0, fresh_until=110.0, stale_until=200.0)
        time.advance(9)
        assert trace.call(1) == "kept"
        time.advance(1)
        assert trace.call(1)[0] == "miss"
    assert trace.hits == 1


def test_an_entry_evicted_between_lookup_and_touch_is_still_the_answer() -> None:
    def touch(_: bytes) -> None:
        raise KeyError

    exits = Exits(miss=lambda *_: "miss", detour=lambda _: "detour", count_hit=lambda: None)
    call = compile_fast_path(
        "call", keying(pair), exits, (lambda _: Entry("kept", 0.0), touch), suspends=False
    )
    assert call(1) == "kept"


def test_a_parameter_may_have_the_name_of_an_error() -> None:
    def touch(_: bytes) -> None:
        raise KeyError

    def function(KeyError: int) -> int:  # noqa: A002, N803
        return KeyError

    exits = Exits(miss=lambda *_: "miss", detour=lambda _: "detour", count_hit=lambda: None)
    memory = (lambda _: Entry("kept", 0.0), touch)
    assert compile_fast_path("call", keying(function), exits, memory, suspends=False)(1) == "kept"


def test_without_a_tier_in_memory_every_call_is_a_miss() -> None:
    exits = Exits(miss=lambda *_: "miss", detour=lambda _: "detour", count_hit=lambda: None)
    assert compile_fast_path("call", keying(pair), exits, None, suspends=False)(1) == "miss"


def test_while_there_is_a_hook_every_call_takes_the_detour() -> None:
    trace = Trace(pair, {})
    with hook(lambda _: None):
        assert trace.call(1) == ("detour", (1, 2))
    assert trace.call(1)[0] == "miss"


async def test_for_a_coroutine_function_it_is_one_and_awaits_the_exits() -> None:
    async def miss(digest: bytes, values: Any) -> Any:
        return digest, values

    async def detour(values: Any) -> Any:
        return values

    exits = Exits(miss=miss, detour=detour, count_hit=lambda: None)
    call = compile_fast_path("call", keying(pair), exits, None, suspends=True)
    assert await call(1) == (keying(pair).compile_digest()((1, 2)), (1, 2))


def test_what_is_ignored_does_not_count() -> None:
    trace = Trace(pair, {}, ignore=frozenset(["b"]))
    assert trace.call(1, 2)[1] == trace.call(1, Opaque())[1] != trace.call(2, 2)[1]


def test_a_stand_in_counts_in_place_of_the_argument_and_of_the_default() -> None:
    def default(a: int, b: object = Opaque()) -> object:
        return a, b

    trace = Trace(default, {}, stand_ins={"b": lambda b: type(b).__name__})
    assert trace.call(1)[1] == trace.call(1, Opaque())[1] != trace.call(1, 2)[1]


def test_a_default_without_any_content_stands_for_itself() -> None:
    missing = object()

    def function(a: object = missing) -> object:
        return a

    trace = Trace(function, {})
    assert trace.call()[1] == trace.call(missing)[1] == trace.call(a=missing)[1]
    assert trace.call()[1] != trace.call(None)[1]
    with pytest.raises(UnhashableArgumentError, match=r"from a of type object.*ignore=\['a'\]"):
        trace.call(object())


def test_a_default_with_content_that_has_no_key_is_an_error_that_names_the_parameter() -> None:
    def function(x: int, model: object = Opaque()) -> object:
        return x, model

    trace = Trace(function, {})
    with pytest.raises(UnhashableArgumentError, match=r"from model of type .*Opaque.*ignore=\['model'\]"):
        trace.call(1)


@pytest.mark.parametrize(
    ("function", "call", "where"),
    [
        (lambda x: x, lambda f: f(Opaque()), "x"),
        (lambda x: x, lambda f: f([1, {"a": Opaque()}]), r"x\[1\]\['a'\]"),
        (lambda *args: args, lambda f: f(1, Opaque()), r"args\[1\]"),
        (lambda **options: options, lambda f: f(a=1, b=Opaque()), r"options\['b'\]"),
        (lambda x, *, y: (x, y), lambda f: f(1, y=Opaque()), "y"),
    ],
)
def test_an_error_names_the_parameter_and_the_place_in_it(
    function: Callable[..., Any], call: Callable[[Any], Any], where: str
) -> None:
    with pytest.raises(UnhashableArgumentError, match=f"made from {where} of type .*Opaque") as caught:
        call(Trace(function, {}).call)
    message = str(caught.value)
    assert "ignore=[" in message
    assert "key={" in message
    assert "__ml_cache_key__" in message


def test_names_of_parameters_and_functions_do_not_clash_with_those_of_the_text() -> None:
    @ml_cache
    def _mlcache_find(keys: int, clock: int, len: int = 4, *, type: int, _ml_digest: int) -> object:  # noqa: A002
        return keys, clock, len, type, _ml_digest

    for _ in range(2):
        assert _mlcache_find(1, clock=2, type=5, _ml_digest=6) == (1, 2, 4, 5, 6)
    assert _mlcache_find.cache_info()[:2] == (1, 1)


def test_a_traceback_shows_the_functions_own_name() -> None:
    @ml_cache
    def resize(image: int) -> int:
        return image

    with pytest.raises(TypeError, match=r"^resize\(\) missing 1 required positional argument: 'image'"):
        resize()  # type: ignore[call-arg]
