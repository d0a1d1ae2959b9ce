"""Processes that replay: they call at the same moment, and one that ends is nobody else's failure."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mlcache.bench.callers import ReplayFailedError
from mlcache.bench.processes import crew
from mlcache.bench.work import Arguments
from mlcache.bench.workloads import Size, work

SMALL = Size(keys=4, calls=12, repetitions=1, costs=(0.001, 0.001))
ROOMY = 10**9


class Noted:
    """An argument that notes each call it is given to: who made it, and with which number."""

    def __init__(self, number: int, log: str) -> None:
        self.number, self.log = number, log

    def __ml_cache_key__(self) -> int:
        with Path(self.log).open("a", encoding="utf-8") as file:
            file.write(f"{self.number} {os.getpid()}\n")
        return self.number


class Deadly(Noted):
    """An argument that ends the process that calls with it, once, if its file is there."""

    def __ml_cache_key__(self) -> int:
        if Path(self.log).exists():
            Path(self.log).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.number


def test_in_a_stampede_nobody_makes_a_call_before_all_have_made_the_one_before(tmp_path: Path) -> None:
    what = work("stampede", "text", SMALL)
    log = tmp_path / "log"
    arguments: list[Arguments] = [((Noted(number, str(log)),), {}) for number in range(len(what.calls))]
    # Waits of unlike lengths: who is done first would run ahead, as nobody shares the answers of another.
    noted = msgspec.structs.replace(what, calls=arguments, costs=np.array([0.0, 0.02, 0.0, 0.02]))
    with crew(noted, 2) as members:
        members.replay("lru", ROOMY, 0)
    lines = dict.fromkeys(log.read_text(encoding="utf-8").splitlines())  # a key is made once more to compare
    made = [line.split() for line in lines]
    pairs = zip(made[::2], made[1::2], strict=True)
    assert [one[0] == other[0] and one[1] != other[1] for one, other in pairs] == [True] * len(what.calls)


def test_a_process_that_is_killed_is_told_and_the_next_replay_has_new_ones(tmp_path: Path) -> None:
    what = work("stampede", "text", SMALL)
    trigger = tmp_path / "trigger"
    trigger.touch()
    calls: list[Arguments] = [((Deadly(number, str(trigger)),), {}) for number in range(len(what.calls))]
    with crew(msgspec.structs.replace(what, calls=calls), 2) as members:
        with pytest.raises(ReplayFailedError, match=r"process \d, by signal 9, ended in the middle"):
            members.replay("disk", ROOMY, 0)
        after = members.replay("disk", ROOMY, 0)
    assert after.wrong == 0
    assert set(after.replay.numbers.tolist()) <= set(range(len(calls)))
