"""How a cached function is pickled: by name, or by value where its name does not lead to it in every process.

Only the pickler knows whether it can send a function by value: cloudpickle can, and has to for what a
script or a notebook defines, while pickle cannot. So the choice is left to it: what it is given to pickle
is a function that can be found by a name of its own, ``<name>._contents``, if at all, and that holds in
its closure all there is to the cached function.
"""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable
from typing import Any

import msgspec

from mlcache.actions import Actions
from mlcache.cache import Options
from mlcache.keys import Identity

MOST_ARRIVED = 64
"""Functions that came by value and are held on to, with their caches, for the next time they come."""


class Contents(msgspec.Struct, frozen=True):
    """All there is to a cached function; ``token`` is the same wherever it is sent."""

    token: str
    function: Callable[..., Any]
    options: Options
    identity: Identity
    suspends: bool


_known: weakref.WeakValueDictionary[str, Actions] = weakref.WeakValueDictionary()
_arrived: dict[str, Actions] = {}


def pack(actions: Actions, module: str, name: str) -> Callable[[], Contents]:
    """A function of this ``name`` that returns the contents, and can be pickled by name or by value."""
    actions.token = actions.token or uuid.uuid4().hex
    _known[actions.token] = actions
    packed = msgspec.structs.astuple(
        Contents(actions.token, actions.function, actions.options, actions.identity, actions.suspends)
    )

    def contents() -> Any:
        return packed  # nothing of this module: where it goes by value, there may be another version of it

    contents.__module__, contents.__qualname__ = module, name
    return contents


def unpack(contents: Callable[[], Any]) -> Actions:
    """The parts of what was sent: those that are here, where it was made here or has come before."""
    sent = Contents(*contents())
    here = _known.get(sent.token)
    if here is None:
        made = Actions(sent.function, sent.options, suspends=sent.suspends, identity=sent.identity)
        made.token = sent.token
        here = _known[sent.token] = _arrived.setdefault(sent.token, made)
        while len(_arrived) > MOST_ARRIVED:
            _arrived.pop(next(iter(_arrived)), None)
    return here
