"""Assembly: from what the user said and what the environment says to the parts of one cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from mlcache import events, keys, sealing, settings
from mlcache.backends.address import Address
from mlcache.backends.invalidation import listen
from mlcache.backends.many import ManyTiers
from mlcache.backends.protocol import AnyBackend
from mlcache.call import Call, Parameters, Values
from mlcache.computing import Computing, Offloading
from mlcache.engines import Checked, open_engine, with_resources
from mlcache.entry import Entry, Expiry, Key
from mlcache.errors import (
    BackendError,
    EntryTooLargeError,
    MlcacheError,
)
from mlcache.events import (
    Bypassed,
    Coalesced,
    Computed,
    Counter,
    Event,
    Failed,
    Hit,
    NotKept,
    Raised,
    Stale,
    Tally,
)
from mlcache.fastpath import Digest, Keying
from mlcache.flight import Flights, shared
from mlcache.keeping import UNCOPIABLE
from mlcache.namesakes import namesakes_of
from mlcache.settings import Settings
from mlcache.stores import Returns, open_stores
from mlcache.terms import Terms
from mlcache.warning import warn

if TYPE_CHECKING:
    from mlcache.info import CacheInfo


class Options(msgspec.Struct, frozen=True):
    """The keywords of ``ml_cache``, checked; see there."""

    backend: tuple[Address | AnyBackend, ...] | None
    expiry: Expiry | None
    ignore: frozenset[str]
    stand_ins: Mapping[str, Callable[[Any], Any]]
    version: str | None
    when: Callable[[Any], object] | None
    returns: Returns
    name: str | None
    offload: Checked = None


class Cache:
    """The parts that the calls of one function go through.

    Args:
        function: what is cached.
        parameters: of the function.
        options: what its user asked for.
        identity: of the function.
        suspends: whether it is a coroutine function.

    Raises:
        ConfigurationError: the environment says something that cannot be understood.
        MissingExtraError: a backend needs a package that is not installed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        parameters: Parameters,
        options: Options,
        identity: keys.Identity,
        *,
        suspends: bool,
    ) -> None:
        self.settings, forced = _read_settings(identity.name)
        if self.settings.trace is not None:
            _record_to(self.settings.trace)
        self.namespace = f"{identity.name}@{identity.digest.hex()[:12]}"
        self.suspends = suspends
        self.tally = Tally()
        self._count = {kind: counter_of(self.tally).add for kind, counter_of in _COUNTERS.items()}
        self.flights = Flights()
        terms = self._guarded(_terms(options, forced.get("ttl"), self.settings.ttl))
        _warn_of_no_effect(self.namespace, terms.expiry)
        backends = forced.get("backend") or options.backend or self.settings.backend or "lru"
        how = self.settings, options.returns, forced
        stores = [] if self.settings.disabled else open_stores(backends, *how)
        self.store = ManyTiers(stores, self._on_failure, terms.expiry.capped)
        self.namesakes = namesakes_of(self.namespace)
        if self.namesakes.open(f"{terms.expiry!r}"):  # what lies farther off is judged when it is found
            self.store.forget_nearest(self.namespace)
        wait = self.settings.wait or shared.WAIT
        self.terms = msgspec.structs.replace(terms, shared=self.store.shared, wait=wait)
        self._hearings = listen(self.store, self.namespace, self.flights.supersede)
        self.keying = Keying(
            prefix=keys.digest((identity.name, identity.digest, options.returns)),
            parameters=parameters,
            ignore=options.ignore & frozenset(parameters.names),
            stand_ins={name: keys.named(name, stand_in) for name, stand_in in options.stand_ins.items()},
        )
        self.digest: Digest = self.keying.compile_digest()
        self.terms = msgspec.structs.replace(self.terms, digest=self.digest)
        computing = _computing(function, parameters, options.offload, self.settings, forced)
        self.offloads, self.invoke, self.apply = computing.offloads, computing.invoke, computing.apply
        self.compute, self.ship, self.workers = computing.compute, computing.ship, computing.workers
        self.compute_suspending = computing.compute_suspending
        if self.settings.check == "mutation" and not self.offloads:
            from mlcache.mutation import watch

            self.apply = watch(self.apply, self.keying, self._warn_of_change, suspends=suspends)
        self._warned: set[tuple[str, str]] = set()

    def call(self, digest: bytes, values: Values) -> Call:
        """The call with these bound arguments and their digest."""
        return Call(Key(self.namespace, digest), values, self.apply)

    def hand_out(self, entry: Entry) -> Any:
        """What a caller gets of an entry."""
        return entry.value if entry.renew is None else entry.renew(entry.value)

    def tell(self, event: Event) -> None:
        """Count the event and tell the hooks."""
        self._count[type(event)]()
        if isinstance(event, NotKept) and UNCOPIABLE in event.reason:
            self._warn("copy", event.reason)
        events.emit(event)

    def info(self) -> CacheInfo:
        """The counters, and how full the nearest tier is."""
        from mlcache.info import CacheInfo

        count, used = self.store.usage(self.namespace)
        tally = self.tally
        return CacheInfo(
            tally.hits.value,
            tally.misses.value,
            used.max_items,
            count,
            used.max_bytes,
            used.bytes,
            tally.coalesced.value,
            tally.bypasses.value,
            tally.not_kept.value,
            tally.errors.value,
            tally.stale.value,
        )

    def clear(self) -> int:
        """Forget all entries of the function and all counts; the number of entries."""
        self.flights.supersede()
        gone = self.store.clear(self.namespace)
        self.tally.reset()
        return gone

    def _on_failure(self, tier: str, operation: str, key: Key | None, error: Exception) -> None:
        too_large = isinstance(error, EntryTooLargeError)
        (self.tally.not_kept if too_large else self.tally.errors).add()
        events.emit(Failed(key or Key(self.namespace, b""), tier, operation, error))
        if self.settings.strict and not too_large:
            if isinstance(error, MlcacheError):
                raise error
            raise BackendError(f"{tier} failed at {operation}: {error}") from error
        self._warn(
            f"{tier} {type(error).__name__}", f"{tier} failed at {operation}; calls go on without: {error}"
        )

    def _guarded(self, terms: Terms) -> Terms:
        """``terms``, whose functions of the value cannot fail a call whose answer is there."""
        when = terms.when

        def judged(value: Any) -> bool:
            try:
                return bool(when is None or when(value))
            except Exception as error:  # noqa: BLE001 - whatever a user's function raises
                self._on_option_failure("when", error)
                return False

        expiry = terms.expiry.guarded(partial(self._on_option_failure, "ttl"))
        return msgspec.structs.replace(terms, expiry=expiry, when=when and judged)

    def _on_option_failure(self, option: str, error: Exception) -> None:
        self.tally.errors.add()
        events.emit(Failed(Key(self.namespace, b""), option, "call", error))
        if self.settings.strict:
            raise error
        self._warn(option, f"{option} raised {error!r}: such answers are delivered, and not kept")

    def _warn_of_change(self, parameter: str) -> None:
        message = f"the function changes its argument {parameter!r}, which no hit would do: copy it first"
        self._warn(f"mutation of {parameter}", message)

    def _warn(self, about: str, message: str) -> None:
        if (about, self.namespace) not in self._warned:
            self._warned.add((about, self.namespace))
            warn(f"{self.namespace}: {message}")


_COUNTERS: dict[type[Event], Callable[[Tally], Counter]] = {
    Hit: lambda tally: tally.hits,
    Stale: lambda tally: tally.stale,
    Computed: lambda tally: tally.misses,
    Raised: lambda tally: tally.misses,
    Coalesced: lambda tally: tally.coalesced,
    Bypassed: lambda tally: tally.bypasses,
    NotKept: lambda tally: tally.not_kept,
}


def _read_settings(name: str) -> tuple[Settings, dict[str, Any]]:
    """The settings for the function called ``name``, and those of them that were set for it alone."""
    parts = [part for part in name.split(".") if part != "<locals>"]
    suffixes = tuple(".".join(parts[place:]) for place in range(len(parts) - 1, -1, -1))
    forced = settings.read_for(suffixes)
    return msgspec.structs.replace(settings.read(), **forced), forced


def _record_to(path: str) -> None:
    from mlcache.trace.recorder import record_to  # which few processes need

    record_to(path)


def _computing(
    function: Callable[..., Any],
    parameters: Parameters,
    spec: Checked,
    settings: Settings,
    forced: Mapping[str, Any],
) -> Computing:
    engine = open_engine(spec, forced.get("offload_workers"), settings.offload_workers)
    local = with_resources(function, spec)
    if engine is None:
        return Computing(local, parameters)
    return Offloading(function, engine, local, parameters)


def _terms(options: Options, forced_ttl: float | None, default_ttl: float | None) -> Terms:
    expiry = options.expiry or Expiry()
    ttl = forced_ttl or (None if expiry.has_ttl else default_ttl)
    if ttl is not None:
        expiry = expiry.lasting(ttl)
    return Terms(expiry, options.when, sealing.SEALS[options.returns])


def _warn_of_no_effect(namespace: str, expiry: Expiry) -> None:
    idle = [name for name in ("stale", "early", "jitter", "stale_if_error") if getattr(expiry, name)]
    if idle and not expiry.has_ttl:
        warn(
            f"{namespace}: {' and '.join(idle)} of an Expiry without a ttl has no effect, as nothing it "
            "keeps ends: give it a ttl, or set MLCACHE_TTL"
        )
