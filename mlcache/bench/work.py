"""Work: calls that are replayed through a cache, with the answers and what each costs to compute."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""The positional and the keyword arguments of a call."""


def identity_of(order: NDArray[np.int64]) -> str:
    """What tells an order of calls from others."""
    return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(order, dtype="<i8").tobytes())


class Work(msgspec.Struct, frozen=True, eq=False):
    """Calls that are replayed, the same for all who are compared.

    Args:
        workload: the pattern of the traffic.
        payload: what goes in and comes out.
        orders: which of ``calls`` is made when, one order a repetition; shape (calls made,) each.
        warm: how many calls of an order come first and are not counted.
        calls: the distinct calls.
        answers: the answer to each.
        costs: seconds that computing each takes; shape (distinct calls,).
        sizes: bytes of each answer; shape (distinct calls,).
        scale: what the costs are multiplied by when they are waited for.
        together: every caller makes every call, all at the same moment.
        available: calls that there were, of which an order may have the first alone; zero if drawn by chance.
        identity: tells these calls from others, in every process; the first of them have that of all.
    """

    workload: str
    payload: str
    orders: list[NDArray[np.int64]]
    warm: int
    calls: list[Arguments]
    answers: list[Any]
    costs: NDArray[np.float64]
    sizes: NDArray[np.int64]
    scale: float = 1.0
    together: bool = False
    available: int = 0
    identity: str = ""

    def order(self, repetition: int) -> NDArray[np.int64]:
        """The calls of one repetition."""
        return self.orders[repetition % len(self.orders)]

    def first(self, calls: int) -> Work:
        """The same with no more than the first calls of each order."""
        if calls >= max(map(len, self.orders)):
            return self
        orders = [order[:calls] for order in self.orders]
        asked = np.unique(np.concatenate(orders))
        return msgspec.structs.replace(
            self,
            orders=[np.searchsorted(asked, order) for order in orders],
            warm=calls // 3,
            calls=[self.calls[number] for number in asked],
            answers=[self.answers[number] for number in asked],
            costs=self.costs[asked],
            sizes=self.sizes[asked],
        )

    @property
    def remark(self) -> str:
        """What is to be said where calls were left off."""
        length = len(self.order(0))
        return f"the first {length:,} of {self.available:,} calls" if length < self.available else ""

    @property
    def total_bytes(self) -> int:
        """Bytes of all answers together."""
        return int(self.sizes.sum())
