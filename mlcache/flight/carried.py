"""Exceptions that coroutines cannot pass on, and how they get through the flow of a call all the same."""

from __future__ import annotations


class CarriedError(Exception):
    """A StopIteration or GeneratorExit that a cached function raised, on its way to the caller.

    The first becomes a RuntimeError where a coroutine raises it (PEP 479); the second, thrown into a
    coroutine that awaits another one, closes that one before it could land its flight.

    Args:
        error: what was raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"the cached function raised {type(error).__name__}")
        self.error = error


def carried(error: BaseException) -> BaseException:
    """``error``, in a form that coroutines pass on."""
    return CarriedError(error) if isinstance(error, StopIteration | GeneratorExit) else error


def bare(error: Exception) -> BaseException:
    """What was raised, of an ``error`` that may carry it."""
    return error.error if isinstance(error, CarriedError) else error


def is_cancellation(error: BaseException) -> bool:
    """Whether it only ends a computation: ``concurrent.futures`` cancels with an ``Exception``."""
    return type(error).__name__ == "CancelledError"
