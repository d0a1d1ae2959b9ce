"""``Batch``: how the calls of a function of many items are taken apart and put together."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any, Literal, cast

import msgspec

from mlcache import units
from mlcache.call import Parameters
from mlcache.entry import Span
from mlcache.errors import ConfigurationError
from mlcache.sizes import size_of

OfItem = Callable[[Any], Any]


class Batch:
    """How a function of many items is cached and called.

    Args:
        items: the name of the parameter that takes the items: a list, a tuple, a numpy array, a torch
            tensor, or a pandas Series or DataFrame, whose items are its rows.
        max_size: items that one call of the function gets at most.
        max_wait: how long ``one`` waits for company where no batch is under way: seconds, or text
            such as ``"5ms"``. While one is under way, items gather anyway.
        axis: of arrays and tensors, along which the items lie. None: the first.
        max_bytes: bytes of items that one call gets at most, or text such as ``"16MiB"``; a single item
            may have more.
        cost: a function of an item: what it adds to ``max_cost``.
        max_cost: what the items of one call may cost at most together.
        bucket: only items with the same bucket are put into one batch by ``one``: a function of an
            item, or ``"shape"``, for items with a shape or a length.
        collate: makes what the function takes of a list of items that were passed to ``one``; the
            place for padding. None: what the function's annotation and ``axis`` say, else a list.
        tenant: a function of an item passed to ``one``; tenants take turns.
        timeout: how long an item passed to ``one`` may wait for its batch to begin.
        concurrency: batches of ``one``, or calls of ``warm``, that may run at a time. None: the workers of
            the pool, else 1.
        isolate: whether a batch of ``one`` that fails is tried once more item by item, so that a bad
            item fails alone.
        progress: whether long calls show a progress bar; None: where a person watches.

    Raises:
        ConfigurationError: an argument is none of these.
    """

    def __init__(  # noqa: PLR0913 - ``ml_cache`` stays short thanks to these
        self,
        items: str,
        *,
        max_size: int | None = None,
        max_wait: Span = 0,
        axis: int | None = None,
        max_bytes: int | str | None = None,
        cost: Callable[[Any], float] | None = None,
        max_cost: float | None = None,
        bucket: OfItem | Literal["shape"] | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        tenant: OfItem | None = None,
        timeout: Span | None = None,
        concurrency: int | None = None,
        isolate: bool = True,
        progress: bool | None = None,
    ) -> None:
        if not isinstance(items, str) or not items.isidentifier():
            raise ConfigurationError(f"items is {items!r}: give the name of the parameter that takes them")
        if (cost is None) != (max_cost is None):
            raise ConfigurationError("cost and max_cost go together: what an item costs, and what a call may")
        self.items = items
        self.limits = Limits(
            max_size=_count("max_size", max_size),
            max_bytes=None if max_bytes is None else units.size(max_bytes, what="max_bytes"),
            cost=_function("cost", cost),
            max_cost=_above_zero("max_cost", max_cost),
        )
        self.max_wait = units.seconds(max_wait, what="max_wait") if units.read_seconds(max_wait) != 0 else 0.0
        self.axis = _axis(axis)
        self.bucket = shape_of if bucket == "shape" else _function("bucket", bucket, "'shape', ")
        self.collate = _function("collate", collate)
        self.tenant = _function("tenant", tenant)
        self.timeout = None if timeout is None else units.seconds(timeout, what="timeout")
        if self.timeout is not None and self.timeout <= self.max_wait:
            raise ConfigurationError(
                f"timeout is {timeout!r} and max_wait {max_wait!r}: an item that waits for company would be "
                "too late for its batch; make timeout longer than max_wait"
            )
        self.concurrency = _count("concurrency", concurrency)
        self.isolate = _flag("isolate", isolate)
        self.progress = None if progress is None else _flag("progress", progress)

    def __repr__(self) -> str:
        given = {**msgspec.structs.asdict(self.limits), **vars(self)}
        del given["items"], given["limits"]
        shown = {name: value for name, value in given.items() if value is False or value not in (None, 0)}
        if self.isolate:
            del shown["isolate"]
        return f"Batch({self.items!r}{''.join(f', {name}={value!r}' for name, value in shown.items())})"


class Limits(msgspec.Struct, frozen=True):
    """What one call of the function gets at most; see ``Batch``."""

    max_size: int | None = None
    max_bytes: int | None = None
    cost: Callable[[Any], float] | None = None
    max_cost: float | None = None

    @property
    def weighs(self) -> bool:
        """Whether items have to be looked at one by one."""
        return self.max_bytes is not None or self.cost is not None

    def weight(self, item: Any) -> tuple[float, float]:
        """The bytes and the cost of an item, each as a share of what a call may have."""
        bytes_ = size_of(item) / self.max_bytes if self.max_bytes is not None else 0.0
        cost = self.cost(item) / cast("float", self.max_cost) if self.cost is not None else 0.0
        return bytes_, cost


def as_batch(batch: Any) -> Batch:
    """What was given for ``batch``, as a ``Batch``.

    Raises:
        ConfigurationError: it is neither a name nor a ``Batch``.
    """
    if isinstance(batch, Batch):
        return batch
    if isinstance(batch, str):
        return Batch(batch)
    raise ConfigurationError(f"batch is {batch!r}: give the name of the items parameter, or Batch('texts')")


def check_parameter(name: str, parameters: Parameters, ignored: Container[str]) -> None:
    """Refuse a parameter that cannot hold the items of a batch.

    Raises:
        ConfigurationError: the function has none called ``name``, or it is no single one, or ignored.
    """
    parameters.check("batch", [name])
    if parameters.is_collecting(name):
        raise ConfigurationError(
            f"batch names {name!r}, which collects arguments: name a parameter that takes a list or array"
        )
    if name in ignored:
        raise ConfigurationError(f"{name!r} holds the items of the batch and is in ignore: it must count")


def shape_of(item: Any) -> object:
    """The shape of an item, or else its length; None where it has neither."""
    shape = getattr(item, "shape", None)
    if shape is not None:
        return tuple(shape)
    return len(item) if isinstance(item, Sequence) else None


def _count(what: str, number: Any) -> int | None:
    if number is None or (isinstance(number, int) and not isinstance(number, bool) and number > 0):
        return number
    raise ConfigurationError(f"{what} is {number!r}: give a whole number above 0, or None")


def _above_zero(what: str, number: Any) -> float | None:
    if number is None or (isinstance(number, int | float) and not isinstance(number, bool) and number > 0):
        return number
    raise ConfigurationError(f"{what} is {number!r}: give a number above 0, or None")


def _axis(axis: Any) -> int | None:
    if axis is None or (isinstance(axis, int) and not isinstance(axis, bool)):
        return axis
    raise ConfigurationError(f"axis is {axis!r}: give the number of the axis along which the items lie")


def _function(what: str, function: Any, others: str = "") -> Any:
    if function is None or callable(function):
        return function
    raise ConfigurationError(f"{what} is {function!r}: give {others}a function, or None")


def _flag(what: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ConfigurationError(f"{what} is {value!r}: give True or False")
