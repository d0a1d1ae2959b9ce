"""How single items become what a function of many items takes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np

from mlcache.batch.items import kind_of_array, kind_of_sequence
from mlcache.batch.options import Batch
from mlcache.errors import ConfigurationError

Collate = Callable[[list[Any]], Any]
KindOf = Callable[[Any], tuple[Any, ...] | None]


def collate_of(function: Callable[..., Any], batch: Batch) -> Collate:
    """What makes a container of single items: what the user gave, or what the annotation says."""
    if batch.collate is not None:
        return cast("Collate", batch.collate)
    said = _WRAPPERS.sub("", _annotation(function, batch.items))
    for pattern, collate in _BY_ANNOTATION:
        if re.search(pattern, said):
            return partial(collate, axis=batch.axis or 0)
    return list if batch.axis is None else partial(_stack, axis=batch.axis)


def kind_teller(collate: Collate) -> KindOf:
    """What tells of a single item what its container adds to its key, without making that for each.

    It answers None where only the container tells.
    """
    bare = collate.func if isinstance(collate, partial) and not collate.keywords.get("axis") else collate
    return next((tell for known, tell in _KINDS if bare is known), _unknown)


def check_single(count: int, name: str) -> None:
    """Refuse what was passed for a single item, and of which ``collate`` has not made exactly one.

    Args:
        count: items in what it made.
        name: of the parameter that takes them.

    Raises:
        ConfigurationError: there are none, or several.
    """
    if count != 1:
        raise ConfigurationError(
            f"one() takes a single item, and collate made {count} items of it for {name!r}: pass one item, "
            f"such as {name}.iloc[[0]] of a frame, call the function itself for many, or give "
            f"Batch({name!r}, collate=) what makes as many items as its list has"
        )


def _annotation(function: Callable[..., Any], name: str) -> str:
    """The annotation of the parameter ``name``, as text."""
    said: Any = inspect.Parameter.empty
    for evaluated in (True, False):  # what it stands for, or its text where that cannot be found out
        try:
            said = inspect.signature(function, eval_str=evaluated).parameters[name].annotation
        except Exception:  # noqa: BLE001, S112 - evaluating an annotation runs any code
            continue
        break
    if said is inspect.Parameter.empty:
        return ""
    if isinstance(said, type) and not hasattr(said, "__origin__"):
        return f"{said.__module__}.{said.__qualname__}"
    return str(said)


def _stack(items: list[Any], *, axis: int) -> Any:
    if axis == 0 and len(items) == 1:
        return np.asarray(items[0])[None]  # for a tenth of the time
    return np.stack(items, axis=axis)


def _stack_tensors(items: list[Any], *, axis: int) -> Any:
    import torch

    return torch.stack([torch.as_tensor(item) for item in items], dim=axis)


def _series(items: list[Any], *, axis: int) -> Any:  # noqa: ARG001 - as the others
    import pandas as pd

    return pd.Series(items)


def _frame(items: list[Any], *, axis: int) -> Any:  # noqa: ARG001 - as the others
    import pandas as pd

    return pd.concat(items, ignore_index=True)


def _tuple(items: list[Any], *, axis: int) -> Any:  # noqa: ARG001 - as the others
    return tuple(items)


def _kind_of_row(item: Any) -> tuple[Any, ...] | None:
    return kind_of_array(item, 0, item.shape) if type(item) is np.ndarray and item.ndim else None


def _unknown(_item: Any) -> None:
    """What is told of an item whose container any code may make."""


_IN_LIST, _IN_TUPLE = kind_of_sequence(list), kind_of_sequence(tuple)

_KINDS: list[tuple[Callable[..., Any], KindOf]] = [
    (_stack, _kind_of_row),
    (list, lambda _: _IN_LIST),
    (_tuple, lambda _: _IN_TUPLE),
]

_WRAPPERS = re.compile(r"^(((\w+\.)*(Optional|Annotated)\[)|None \| )+")
"""What an annotation may begin with that does not tell what is passed."""

_BY_ANNOTATION: list[tuple[str, Callable[..., Any]]] = [
    (r"^(\w+\.)*(ndarray|NDArray)\b", _stack),
    (r"^(\w+\.)*Tensor\b", _stack_tensors),
    (r"^(\w+\.)*DataFrame\b", _frame),
    (r"^(\w+\.)*Series\b", _series),
    (r"^(\w+\.)*[tT]uple\b", _tuple),
]
"""What an annotation begins with, and what it means. A list is the rule, and is not here."""
