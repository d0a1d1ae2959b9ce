"""An entry: a value with its timestamps, and the one judgement of what expired means."""

from __future__ import annotations

import copy
import enum
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec

from mlcache import clock, units
from mlcache.errors import ConfigurationError

FOREVER = math.inf
"""The deadline of what never expires."""


class Key(msgspec.Struct, frozen=True):
    """What an entry is found by.

    Args:
        namespace: the function's name and version, such as ``app.score@3f2a90c1``.
        digest: 16 bytes over the namespace and the bound arguments. As it covers the
            namespace, a store may index by the digest alone.
    """

    namespace: str
    digest: bytes

    def __str__(self) -> str:
        return f"{self.namespace}/{self.digest.hex()}"


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A value with its timestamps, its cost and its size.

    Args:
        value: what the function returned, in the form in which it is kept.
        created: when it was computed, in seconds since the epoch.
        fresh_until: from when on it is stale.
        stale_until: from when on it is dead; never before ``fresh_until``.
        cost: seconds that computing it took.
        size: bytes that it takes in memory, roughly.
        renew: makes what a caller gets from ``value``, where that cannot be ``value``
            itself because the caller could change it. It is not stored.
    """

    value: Any
    created: float
    fresh_until: float = FOREVER
    stale_until: float = FOREVER
    cost: float = 0.0
    size: int = 0
    renew: Callable[[Any], Any] | None = None


class Failure(msgspec.Struct, frozen=True, eq=False):
    """The value of an entry that keeps an exception: whoever asks for the answer gets it raised."""

    error: Exception


class Verdict(enum.Enum):
    """What an entry is good for."""

    FRESH = "fresh"
    STALE = "stale"
    DEAD = "dead"


def judge(entry: Entry, now: float) -> Verdict:
    """What ``entry`` is good for at the time ``now``. A deadline is the first instant past it."""
    if now < entry.fresh_until:
        return Verdict.FRESH
    return Verdict.STALE if now < entry.stale_until else Verdict.DEAD


Span = float | str | timedelta
"""A duration: seconds, text such as ``"1h30m"``, or a timedelta."""

Lifetime = Span | datetime | None
"""How long an entry stays fresh: a duration, an aware datetime at which it ends, or None for ever."""

Ttl = Lifetime | Callable[[Any], Lifetime]
"""A lifetime, or a function that gives one for a value."""


class Expiry:
    """How long an entry may be used.

    Args:
        ttl: seconds, text such as ``"1h30m"``, a timedelta, an aware datetime at which
            every entry ends, a function of the value that returns any of these, or None
            for what never expires. An entry whose function says that its time is already
            over is delivered but not kept.
        stale: for how long after that an entry is still served, at once, while it is
            computed anew in the background (RFC 5861).
        early: computes anew in the background before the time is over, the more probably the
            nearer that is and the longer computing takes; a number above zero, of which 1 is the
            customary one and a larger one is earlier (XFetch: Vattani, Chierichetti and
            Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015).
        jitter: shortens each lifetime by a random share of it up to this one, between 0 and 1,
            so that what was written together does not expire together.
        stale_if_error: for how long after its time an entry is served where computing it anew
            raised an exception (RFC 5861).
        errors: for how long an exception is kept as the answer: a duration for all, or durations
            by type. Without it, exceptions are not kept.

    Raises:
        ConfigurationError: an argument is none of these, or not above zero, or already past.
    """

    __slots__ = (
        "_of_value",
        "_on_error",
        "_span",
        "_ttl",
        "_until",
        "early",
        "errors",
        "has_ttl",
        "jitter",
        "stale",
        "stale_if_error",
    )

    def __init__(
        self,
        ttl: Ttl = None,
        *,
        stale: Span | None = None,
        early: float | None = None,
        jitter: float | None = None,
        stale_if_error: Span | None = None,
        errors: Span | Mapping[type[Exception], Span] | None = None,
    ) -> None:
        if cast("object", ttl) is Expiry:
            raise ConfigurationError("ttl is the class Expiry: give one, such as Expiry('1h', stale='10m')")
        self.has_ttl = ttl is not None
        self._of_value = ttl if callable(ttl) else None
        self._on_error: Callable[[Exception], object] | None = None
        self._ttl: Lifetime = None if callable(ttl) else ttl
        if not callable(ttl) and _deadline(ttl, now := clock.now()) <= now:
            raise ConfigurationError(f"ttl is {ttl!r}, which is already past")
        fixed = self._ttl is None or isinstance(self._ttl, datetime)
        # Read once: at each hit on disk, reading the text again would be a third of the time.
        self._span = None if fixed else units.seconds(cast("Span", self._ttl), what="ttl")
        self._until = _deadline(self._ttl, 0.0) if fixed else FOREVER
        self.stale = _optional("stale", stale)
        self.stale_if_error = _optional("stale_if_error", stale_if_error)
        self.early = _within("early", early, 1e9)
        self.jitter = _within("jitter", jitter, 1.0)
        self.errors = _by_type(errors)

    def deadline(self, value: object, now: float, luck: float = 0.0) -> float:
        """The instant at which ``value``, computed at the time ``now``, stops being fresh.

        Args:
            value: what was computed.
            now: when.
            luck: between 0 and 1: how much of the jitter is applied.
        """
        try:
            deadline = self._full_deadline(value, now)
        except Exception as error:
            if self._on_error is None:
                raise
            self._on_error(error)
            return now
        return deadline if deadline == FOREVER else deadline - (deadline - now) * self.jitter * luck

    def guarded(self, on_error: Callable[[Exception], object]) -> Expiry:
        """The same terms, under which a value whose own lifetime cannot be told has none.

        Args:
            on_error: told what the function of the value raised, or what is wrong with what it returned.
        """
        guarded = copy.copy(self)
        guarded._on_error = on_error  # noqa: SLF001 - of the same class
        return guarded

    def capped(self, entry: Entry) -> Entry:
        """``entry``, ending no later than if it were made under these terms: it may be older than them."""
        error = entry.value.error if isinstance(entry.value, Failure) else None
        span = self._span if error is None else self.keeps_error(error)
        deadline = self._until if span is None else entry.created + span
        fresh = min(entry.fresh_until, deadline)
        dead = min(entry.stale_until, fresh if error is not None else self.stale_until(fresh))
        if entry.fresh_until == fresh and entry.stale_until == dead:
            return entry
        return msgspec.structs.replace(entry, fresh_until=fresh, stale_until=dead)

    def lasting(self, ttl: Ttl) -> Expiry:
        """The same terms, with another ``ttl``."""
        spans = {"stale": self.stale or None, "stale_if_error": self.stale_if_error or None}
        rates = {"early": self.early or None, "jitter": self.jitter or None}
        return Expiry(ttl, **spans, **rates, errors=self.errors or None)

    def through(self, view: Callable[[Any], Any]) -> Expiry:
        """The same for values of which the user's own function of the value knows what ``view`` gives."""
        if self._of_value is None:
            return self
        made, of_value = copy.copy(self), self._of_value
        made._of_value = lambda value: of_value(view(value))  # noqa: SLF001 - of the same class
        return made

    def stale_until(self, deadline: float) -> float:
        """The instant at which what stops being fresh at ``deadline`` is good for nothing."""
        return deadline + max(self.stale, self.stale_if_error)

    def is_served_stale(self, entry: Entry, now: float) -> bool:
        """Whether an entry that is not fresh may be served while it is computed anew."""
        return now < entry.fresh_until + self.stale

    def is_served_on_error(self, entry: Entry, now: float) -> bool:
        """Whether an entry may be served because computing it anew failed."""
        return now < entry.fresh_until + self.stale_if_error

    def is_due(self, entry: Entry, now: float, luck: float) -> bool:
        """Whether a fresh entry should be computed anew already; ``luck`` is drawn between 0 and 1."""
        return self.early > 0 and now - entry.cost * self.early * math.log(1.0 - luck) >= entry.fresh_until

    def keeps_error(self, error: Exception) -> float:
        """Seconds for which ``error`` is the answer, by the nearest of its types; 0 if it is none."""
        return next((self.errors[kind] for kind in type(error).__mro__ if kind in self.errors), 0.0)

    @property
    def is_plain(self) -> bool:
        """Whether a fresh entry is always simply served."""
        return not self.early

    def _full_deadline(self, value: object, now: float) -> float:
        if self._of_value is None:
            return self._until if self._span is None else now + self._span
        lifetime = self._of_value(value)
        span = units.read_seconds(lifetime)
        return now if span is not None and span <= 0 else _deadline(lifetime, now)

    def __repr__(self) -> str:
        shown = {
            name: getattr(self, name) for name in ("stale", "early", "jitter", "stale_if_error", "errors")
        }
        rest = "".join(f", {name}={value!r}" for name, value in shown.items() if value)
        return f"Expiry({self._of_value or self._ttl!r}{rest})"

    def __str__(self) -> str:
        if self._of_value is not None:
            text = "ttl by value"
        elif self._ttl is None:
            text = "never expires"
        elif isinstance(self._ttl, datetime):
            text = f"until {self._ttl.isoformat()}"
        else:
            text = f"ttl {units.show_seconds(units.seconds(self._ttl, what='ttl'))}"
        spans = {"then stale for": self.stale, "served on errors for": self.stale_if_error}
        spans |= {f"{kind.__name__} kept for": span for kind, span in self.errors.items()}
        said = [f"{what} {units.show_seconds(span)}" for what, span in spans.items() if span]
        rates = {"early": self.early, "jitter": self.jitter}
        said += [f"{what} {rate:g}" for what, rate in rates.items() if rate]
        return ", ".join([text, *said])


def _optional(what: str, span: Span | None) -> float:
    return 0.0 if span is None else units.seconds(span, what=what)


def _within(what: str, number: float | None, bound: float) -> float:
    if number is None:
        return 0.0
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= bound:
        raise ConfigurationError(f"{what} is {number!r}: give a number above 0, at most {bound:g}, or None")
    return float(number)


def _by_type(errors: Any) -> dict[type[Exception], float]:
    if errors is None:
        return {}
    if not isinstance(errors, Mapping):
        return {Exception: units.seconds(errors, what="errors")}
    for kind in errors:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise ConfigurationError(f"errors names {kind!r}: give types of exceptions, such as ValueError")
    return {kind: units.seconds(span, what=f"errors[{kind.__name__}]") for kind, span in errors.items()}


def _deadline(lifetime: Lifetime, now: float) -> float:
    if lifetime is None:
        return FOREVER
    if isinstance(lifetime, datetime):
        if lifetime.tzinfo is None:
            raise ConfigurationError(
                f"ttl is {lifetime!r}, a datetime without a time zone: "
                "give an aware one, such as datetime.now(UTC) + timedelta(hours=1)"
            )
        return lifetime.timestamp()
    return now + units.seconds(lifetime, what="ttl", instead="None is for what never expires")
