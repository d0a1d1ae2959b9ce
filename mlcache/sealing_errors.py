"""Copies of kept exceptions: whoever is raised one has it for himself."""

from __future__ import annotations

import contextlib
import copy
from typing import Any, TypeVar

Error = TypeVar("Error", bound=BaseException)


def copy_of_error(error: Error) -> Error:
    """An exception like ``error``, without its traceback, which the raising of either writes to.

    Its arguments and notes, and for a group its members, are copies, too; its cause and its context are
    those of ``error``. What cannot be copied is given back as it is.
    """
    try:
        copied: Error = _copy(error)
    except Exception:  # noqa: BLE001 - copying runs the code of any class
        return error
    if "__notes__" in vars(error):
        copied.__notes__ = list(error.__notes__)
    copied.__cause__, copied.__context__ = error.__cause__, error.__context__
    copied.__suppress_context__ = error.__suppress_context__
    return copied.with_traceback(None)


def _copy(error: BaseException) -> Any:
    if isinstance(error, BaseExceptionGroup):
        group = error.derive([copy_of_error(member) for member in error.exceptions])
        if type(group) is not type(error):  # a subclass that leaves deriving to its base
            return copy.copy(error)
        vars(group).update(vars(error))
        return group
    try:
        copied = copy.copy(error)
    except TypeError:  # its class takes other arguments than it keeps as ``args``
        copied = type(error).__new__(type(error), *error.args)
        vars(copied).update(vars(error))
    with contextlib.suppress(Exception):
        copied.args = copy.deepcopy(error.args)
    return copied
