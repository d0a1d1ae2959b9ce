"""Single requests that wait to be put into batches: by bucket, in turns of their tenants."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from itertools import islice
from math import inf

import msgspec

from mlcache import clock


class Ticket:
    """One request.

    Args:
        bucket: only requests with the same are put into one batch.
        tenant: whose it is; tenants take turns.
        weights: shares of what one batch may have of each of several things, such as bytes.
        ends: the reading of ``clock.ticks`` at which it is too late to begin; None: never.
    """

    __slots__ = ("bucket", "ends", "since", "tenant", "weights")

    def __init__(
        self,
        bucket: Hashable,
        tenant: Hashable = None,
        weights: tuple[float, ...] = (),
        ends: float | None = None,
    ) -> None:
        self.bucket = bucket
        self.tenant = tenant
        self.weights = weights
        self.ends = ends
        self.since = clock.ticks()

    def is_wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return True

    def is_gone(self, now: float) -> bool:
        """Whether it is not to be computed any more, at this reading of ``clock.ticks``."""
        return not self.is_wanted() or self.is_late(now)

    def is_late(self, now: float) -> bool:
        """Whether it should have begun by this reading of ``clock.ticks``."""
        return self.ends is not None and self.ends <= now

    def leave(self, *, late: bool) -> None:
        """Note that it will not be computed, because nobody wants it or it is too late."""

    def fail(self, error: BaseException) -> None:
        """Note that it cannot be computed."""


class Rules(msgspec.Struct, frozen=True):
    """What a batch is made of.

    Args:
        max_size: requests at most; None: any number.
        max_wait: seconds for which a request waits for others even where a slot is free.
        slots: batches that may be computed at a time.
    """

    max_size: int | None = None
    max_wait: float = 0.0
    slots: int = 1


class Queue:
    """The requests that wait. Not for several threads at once.

    Args:
        rules: what a batch is made of.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._buckets: OrderedDict[Hashable, OrderedDict[Hashable, deque[Ticket]]] = OrderedDict()
        self._size = 0
        self._hastened = -inf

    def __len__(self) -> int:
        return self._size

    def add(self, ticket: Ticket) -> None:
        """Take a request."""
        tenants = self._buckets.get(ticket.bucket)
        if tenants is None:
            tenants = self._buckets[ticket.bucket] = OrderedDict()
        line = tenants.get(ticket.tenant)
        if line is None:
            line = tenants[ticket.tenant] = deque()
        line.append(ticket)
        self._size += 1

    def remove(self, ticket: Ticket) -> bool:
        """Give a request back; whether it was still waiting."""
        tenants = self._buckets.get(ticket.bucket)
        line = tenants.get(ticket.tenant) if tenants else None
        if line is None or ticket not in line:
            return False
        line.remove(ticket)
        self._size -= 1
        self._tidy(ticket.bucket, ticket.tenant)
        return True

    def hasten(self, now: float) -> None:
        """Let those who have come by this reading of ``clock.ticks`` wait for no others any more."""
        self._hastened = now

    def clear(self) -> list[Ticket]:
        """Take out all requests."""
        tickets = [each for tenants in self._buckets.values() for line in tenants.values() for each in line]
        self._buckets.clear()
        self._size = 0
        return tickets

    def take(self, now: float, among: int = 1) -> tuple[list[Ticket], list[Ticket], float]:
        """The next batch, those that left because they are late or unwanted, and a time to wait.

        With a batch there is nothing to wait for. Without one, there may be one after the time to wait,
        in seconds, unless it is 0: then nobody is left.

        Args:
            now: the reading of ``clock.ticks``.
            among: how many share what waits: a batch is one of so many parts at most.
        """
        gone = self._shed(now)
        if not self._size:
            return [], gone, 0.0
        bucket = min(self._buckets, key=self._oldest)
        most = -(-self._size // among)
        since = self._oldest(bucket)
        waits = self._rules.max_wait > 0 and since > self._hastened
        wait = since + self._rules.max_wait - now if waits else 0.0
        if wait > 0:
            full = [each for each in self._buckets if self._is_full(each, now)]
            if not full:
                return [], gone, wait
            bucket, most = full[0], self._size  # which it was waited for to be
        return self._fill(bucket, most, now, gone), gone, 0.0

    def _shed(self, now: float) -> list[Ticket]:
        """Take out whoever is gone of those that are next in line: to look at all would take too long."""
        gone: list[Ticket] = []
        for bucket, tenants in list(self._buckets.items()):
            for tenant, line in list(tenants.items()):
                while line and line[0].is_gone(now):
                    gone.append(line.popleft())
                self._tidy(bucket, tenant)
        self._size -= len(gone)
        return gone

    def _oldest(self, bucket: Hashable) -> float:
        return min(line[0].since for line in self._buckets[bucket].values())

    def has_batches(self, bucket: Hashable, number: int) -> bool:
        """Whether so many batches wait in a bucket that none of them can grow."""
        most = self._rules.max_size
        return most is not None and sum(map(len, self._buckets[bucket].values())) >= most * number

    def _is_full(self, bucket: Hashable, now: float) -> bool:
        batch = list(self._choose(bucket, now))
        lines = self._buckets[bucket].values()
        waiting = sum(not ticket.is_gone(now) for line in lines for ticket in line)
        return len(batch) == self._rules.max_size or len(batch) < waiting

    def _fill(self, bucket: Hashable, most: int, now: float, gone: list[Ticket]) -> list[Ticket]:
        """Take as many as fit out of one bucket; the tenant who was served last comes last next time.

        Those that are gone, and stood before one that was taken, are added to ``gone``.
        """
        batch = list(islice(self._choose(bucket, now), most))
        tenants = self._buckets[bucket]
        before = len(gone)
        for ticket in batch:
            line = tenants[ticket.tenant]
            while (first := line.popleft()) is not ticket:
                gone.append(first)
            tenants.move_to_end(ticket.tenant)
        self._size -= len(batch) + len(gone) - before
        for ticket in batch:
            self._tidy(bucket, ticket.tenant)
        return batch

    def _choose(self, bucket: Hashable, now: float) -> Iterator[Ticket]:
        """Requests in turns of the tenants, until the batch is full; one at least."""
        lines = deque(iter(line) for line in self._buckets[bucket].values())
        most, count = self._rules.max_size, 0
        sums: list[float] = []
        while lines and count != most:
            line = lines.popleft()
            ticket = next((each for each in line if not each.is_gone(now)), None)
            if ticket is None:
                continue
            if ticket.weights:
                before = sums or [0.0] * len(ticket.weights)
                sums = [a + b for a, b in zip(before, ticket.weights, strict=True)]
                if count and any(each > 1 for each in sums):
                    return
            yield ticket
            count += 1
            lines.append(line)

    def _tidy(self, bucket: Hashable, tenant: Hashable) -> None:
        tenants = self._buckets.get(bucket)
        if tenants is not None and not tenants.get(tenant, True):
            del tenants[tenant]
            if not tenants:
                del self._buckets[bucket]
