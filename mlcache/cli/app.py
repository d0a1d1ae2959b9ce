"""The commands: each is a plain function whose annotations are its options, registered here by name.

The modules of commands import what is heavy inside their functions, so that ``mlcache --help`` is quick.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from mlcache.cli import bench, compare, serve_demo, simulate

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


def _tell_version(wanted: bool) -> None:  # noqa: FBT001 - as typer calls it
    if not wanted:
        return
    try:
        typer.echo(f"mlcache {version_of('mlcache')}")
    except PackageNotFoundError:
        typer.echo("mlcache, not installed but on the path")
    raise typer.Exit


@app.callback()
def mlcache(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version.")
    ] = False,
) -> None:
    """Compare backends on your own functions and traffic, and see what a cache would save."""


app.command()(bench.bench)
app.command()(compare.compare)
app.command("serve-demo")(serve_demo.serve_demo)
app.command()(simulate.simulate)
