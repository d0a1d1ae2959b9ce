"""Granting leases: whoever asks first for a model loads it, whoever comes meanwhile waits for that."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

from mlcache import clock
from mlcache.errors import ModelError
from mlcache.flight import Flight, Job, aboard, waiting_for
from mlcache.models.churn import WINDOW, Churn
from mlcache.models.freshness import Freshness
from mlcache.models.info import Tally
from mlcache.models.loading import Loader
from mlcache.models.shelf import Shelf
from mlcache.models.slot import Slot
from mlcache.threads import pool
from mlcache.warning import warn

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event


class Leases:
    """Grants leases on the models of a shelf.

    Args:
        shelf: where the models are.
        loader: loads those that are not there.
        freshness: is told of each use.
        wait: seconds to wait for room.
        threads: that load for event loops, at most.
        churn: is told of each load.
    """

    def __init__(
        self, shelf: Shelf, loader: Loader, freshness: Freshness, wait: float, threads: int, churn: Churn
    ) -> None:
        self.tally = Tally()
        self.churn = churn
        self._shelf = shelf
        self._loader = loader
        self._freshness = freshness
        self._wait = wait
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def acquire(self, model_id: str, holder: object) -> Slot:
        """Have a model loaded, and keep it for ``holder``; see ``lease``."""
        while True:
            slot, flight, leads = self._claim(model_id, holder)
            try:
                if leads:
                    self._load(slot, clock.ticks() + self._wait)
                elif flight is not None:
                    flight.wait()
                else:
                    self._freshness.look_later(slot)
            except BaseException:
                self.release(slot, holder)
                raise
            if slot.model is not None:
                return slot
            self.release(slot, holder)  # whoever loaded it was interrupted

    async def acquire_async(self, model_id: str, holder: object) -> Slot:
        """The same for an event loop: a model that has to be loaded is loaded in a thread."""
        while True:
            slot, flight, leads = self._claim(model_id, holder, queued=True)
            try:
                if leads:
                    self._load_in_thread(slot)
                if flight is not None:
                    await _landed(flight)
                else:
                    self._freshness.look_later(slot)
            except BaseException:
                await self.release_async(slot, holder)
                raise
            if slot.model is not None:
                return slot
            await self.release_async(slot, holder)

    def release(self, slot: Slot, holder: object) -> None:
        """End a lease."""
        self._shelf.release(slot, holder)

    async def release_async(self, slot: Slot, holder: object) -> None:
        """The same for an event loop: a model that goes with its last lease is closed in a thread."""
        if self._shelf.leave(slot, holder):
            import asyncio

            job = Job(partial(self._shelf.discard, slot))
            try:
                closing = pool("close").submit(job.run)
            except RuntimeError:  # no thread can be had; it may be queued all the same
                job.run()
                return
            await asyncio.shield(asyncio.wrap_future(closing))  # it is closed also if we are cancelled

    def await_load(self, slot: Slot) -> None:
        """Wait until a load under way has ended, however it does."""
        flight = slot.flight
        if flight is not None:
            with suppress(ModelError):
                flight.wait()

    def executor(self) -> ThreadPoolExecutor:
        """The threads that load for event loops, and ahead."""
        with self._shelf.changed:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(self._threads, "mlcache-models")
            return self._pool

    def close(self) -> None:
        """End the threads when they have done what they do."""
        if self._pool is not None:
            self._pool.shutdown()

    def after_fork(self) -> None:
        """In a forked child, which has no threads."""
        self._pool = None

    def _claim(
        self, model_id: str, holder: object, *, queued: bool = False
    ) -> tuple[Slot, Flight | None, bool]:
        slot, leads = self._shelf.claim(model_id, holder, queued=queued)
        flight = slot.flight
        if flight is None:
            self.tally.hits.add()
        elif not leads:
            self.tally.coalesced.add()
        return slot, flight, leads

    def _load(self, slot: Slot, ends: float, *, for_tasks: bool = False) -> None:
        flight = cast("Flight", slot.flight)
        try:
            with aboard(flight):
                model = self._loader.load(slot, ends)
        except BaseException as error:
            self.tally.failures.add()
            self._shelf.take_down(slot)
            # The error holds the frames, and the frames the flight: what nobody reads would be a circle.
            flight.end(error=_shared(slot.model_id, error, for_tasks=for_tasks) if flight.watched else None)
            raise
        self.tally.loads.add()
        try:
            self._shelf.put_up(slot, model)
        finally:
            flight.end()
        self._note_churn(slot.model_id)

    def _note_churn(self, model_id: str) -> None:
        with self._shelf.changed:
            tell = self.churn.loaded(model_id)
        if tell:
            warn(
                f"more than half of the last {WINDOW} loads brought back a model that had been evicted: "
                f"{self._shelf.room} is too little for this traffic"
            )

    def _load_in_thread(self, slot: Slot) -> None:
        flight = cast("Flight", slot.flight)
        flight.watched = True
        refusal = self._loader.refusal(slot.model_id)
        if refusal is not None:  # all threads may be waiting for a store that does not answer
            self._fail(slot, refusal)
            return
        ends = clock.ticks() + self._wait  # to wait for a thread is to wait, too
        job = Job(partial(self._load_quietly, slot, ends), partial(self._give_up, slot))
        flight.offer(job)  # all threads may be loading models that wait for this one
        try:
            self.executor().submit(job.run)
        except RuntimeError:  # it may be queued all the same
            job.drop()

    def _load_quietly(self, slot: Slot, ends: float) -> None:
        with suppress(Exception):  # those who wait for the flight are told
            self._load(slot, ends, for_tasks=True)

    def _give_up(self, slot: Slot) -> None:
        self._fail(slot, ModelError(f"no thread could be had to load model {slot.model_id!r}"))

    def _fail(self, slot: Slot, error: ModelError) -> None:
        flight = cast("Flight", slot.flight)
        self.tally.failures.add()
        self._shelf.take_down(slot)
        flight.end(error=error)
        cast("Event", flight.queued).set()  # there will be no job


def _shared(model_id: str, error: BaseException, *, for_tasks: bool) -> Exception | None:
    """What those who wait are told; None where one of them is to load in place of who was interrupted."""
    if isinstance(error, Exception):
        return error
    if not for_tasks:
        return None
    shared = ModelError(f"loading model {model_id!r} raised {error!r}")
    shared.__cause__ = error
    return shared


async def _landed(flight: Flight) -> None:
    import asyncio

    with waiting_for(flight):
        await asyncio.wrap_future(flight.future)
