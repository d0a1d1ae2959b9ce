"""Files that a command writes at its end: whether that will do is found out before the work begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlcache.errors import ConfigurationError


def check(**files: Path | None) -> None:
    """Find out whether files can be written; what is in them is left as it is.

    Args:
        files: by the name of their option; None where it was not given.

    Raises:
        ConfigurationError: one cannot be written, or is given twice.
    """
    given = {option: file for option, file in files.items() if file is not None}
    for option, file in given.items():
        _try(option, file)
    if len({file.resolve() for file in given.values()}) < len(given):
        raise ConfigurationError(f"{' and '.join(f'--{option}' for option in given)} name the same file")


@contextmanager
def writing(option: str, file: Path) -> Iterator[None]:
    """Tell in a line what keeps the file of an option from being written."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"--{option} {file} cannot be written: {error.strerror}; "
            "give a file in a folder that is there and can be written to"
        ) from error


def _try(option: str, file: Path) -> None:
    with writing(option, file):
        new = not file.exists()
        file.open("ab").close()
        if new:
            file.unlink()
