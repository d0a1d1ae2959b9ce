"""How a call comes into a pool: packed, copied and handed to the desk, in the caller's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from mlcache import clock
from mlcache.errors import PoolClosedError
from mlcache.offload import functions, passing, transport
from mlcache.offload.arena import as_message, store
from mlcache.offload.blame import unsendable
from mlcache.offload.item import CallFuture, Item, name_of
from mlcache.threads import start

if TYPE_CHECKING:
    from mlcache.offload.desk import Desk
    from mlcache.offload.engine import CallOptions
    from mlcache.offload.plan import Plan


def take_in(
    plan: Plan,
    desk: Desk,
    options: CallOptions,
    call: tuple[Callable[..., Any], Any, Any],
    *,
    wait: bool,
    later: object = None,
) -> CallFuture:
    """Take a call in, whose arguments are copied when this returns, unless that is done ``later``.

    Args:
        plan: of the pool.
        desk: of the pool.
        options: of the call.
        call: function, positional arguments, and keyword arguments.
        wait: whether the call waits for room if there is none.
        later: if it is not None, the call waits but this thread does not: another one copies the
            arguments once there is room. Until then this object is held, lest the pool end.

    Raises:
        PoolFullError: there is no room for it.
        PoolClosedError: the pool is closed.
        TypeError: the call passes what the pool does.
    """
    function, args, kwargs = call
    if plan.resources:
        passing.warn_of_misspelt(function, plan.resources)
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
    if item.names:
        passing.check_passed(function, item.names, args, kwargs)
    item.size = sum(map(len, parts))
    if options.deadline is not None:
        item.deadline = clock.ticks() + options.deadline  # type: ignore[operator] # it is in seconds by now
    if (payload := as_message(parts, item.size)) is not None:
        item.payload = payload
        if desk.submit(item, admitted=False):
            return item.future
    if desk.admit(item) or (wait and _wait_for_room(desk, item, parts, later)):
        _bring_in(desk, item, parts)
    elif not wait:
        raise desk.full_error()
    return item.future


def _wait_for_room(desk: Desk, item: Item, parts: list[transport.Buffer], later: object) -> bool:
    """Whether there is room at last; if not, the call has been answered, or is brought in ``later``.

    Raises:
        PoolClosedError: the pool was closed meanwhile.
    """
    if later is not None:
        return desk.admit(item, partial(_have_brought, later, desk, item, parts))
    turn: SimpleQueue[bool] = SimpleQueue()
    try:
        if desk.admit(item, partial(turn.put, True)):  # noqa: FBT003 - its signature
            return True
        item.future.add_done_callback(lambda _: turn.put(False))  # noqa: FBT003 - as above
        admitted = turn.get()
    except BaseException:
        if not desk.leave(item) and not turn.empty() and turn.get_nowait():
            desk.give_up(item)
        raise
    if not admitted and isinstance(error := item.future.exception(), PoolClosedError):
        raise error
    return admitted


def _bring_in(desk: Desk, item: Item, parts: list[transport.Buffer]) -> None:
    """Copy the arguments of a call for which there is room, and queue it."""
    try:
        item.payload, item.slot = store(parts, desk.arena)
    except BaseException:
        desk.give_up(item)
        raise
    desk.submit(item)


def _have_brought(held: object, desk: Desk, item: Item, parts: list[transport.Buffer]) -> None:
    """Have a thread copy the arguments, as whoever made room for them may have no time for that."""
    work = partial(_bring_in_quietly, held, desk, item, parts)
    try:
        start("ship", work)
    except RuntimeError:  # the program ends, and those threads take nothing any more
        threading.Thread(target=work, name="mlcache-ship-last", daemon=True).start()


def _bring_in_quietly(_: object, desk: Desk, item: Item, parts: list[transport.Buffer]) -> None:
    try:
        _bring_in(desk, item, parts)
    except Exception as error:  # noqa: BLE001 - it is for who waits for the answer
        desk.fail(item, error.with_traceback(None))  # which would hold the call, and that the error: a circle
