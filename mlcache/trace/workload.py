"""A workload in memory: what a simulation or a benchmark replays."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlcache.errors import ConfigurationError


class Workload(msgspec.Struct, frozen=True, eq=False):
    """Calls in the order of time, and what the value of each key costs and weighs.

    Args:
        keys: the number of the key that each call asks for, from 0; shape (calls,), int64.
        times: when each call comes, in seconds since the first; shape (calls,), float64, never falling.
        costs: seconds that computing the value of each key takes; shape (keys,), float64.
        sizes: bytes of the value of each key; shape (keys,), int64.

    Raises:
        ConfigurationError: the shapes do not belong together, or a call asks for a key that there is not.
    """

    keys: NDArray[np.int64]
    times: NDArray[np.float64]
    costs: NDArray[np.float64]
    sizes: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.keys.shape != self.times.shape or self.costs.shape != self.sizes.shape:
            raise ConfigurationError(
                f"a workload of {self.keys.shape} keys asked for, {self.times.shape} times, "
                f"{self.costs.shape} costs and {self.sizes.shape} sizes: give as many times as keys "
                "asked for, and as many costs as sizes"
            )
        if len(self.keys) and not 0 <= self.keys.min() <= self.keys.max() < len(self.costs):
            raise ConfigurationError(
                f"the calls ask for the keys {self.keys.min()} to {self.keys.max()}, and there are "
                f"{len(self.costs)} costs: number the keys from 0, and give each a cost and a size"
            )

    def __len__(self) -> int:
        """The number of calls."""
        return len(self.keys)

    @property
    def asked(self) -> NDArray[np.int64]:
        """The keys that are asked for at least once, in rising order."""
        return np.unique(self.keys)

    @property
    def seconds(self) -> float:
        """Computing time of all calls if nothing were cached."""
        return float(self.costs[self.keys].sum())

    def __repr__(self) -> str:
        return f"<Workload of {len(self)} calls for {len(self.asked)} keys>"
