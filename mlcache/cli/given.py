"""What was given on the command line: an option that would have no say is refused rather than dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import typer

from mlcache.errors import ConfigurationError


def refuse(context: typer.Context, *names: str, why: str) -> None:
    """Raise where one of the options was given.

    Args:
        context: of the command.
        names: of its parameters.
        why: what stands in the way, to follow the option's name.

    Raises:
        ConfigurationError: one was given.
    """
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigurationError(f"{_flag(context, name)} {why}: leave it out")


def once(**lists: Iterable[object] | None) -> None:
    """Raise where an option that may be repeated was given the same twice.

    Args:
        lists: what was given, by the name of the option.

    Raises:
        ConfigurationError: something was given twice.
    """
    for option, values in lists.items():
        for value, count in Counter("".join(str(each).split()) for each in values or ()).items():
            if count > 1:
                raise ConfigurationError(f"--{option} {value} is given twice: once is enough")


def _flag(context: typer.Context, name: str) -> str:
    """What the option of a parameter is called, in full."""
    options = [each.opts for each in context.command.params if each.name == name]
    return max(options[0], key=len)
