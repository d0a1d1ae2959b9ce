"""What can be said of a pool from outside: its metrics and its health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlcache.offload.health import Health
from mlcache.offload.metrics import Meter, PoolMetrics, WorkerMetrics

if TYPE_CHECKING:
    from mlcache.offload.plan import Plan
    from mlcache.offload.supervisor import Supervisor


def metrics(supervisor: Supervisor | None) -> PoolMetrics:
    """What a pool has done; nothing yet, if it has not started."""
    if supervisor is None:
        return PoolMetrics(**Meter().fields(), queued=0, queued_bytes=0, shared_memory=0, workers=())
    desk = supervisor.desk
    with desk.lock:
        desk.clear_taken_back()
        members = sorted(desk.members.values(), key=lambda member: (member.slot, member.number))
        return PoolMetrics(
            **desk.meter.fields(),
            queued=len(desk.queue),
            queued_bytes=desk.queue.bytes,
            shared_memory=desk.arena.held + sum(member.room_size for member in members),
            workers=tuple(
                WorkerMetrics(
                    slot=member.slot,
                    pid=member.pid,
                    state=member.state,
                    calls=member.calls,
                    memory=member.held,
                    restarts=max(supervisor.staff.starts[member.slot] - 1, 0),
                )
                for member in members
            ),
        )


def health(plan: Plan, supervisor: Supervisor | None, *, closed: bool) -> Health:
    """How a pool is. One that has not started yet is alive, and not ready."""
    if closed:
        return Health(alive=False, ready=False, degraded=True, reasons=("the pool is closed",))
    if supervisor is None:
        why = "it has not started: it does at the first call, or by start()"
        return Health(alive=True, ready=False, degraded=False, reasons=(why,))
    if not supervisor.thread.is_alive():
        return Health(alive=False, ready=False, degraded=True, reasons=("its supervisor has ended",))
    desk = supervisor.desk
    with desk.lock:
        desk.clear_taken_back()
        ready = sum(member.state in ("idle", "busy") for member in desk.members.values())
        broken, reason = desk.backoff.is_broken, desk.backoff.reason
        full = not desk.queue.has_room(0)
    reasons = [f"{ready} of {plan.workers} workers are ready"] * (ready < plan.workers)
    if reason is not None:
        reasons.append(f"workers cannot be started: {reason}")
    if full:
        reasons.append("the queue is full")
    alive = ready > 0 or not broken
    return Health(alive=alive, ready=ready > 0, degraded=bool(reasons), reasons=tuple(reasons))
