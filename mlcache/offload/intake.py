"""How a call comes into a pool: packed, copied and handed to the desk, in the caller's own thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from mlcache import clock
from mlcache.offload import functions, transport
from mlcache.offload.arena import store
from mlcache.offload.blame import unsendable
from mlcache.offload.item import CallFuture, Item, name_of

if TYPE_CHECKING:
    from mlcache.offload.desk import Desk
    from mlcache.offload.engine import CallOptions
    from mlcache.offload.plan import Plan


def take_in(
    plan: Plan, desk: Desk, options: CallOptions, call: tuple[Callable[..., Any], Any, Any], *, wait: bool
) -> CallFuture:
    """Take a call in, whose arguments are copied when this returns.

    Args:
        plan: of the pool.
        desk: of the pool.
        options: of the call.
        call: function, positional arguments, and keyword arguments.
        wait: whether to wait for room if there is none.

    Raises:
        PoolFullError: there is no room for it.
        PoolClosedError: the pool is closed.
    """
    function, args, kwargs = call
    item = Item(name_of(function), options)
    item.future = CallFuture(partial(desk.cancel, item))
    try:
        item.names = functions.resource_names(function, plan.resources)
        parts = [functions.pack(function), *transport.dump_arguments(args, kwargs)]
    except Exception as error:  # noqa: BLE001 - pickling runs the code of any class
        what = unsendable(function, args, kwargs)
        error.add_note(f"raised while {what or 'the call'} of {item.name} was packed for a worker")
        item.future.set_running_or_notify_cancel()
        item.future.settle(error=error)
        try:
            return item.future
        finally:
            del item  # the traceback refers to this frame: such a circle would keep large arrays for a while
    item.size = sum(map(len, parts))
    until = math.inf if options.deadline is None else clock.ticks() + options.deadline
    desk.admit(item.size, wait=wait, until=until)
    try:
        item.payload, item.slot = store(parts, desk.arena)
    except BaseException:
        desk.give_up(item.size)
        raise
    item.deadline = None if options.deadline is None else until
    desk.submit(item)
    return item.future
