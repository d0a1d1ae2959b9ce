"""What is kept of a computation: the entry for a value, or for an exception where those are answers, too."""

from __future__ import annotations

import sys
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, cast

from mlcache.backends.tiered import Found
from mlcache.entry import Entry, Failure, Key, Verdict, judge
from mlcache.errors import first_line
from mlcache.flight import Flight
from mlcache.flight.carried import bare, is_cancellation
from mlcache.sealing import Sealed, seal_failure
from mlcache.sizes import walk
from mlcache.steps import Find, Keep, Made, Now
from mlcache.terms import Terms

UNCOPIABLE = "it cannot be copied"
_USED_UP = (GeneratorType, CoroutineType, AsyncGeneratorType)


def make_entry(made: Made, terms: Terms, luck: float = 0.0) -> tuple[Entry, str]:
    """The entry for a computed value, and why it must not be kept; empty if it may.

    Args:
        made: the value.
        terms: of the function.
        luck: drawn between 0 and 1, for the jitter of its lifetime.
    """
    deadline = terms.expiry.deadline(made.value, made.at, luck)
    objection = ""
    if isinstance(made.value, _USED_UP):
        objection = f"{UNCOPIABLE}, and the first caller uses it up: return a list, or use 'async def'"
    elif terms.when is not None and not terms.when(made.value):
        objection = "its 'when' says no"
    elif deadline <= made.at:
        objection = "its time was over when it was made"
    try:
        sealed = terms.seal(made.value)
    except Exception as error:  # noqa: BLE001 - copying runs the code of any class
        sealed = Sealed(made.value, None, 0)
        objection = objection or _why_uncopiable(made.value, error)
    until = (deadline, terms.expiry.stale_until(deadline))
    return Entry(sealed.value, made.at, *until, made.cost, sealed.size, sealed.renew), objection


def _why_uncopiable(value: Any, error: Exception) -> str:
    """The objection to a value that raised ``error`` as it was copied, and the way to keep it."""
    if "torch" in sys.modules and any(map(_has_gradient, walk(value))):
        return (
            f"{UNCOPIABLE}, as a tensor in it holds the graph it was computed by: "
            "compute it under torch.no_grad(), or return its .detach()"
        )
    return f"{UNCOPIABLE} ({first_line(error)}): returns='reference' keeps it without a copy"


def _has_gradient(part: Any) -> bool:
    import torch

    return isinstance(part, torch.Tensor) and part.grad_fn is not None


async def keep_error(
    key: Key,
    error: Exception,
    terms: Terms,
    flight: Flight,
    old: Found | None = None,
) -> None:
    """Keep an exception as the answer, for as long as the terms say, but not in place of one of use.

    Args:
        key: of the call.
        error: what it raised.
        terms: of the function.
        flight: that we lead.
        old: what was found; None: nothing, or nobody has looked.
    """
    if flight.superseded or not span_of(error, terms):
        return
    if old is None:
        old = await Find(key, again=True)
    entry = failure_entry(error, terms, await Now())
    # Beside an answer it is of no account once that is replaced.
    await (Keep(beside(key), entry) if is_of_use(old, terms) else Keep(key, entry, flight))


def span_of(error: Exception, terms: Terms) -> float:
    """Seconds for which an exception is kept; 0 if it is not."""
    raised = bare(error)
    if not isinstance(raised, Exception) or is_cancellation(raised):
        return 0.0
    return terms.expiry.keeps_error(raised)


def failure_entry(error: Exception, terms: Terms, at: float) -> Entry:
    """The entry for an exception that was raised at the time ``at``, and that is kept."""
    raised, until = cast("Exception", bare(error)), at + span_of(error, terms)
    sealed = seal_failure(Failure(raised))
    return Entry(sealed.value, at, until, until, 0.0, sealed.size, sealed.renew)


def is_of_use(old: Found | None, terms: Terms) -> bool:
    """Whether what was found is an answer that an exception must not replace."""
    return old is not None and not isinstance(old.entry.value, Failure) and terms.may_outlive_errors(old)


async def has_failed(key: Key, terms: Terms, old: Found) -> bool:
    """Whether an entry that may be served was not to be computed anew, which is not to be tried again yet."""
    return may_have_failed(terms, old) and rests(await Find(beside(key)), old)


def may_have_failed(terms: Terms, old: Found) -> bool:
    """Whether an exception may be kept beside an entry, in view of which the entry may be served."""
    return bool(terms.expiry.errors) and terms.is_young(old) and terms.may_outlive_errors(old)


def rests(failure: Found | None, old: Found) -> bool:
    """Whether an entry is not to be computed anew yet, in view of what was found beside it."""
    if failure is None or failure.entry.created <= old.entry.created:
        return False
    return judge(failure.entry, failure.at) is Verdict.FRESH


def beside(key: Key) -> Key:
    """Where an exception is kept while there is an old answer to serve, which it must not replace."""
    return Key(key.namespace, bytes((key.digest[0] ^ 0xFF,)) + key.digest[1:])
