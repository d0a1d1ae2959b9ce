"""The ``mlcache`` command. Its commands are functions in the modules here; ``app.py`` names them all."""

from __future__ import annotations

import importlib
import sys

from mlcache.errors import MissingExtraError, MlcacheError


def main() -> None:
    """Run what the command line asks for; an error of mlcache is told in a line, with exit status 1.

    Raises:
        SystemExit: with the exit status.
    """
    try:
        _check_packages()
        from mlcache.cli.app import app

        app(prog_name="mlcache")
    except MlcacheError as error:
        sys.exit(f"mlcache: {error}")


def _check_packages() -> None:
    """Tell what to install where typer or rich is missing."""
    for package in ("rich", "typer"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError("the mlcache command", package, "cli") from error
