"""``mlcache bench``: compare backends on known workloads, on a recorded trace or on your own function."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlcache.cli import files, given, traces
from mlcache.errors import ConfigurationError

if TYPE_CHECKING:
    from inspect import Signature

    from mlcache.bench.callers import Callers
    from mlcache.bench.runner import Plan, Task
    from mlcache.bench.work import Work
    from mlcache.bench.workloads import Size

Names = list[str] | None


_WITHOUT = {
    "your own function": ("workload", "payload", "zipf", "keys", "length"),
    "a trace": ("workload", "zipf", "keys", "seconds"),
    "known workloads": ("seconds",),
}
"""What is measured, and the options that have no say there."""


def bench(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    function: Annotated[
        str | None, typer.Argument(help="Your function, as package.module:function; with --calls.")
    ] = None,
    *,
    calls_file: Annotated[
        Path | None,
        typer.Option("--calls", metavar="FILE", help="Its calls: JSON lines of args and kwargs, or .npz."),
    ] = None,
    trace: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A recorded trace to replay; may be repeated.")
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option("--backend", "-b", help="As ml_cache takes it; may be repeated.")
    ] = None,
    workload: Annotated[list[str] | None, typer.Option("--workload", "-w", help="May be repeated.")] = None,
    payload: Annotated[list[str] | None, typer.Option("--payload", "-p", help="May be repeated.")] = None,
    callers: Annotated[
        list[str] | None,
        typer.Option(help="1, threads:4, tasks:16 or processes:2; may be repeated."),
    ] = None,
    zipf: Annotated[float, typer.Option(min=0, help="Exponent of Zipf's law.")] = 0.9,
    keys: Annotated[int, typer.Option(min=2, help="Distinct calls.")] = 120,
    length: Annotated[int, typer.Option(min=3, help="Calls in a repetition, a third to warm up.")] = 480,
    repetitions: Annotated[int, typer.Option(min=1, help="Samples of each backend.")] = 7,
    memory: Annotated[
        float, typer.Option(min=0.001, help="Bytes of a memory, as a share of what all answers take in it.")
    ] = 0.25,
    seconds: Annotated[float, typer.Option(min=0, help="How long to compute your function's answers.")] = 60,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all samples there.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report there.")] = None,
) -> None:
    """Compare backends and policies, by turns, and say which fits.

    With no arguments: all workloads, payloads and kinds of callers with the usual backends, in some minutes.
    """
    from mlcache.bench.places import DEFAULTS
    from mlcache.bench.runner import Plan
    from mlcache.bench.workloads import Size

    own = function is not None or calls_file is not None
    _check(context, "your own function" if own else "a trace" if trace else "known workloads")
    given.once(backend=backend, workload=workload, payload=payload, callers=callers, trace=trace)
    files.check(json=json, html=html)
    size = Size(keys=keys, calls=length, repetitions=repetitions, exponent=zipf)
    if own:
        tasks = _own(function, calls_file, callers, seconds)
    elif trace:
        tasks = _recorded(trace, payload, callers, length)
    else:
        tasks = _known(workload, payload, callers, size)
    plan = Plan(tasks, backend or list(DEFAULTS), repetitions, memory)
    _run(plan, json, html, policies=not (own or trace or workload or payload or callers))


def _check(context: typer.Context, measured: str) -> None:
    """Raise where an option was given that has no say in what is measured."""
    if measured == "your own function":
        given.refuse(context, "trace", why="is not for your own function, which has --calls")
    given.refuse(context, *_WITHOUT[measured], why=f"has no say in measuring {measured}")


def _run(plan: Plan, json: Path | None, html: Path | None, *, policies: bool) -> None:
    from rich.console import Console

    from mlcache.bench import document, terminal
    from mlcache.bench.html import page
    from mlcache.bench.policies import study
    from mlcache.bench.runner import run

    console = Console()
    with terminal.bar(plan.replays, console) as progress:
        found = run(plan, progress)
    if policies:
        with console.status("simulating memory policies"):
            found.policies = study()
    terminal.show(found, console)
    if json is not None:
        with files.writing("json", json):
            document.write(found, json)
    if html is not None:
        with files.writing("html", html):
            html.write_text(page(found), encoding="utf-8")
        console.print(f"The report is in {html}")


def _known(workloads: Names, payloads: Names, crowds: Names, size: Size) -> list[Task]:
    from mlcache.bench.scenarios import chosen, default

    if not (workloads or payloads or crowds):
        return default(size)
    return chosen(workloads or [], payloads or [], crowds or [], size)


def _recorded(paths: list[Path], payloads: Names, crowds: Names, length: int) -> list[Task]:
    from mlcache.bench.callers import ONE_ARGUMENT
    from mlcache.bench.workloads import recorded

    work = recorded(traces.recorded(paths).workload, (payloads or ["embedding"])[0], length)
    return _tasks(work, ONE_ARGUMENT, crowds)


def _own(path: str | None, file: Path | None, crowds: Names, seconds: float) -> list[Task]:
    from mlcache.bench.functions import known, load, read_calls
    from mlcache.bench.replay import signature_of

    if path is None or file is None:
        raise ConfigurationError("your own function needs both: package.module:function and --calls FILE")
    function = load(path)
    return _tasks(known(function, read_calls(file), seconds), signature_of(function), crowds)


def _tasks(work: Work, signature: Signature, crowds: Names) -> list[Task]:
    """The work by each of the callers; many wait in full, and so make fewer calls."""
    from mlcache.bench.callers import callers
    from mlcache.bench.runner import Task
    from mlcache.bench.workloads import capped

    def task(who: Callers) -> Task:
        cut = work if who.number == 1 else capped(work, who.number)
        return Task(lambda: cut, who, signature)

    return [task(who) for who in dict.fromkeys(callers(crowd) for crowd in crowds or ["1"])]
