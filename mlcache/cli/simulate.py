"""``mlcache simulate``: what policies and sizes of stores in memory would have saved for a trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlcache.cli import files, given
from mlcache.cli import traces as named
from mlcache.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from mlcache.trace.reading import Recorded
    from mlcache.trace.workload import Workload


def simulate(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    traces: Annotated[
        list[Path] | None,
        typer.Argument(metavar="TRACE...", help="Files that MLCACHE_TRACE wrote: all those of one service."),
    ] = None,
    *,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="lru, lfu, ttl, gdsf, rr, belady, bound.")
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option("--size", "-s", help="Of the store, as a share of the working set, such as 5%."),
    ] = None,
    ttl: Annotated[str | None, typer.Option(help="How long an answer may be used, such as 1h.")] = None,
    sample: Annotated[float, typer.Option(help="Share of the keys to replay, for large traces.")] = 1.0,
    workload: Annotated[
        str | None,
        typer.Option("--workload", "-w", help="A known pattern in place of a trace: zipf, scan, mixed ..."),
    ] = None,
    zipf: Annotated[float, typer.Option(help="Exponent of Zipf's law in a known pattern.")] = 0.9,
    seed: Annotated[int, typer.Option(help="Of the random numbers of a known pattern.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the work; as many as cores.")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all figures there.")] = None,
) -> None:
    """Replay a trace through policies of stores in memory and sizes of them: what each would have saved.

    The last two columns are no policies to choose: Belady's knows the calls to come, and the bound is what
    none exceeds.
    """
    from rich.console import Console

    from mlcache import units
    from mlcache.simulate import study, terminal

    if workload and traces:
        raise ConfigurationError("give either traces or --workload, a known pattern in place of them")
    if workload:
        given.refuse(context, "sample", why="is for traces, not for --workload")
    else:
        given.refuse(context, "zipf", "seed", why="is for --workload, not for traces")
    files.check(json=json)
    console = Console()
    work = _known(workload, zipf, seed) if workload else _recorded(traces or [], sample, console)
    policies = policy or list(study.POLICIES)
    fractions = [_share(each) for each in size] if size else study.FRACTIONS
    with terminal.bar(len(set(policies)) * len(set(fractions)), console) as advance:
        done = study.simulate(
            work,
            policies=policies,
            fractions=fractions,
            ttl=None if ttl is None else units.seconds(ttl, what="--ttl"),
            jobs=jobs or _cores(),
            advance=advance,
        )
    done = study.scaled(done, sample)
    terminal.show(done, console)
    if json is not None:
        with files.writing("json", json):
            json.write_bytes(study.to_json(done))


def _recorded(paths: list[Path], sample: float, console: Console) -> Workload:
    if not paths:
        raise ConfigurationError("give the files of a trace, which MLCACHE_TRACE makes, or --workload")
    recorded = named.recorded(paths, sample)
    _tell(recorded, console)
    return recorded.workload


def _tell(recorded: Recorded, console: Console) -> None:
    """Say what of the traces is replayed."""
    if recorded.sample != 1:
        console.print(
            f"a sample of {100 * recorded.sample:g} % of the keys is replayed; "
            "calls, keys, bytes and seconds are scaled from it to all of them",
            highlight=False,
        )
    for calls, why in (
        (recorded.unknown, "the trace has no size of their values"),
        (recorded.not_kept, "most values of their keys are not kept"),
    ):
        if calls:
            console.print(f"{round(calls / recorded.sample):,} calls are left out: {why}")


def _known(name: str, exponent: float, seed: int) -> Workload:
    from mlcache.trace.synthetic import Shape, make

    return make(name, Shape(exponent=exponent), seed=seed)


def _share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ConfigurationError(f"--size is {text!r}: give a share of the working set, such as 5%") from None


def _cores() -> int:
    import os

    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len(usable)
