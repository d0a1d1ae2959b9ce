"""The small capabilities of backends that are about many keys at once.

Each takes about as long for many as for one. What fails for one key, its error takes the place of its
answer; what is raised is about all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from mlcache.backends.protocol import Decode
from mlcache.entry import Key

T = TypeVar("T")


@runtime_checkable
class Many(Protocol):
    """A backend that can do many lookups, or many writes, in about the time of one."""

    def get_many(self, keys: Sequence[Key]) -> list[Any]:
        """By key, what ``get`` returns, or in its place the error that it would raise."""
        ...

    def put_many(self, items: Sequence[tuple[Any, ...]]) -> list[Exception | None]:
        """By item, which is a tuple of the arguments of ``put``, the error that it would raise, or None."""
        ...


@runtime_checkable
class DeletesMany(Protocol):
    """A backend that can do many deletions in about the time of one."""

    def delete_many(self, keys: Sequence[Key]) -> list[bool | Exception]:
        """By key, what ``delete`` returns, or in its place the error that it would raise."""
        ...


@runtime_checkable
class VerifiesMany(Protocol):
    """``Many`` that remembers which bytes were found whole, as ``Verifies``."""

    def get_many_decoded(self, keys: Sequence[Key], decode: Decode[T]) -> list[T | Exception | None]:
        """By key, what ``get_decoded`` returns, or in its place the error that it would raise."""
        ...


@runtime_checkable
class LocksMany(Protocol):
    """A backend with locks that can take, or let go of, many of them in about the time of one."""

    def acquire_many(self, locks: Sequence[Any]) -> list[bool | Exception]:
        """By lock, which is one that ``lock`` has made, what the first ``acquire`` returns, or its error."""
        ...

    def release_many(self, locks: Sequence[Any]) -> list[Any]:
        """By lock, what ``release`` returns, or its error."""
        ...


@runtime_checkable
class SupersedesMany(Protocol):
    """A backend that can supersede what is computed for many keys in about the time of one."""

    def supersede_many(self, keys: Sequence[Key]) -> list[Exception | None]:
        """As ``supersede`` for each key; by key, the error that it would raise, or None."""
        ...


@runtime_checkable
class SuspendsMany(Protocol):
    """``Many`` that can be awaited. The others of these may have such twins as well."""

    async def get_many_async(self, keys: Sequence[Key]) -> list[Any]:
        """As ``get_many``."""
        ...

    async def put_many_async(self, items: Sequence[tuple[Any, ...]]) -> list[Exception | None]:
        """As ``put_many``."""
        ...
