"""The fast path: a fresh hit in memory, answered before the flow is entered.

One function is compiled for every cached function, with its signature, its name and the
few steps of a hit in one body: bind, digest, look up, judge, count, hand out. Each of
these as a function of its own would cost a twentieth of a microsecond and together more
than the hit itself; ``docs/decisions`` has the figures.
"""

from __future__ import annotations

import keyword
import marshal
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import xxhash

from mlcache import clock, keys, switch
from mlcache.call import Default, Parameters, Values, compile_function
from mlcache.entry import Entry
from mlcache.errors import UnhashableArgumentError

Lookup = Callable[[bytes], Entry | None]
Digest = Callable[[Values], bytes]

_BODY = """\
{define} {name}({declaration}):
    if _ml_switch.detours:
        return {wait}_ml_detour({values})
{digest}
    _ml_entry = _ml_find(_ml_digest)
    if _ml_entry is not None and _ml_clock.now() < _ml_entry.fresh_until:
        try:
            _ml_touch(_ml_digest)
        except KeyError:
            pass
        _ml_count_hit()
        _ml_renew = _ml_entry.renew
        return _ml_entry.value if _ml_renew is None else _ml_renew(_ml_entry.value)
    return {wait}_ml_miss(_ml_digest, {values})
"""
_ALL_PLAIN = """\
    if {test}:
        _ml_digest = _ml_hash(_ml_dumps({plain}, 2))
    else:
        _ml_digest = _ml_digest_of({keyed})
"""
_ALWAYS = "    _ml_digest = _ml_digest_of({keyed})\n"


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
        names: dict[str, Any] = {"_ml_unchanged": Default.UNCHANGED}
        for place, name in enumerate(self.names()):
            text = self.parameters.local(name)
            default = self.parameters.default_of(name)
            if name in self.stand_ins:
                names[f"_ml_stand_in_{place}"] = self.stand_ins[name]
                text = f"_ml_stand_in_{place}({text})"
            elif default is not None and not _has_key(default[1]):
                text = f"(_ml_unchanged if {text} is {default[0]} else {text})"
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
        unpack = f"    {self.parameters.values()} = values\n" if self.parameters.names else ""
        source = f"def digest(values):\n{unpack}{self.statement(texts)}    return _ml_digest\n"
        return compile_function(source, "digest", names)

    def statement(self, texts: list[str]) -> str:
        """The text that computes the digest: in one call of C where all keyed arguments are plain."""
        keyed = self.parameters.tuple_of(texts)
        if any(self.parameters.is_collecting(name) for name in self.names()):
            return _ALWAYS.format(keyed=keyed)
        plain = self.parameters.tuple_of(["_ml_prefix", *texts])
        if self.stand_ins:
            return _ALWAYS.format(keyed=keyed)
        test = " and ".join(f"_ml_type({text}) in _ml_plain" for text in texts) or "True"
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
    *,
    suspends: bool,
) -> Callable[..., Any]:
    """The function that is called in place of the user's.

    Args:
        name: what it is called in tracebacks.
        keying: how its arguments become a digest.
        exits: where a call goes that is not answered here.
        memory: how the nearest tier is looked up and told of a use, if it is in memory.
        suspends: whether it is a coroutine function.
    """
    texts, names = keying.expressions()
    find, touch = memory or (_find_nothing, _find_nothing)
    names |= (
        keying.parameters.defaults
        | _globals(keying)
        | {
            "_ml_switch": switch,
            "_ml_clock": clock,
            "_ml_find": find,
            "_ml_touch": touch,
            "_ml_miss": exits.miss,
            "_ml_detour": exits.detour,
            "_ml_count_hit": exits.count_hit,
        }
    )
    usable = name.isidentifier() and not keyword.iskeyword(name)
    source = _BODY.format(
        define="async def" if suspends else "def",
        wait="await " if suspends else "",
        name=name if usable else "_ml_call",
        declaration=keying.parameters.declaration(),
        digest=keying.statement(texts).rstrip("\n"),
        values=keying.parameters.values(),
    )
    return compile_function(source, name if usable else "_ml_call", names)


def _globals(keying: Keying) -> dict[str, Any]:
    return {
        "_ml_prefix": keying.prefix,
        "_ml_plain": keys.PLAIN,
        "_ml_type": type,
        "_ml_hash": xxhash.xxh3_128_digest,
        "_ml_dumps": marshal.dumps,
        "_ml_digest_of": keying.digest,
    }


def _find_nothing(digest: bytes) -> None:
    """What a lookup finds where no tier is in memory."""


def _has_key(value: object) -> bool:
    try:
        keys.digest(value)
    except UnhashableArgumentError:
        return False
    return True
