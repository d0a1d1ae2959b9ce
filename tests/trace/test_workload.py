"""What belongs together in a workload."""

from __future__ import annotations

import numpy as np
import pytest

from mlcache.errors import ConfigurationError
from mlcache.trace.workload import Workload


def workload(keys: list[int], times: list[float], costs: list[float], sizes: list[int]) -> Workload:
    return Workload(np.array(keys), np.array(times), np.array(costs), np.array(sizes))


def test_it_knows_what_is_asked_for_and_what_that_costs() -> None:
    three = workload([0, 2, 0], [0, 1, 2], [0.5, 9.0, 2.0], [10, 20, 30])
    assert len(three) == 3
    assert three.asked.tolist() == [0, 2]
    assert three.seconds == 3.0
    assert repr(three) == "<Workload of 3 calls for 2 keys>"


def test_columns_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="as many times as keys asked for"):
        workload([0], [], [1.0], [1])
    with pytest.raises(ConfigurationError, match="as many costs as sizes"):
        workload([0], [0.0], [1.0], [1, 2])
    with pytest.raises(ConfigurationError, match="ask for the keys 0 to 1, and there are 1"):
        workload([0, 1], [0.0, 1.0], [1.0], [1])
