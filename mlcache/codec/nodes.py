"""What the functions that write and read one kind of value are given."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, TypeVar

Node: TypeAlias = Any
"""A plain scalar, or ``[tag, ...]``. One that was read may be anything: it is checked where it is used."""

Kind = TypeVar("Kind")


class NeedsPickleError(Exception):
    """A value that has no form of its own here; it never leaves the codec."""


def expect(value: Any, kind: type[Kind]) -> Kind:
    """``value``, which must be of the type ``kind``.

    Frames may be of somebody else's making: a range, say, where a list belongs, would be short to
    write and could be endless to take in.

    Raises:
        ValueError: it is of another type.
    """
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__qualname__} stands where a {kind.__qualname__} belongs")  # noqa: TRY004 - not a caller's mistake
    return value


def expect_shape(value: Any) -> tuple[int, ...]:
    """``value``, which must be a list of lengths.

    A negative one, which NumPy takes for one to be inferred, is none.

    Raises:
        ValueError: it is something else.
    """
    shape = tuple(expect(value, list))
    for length in shape:
        if type(length) is not int or length < 0:
            raise ValueError(f"{value!r} stands where a shape belongs")
    return shape


class Writer(Protocol):
    """Takes values apart."""

    plain: frozenset[type]
    """The types whose values are nodes as they are."""

    def node(self, value: Any) -> Node:
        """The node that stands for ``value``."""
        ...

    def buffer(self, data: Any, size: int) -> int:
        """Takes ``size`` bytes of contiguous ``data`` in; where they will begin among the buffers."""
        ...

    def claim(self, size: int) -> None:
        """Says that reading will take ``size`` bytes that are not in the buffers."""
        ...


class Reader(Protocol):
    """Puts values together."""

    def value(self, node: Node) -> Any:
        """What ``node`` stands for."""
        ...

    def buffer(self, offset: int, size: int) -> memoryview:
        """``size`` bytes from ``offset`` on."""
        ...

    def claim(self, size: int) -> None:
        """Says that a value is about to take ``size`` bytes that are not in the buffers."""
        ...
