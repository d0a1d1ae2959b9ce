"""The fast path: a fresh hit in memory, answered before the flow is entered.

One function is compiled for every cached function, with its signature, its name and the
few steps of a hit in one body: bind, digest, look up, judge, count, hand out. Each of
these as a function of its own would cost a twentieth of a microsecond and together more
than the hit itself; ``docs/decisions`` has the figures.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, cast

import msgspec

from mlcache import clock, keys, switch
from mlcache.call import Default, Parameters, Values, compile_function
from mlcache.entry import Entry
from mlcache.errors import UnhashableArgumentError
from mlcache.keys import hashing
from mlcache.keys.builtin import LARGE

Lookup = Callable[[bytes], Entry | None]
Digest = Callable[[Values], bytes]

_TEXTS = frozenset({str, bytes})

_BODY = """\
{define} {name}({declaration}):
    if _mlcache_switch.detours:
        return {wait}_mlcache_detour({values})
{digest}
    _mlcache_entry = _mlcache_find(_mlcache_digest)
    if (
        _mlcache_entry is not None
        and _mlcache_entry.created <= _mlcache_clock.now() < _mlcache_entry.fresh_until
    ):
        try:
            _mlcache_touch(_mlcache_digest)
        except _mlcache_gone:
            pass
        _mlcache_count_hit()
        _mlcache_renew = _mlcache_entry.renew
        return _mlcache_entry.value if _mlcache_renew is None else _mlcache_renew(_mlcache_entry.value)
    return {wait}_mlcache_miss(_mlcache_digest, {values})
"""
_ALL_PLAIN = """\
    if {test}:
        _mlcache_digest = _mlcache_hash(_mlcache_dumps({plain}, 2))
    else:
        _mlcache_digest = _mlcache_digest_of({keyed})
"""
_IS_PLAIN = (
    "(_mlcache_type({text}) in _mlcache_numbers"
    f" or _mlcache_type({{text}}) in _mlcache_texts and _mlcache_len({{text}}) < {LARGE})"
)
_ALWAYS = "    _mlcache_digest = _mlcache_digest_of({keyed})\n"


class Keying(msgspec.Struct, frozen=True):
    """How the bound arguments of one function become a digest.

    Args:
        prefix: 16 bytes that stand for the function; they begin every digest.
        parameters: of the function.
        ignore: names left out.
        stand_ins: by name, the function whose result stands for the argument.
    """

    prefix: bytes
    parameters: Parameters
    ignore: frozenset[str] = frozenset()
    stand_ins: Mapping[str, Callable[[Any], Any]] = {}

    def names(self) -> list[str]:
        """The parameters that are keyed."""
        return [name for name in self.parameters.names if name not in self.ignore]

    def expressions(self) -> tuple[list[str], dict[str, Any]]:
        """For each keyed parameter the text that stands for it, and the globals that the text needs."""
        texts: list[str] = []
        names: dict[str, Any] = {"_mlcache_unchanged": Default.UNCHANGED}
        for place, name in enumerate(self.names()):
            text = self.parameters.local(name)
            default = self.parameters.default_of(name)
            if name in self.stand_ins:
                names[f"_mlcache_stand_in_{place}"] = self.stand_ins[name]
                text = f"_mlcache_stand_in_{place}({text})"
            elif default is not None and type(default[1]) is object:  # which no two differ by
                text = f"(_mlcache_unchanged if {text} is {default[0]} else {text})"
            texts.append(text)
        return texts, names

    def digest(self, values: Values) -> bytes:
        """The digest of keyed arguments that are not all plain.

        Raises:
            UnhashableArgumentError: naming the parameter.
        """
        try:
            return keys.digest(values, self.prefix)
        except UnhashableArgumentError:
            for name, value in zip(self.names(), values, strict=True):
                try:
                    keys.digest(value)
                except UnhashableArgumentError as error:
                    raise error.of(name) from None
            raise

    def compile_digest(self) -> Digest:
        """A function from the tuple of all bound arguments to the digest, for where no hit is sought."""
        texts, names = self.expressions()
        names |= self.parameters.defaults | _globals(self)
        source = f"def digest(values):\n{self._unpack()}{self.statement(texts)}    return _mlcache_digest\n"
        return compile_function(source, "digest", names)

    def compile_keyed(self) -> Callable[[Values], Values]:
        """A function from the tuple of all bound arguments to that of what stands for them in the key."""
        texts, names = self.expressions()
        source = f"def keyed(values):\n{self._unpack()}    return {self.parameters.tuple_of(texts)}\n"
        return compile_function(source, "keyed", names | self.parameters.defaults)

    def _unpack(self) -> str:
        return f"    {self.parameters.values()} = values\n" if self.parameters.names else ""

    def statement(self, texts: list[str]) -> str:
        """The text that computes the digest: in one call of C where all keyed arguments are plain."""
        keyed = self.parameters.tuple_of(texts)
        if any(self.parameters.is_collecting(name) for name in self.names()):
            return _ALWAYS.format(keyed=keyed)
        plain = self.parameters.tuple_of(["_mlcache_prefix", *texts])
        if self.stand_ins:
            return _ALWAYS.format(keyed=keyed)
        test = " and ".join(_IS_PLAIN.format(text=text) for text in texts) or "True"
        return _ALL_PLAIN.format(test=test, plain=plain, keyed=keyed)


class Exits(msgspec.Struct, frozen=True):
    """Where a call goes from the fast path.

    Args:
        miss: takes the digest and the bound arguments.
        detour: takes the bound arguments, where the fast path may not answer.
        count_hit: adds one to the hits.
    """

    miss: Callable[[bytes, Values], Any]
    detour: Callable[[Values], Any]
    count_hit: Callable[[], Any]


def compile_fast_path(
    name: str,
    keying: Keying,
    exits: Exits,
    memory: tuple[Lookup, Callable[[bytes], Any]] | None,
    cap: Callable[[Entry], Entry] = lambda entry: entry,
    *,
    suspends: bool,
) -> Callable[..., Any]:
    """The function that is called in place of the user's.

    Args:
        name: what it is called in tracebacks; see ``text_name``.
        keying: how its arguments become a digest.
        exits: where a call goes that is not answered here.
        memory: how the nearest tier is looked up and told of a use, if it is in memory.
        cap: gives an entry the deadline that it may have at most under the terms of this function.
        suspends: whether it is a coroutine function.
    """
    texts, names = keying.expressions()
    find, touch = memory or (_find_nothing, _find_nothing)
    names |= (
        keying.parameters.defaults
        | _globals(keying)
        | {
            "_mlcache_switch": switch,
            "_mlcache_clock": clock,
            "_mlcache_find": find,
            "_mlcache_find_due": _due(find, cap),
            "_mlcache_touch": touch,
            "_mlcache_miss": exits.miss,
            "_mlcache_detour": exits.detour,
            "_mlcache_count_hit": exits.count_hit,
        }
    )
    source = _BODY.format(
        define="async def" if suspends else "def",
        wait="await " if suspends else "",
        name=name,
        declaration=keying.parameters.declaration(),
        digest=keying.statement(texts).rstrip("\n"),
        values=keying.parameters.values(),
    )
    return compile_function(source, name, names)


def look_closer(path: Callable[..., Any]) -> None:
    """Let a fast path go by its own terms from now on; a test whether to do so would cost each hit time."""
    names = cast("FunctionType", path).__globals__
    names["_mlcache_find"] = names["_mlcache_find_due"]


def _globals(keying: Keying) -> dict[str, Any]:
    return {
        "_mlcache_prefix": keying.prefix,
        "_mlcache_numbers": keys.PLAIN - _TEXTS,
        "_mlcache_texts": _TEXTS,
        "_mlcache_type": type,
        "_mlcache_len": len,
        "_mlcache_gone": KeyError,
        "_mlcache_hash": hashing.hash128,  # chosen by now: the prefix was made with it
        "_mlcache_dumps": marshal.dumps,
        "_mlcache_digest_of": keying.digest,
    }


def _due(find: Lookup, cap: Callable[[Entry], Entry]) -> Lookup:
    def find_due(digest: bytes) -> Entry | None:
        entry = find(digest)
        return None if entry is None else cap(entry)

    return find_due


def _find_nothing(digest: bytes) -> None:
    """What a lookup finds where no tier is in memory."""
