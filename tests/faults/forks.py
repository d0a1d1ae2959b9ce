"""Many processes that begin at the same moment: forks of one, as starting a Python takes much longer."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable


def all_at_once(number: int, work: Callable[[int], object]) -> None:
    """Call ``work`` in so many children, with the number of each, and print what it gives.

    The program ends with an error if any of them failed.
    Whoever calls this must run one thread, and no test: it belongs in a program of its own.
    """
    gate, opener = os.pipe()
    sys.stdout.flush()
    children = [_child(me, gate, opener, work) for me in range(number)]
    os.close(gate)
    os.close(opener)
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    if failed:
        sys.exit(f"{len(failed)} of {number} processes failed")


def _child(me: int, gate: int, opener: int, work: Callable[[int], object]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.close(opener)
        os.read(gate, 1)  # until everybody has closed the other end
        os.write(1, f"{work(me)}\n".encode())  # at once, so that lines stay whole
        status = 0
    except BaseException:  # noqa: BLE001 - a child must not go on with what its parent does
        traceback.print_exc()
    finally:
        os._exit(status)
