"""Pickles that are loaded only if somebody who holds the key wrote them."""

from __future__ import annotations

import importlib
import io
import pickle
import sys
from typing import Any

import msgspec

from mlcache.codec.nodes import Node, Reader, Writer
from mlcache.codec.signer import Signer
from mlcache.entry import Failure
from mlcache.errors import CannotEncodeError, CorruptEntryError

_encode = msgspec.msgpack.Encoder(order="sorted").encode


def write_pickle(value: Any, reason: object, signer: Signer | None, out: Writer) -> Node:
    """The node of a value that has no form of its own.

    Args:
        value: what to pickle.
        reason: why it has no form of its own.
        signer: signs the pickle.
        out: takes the pickle and its out-of-band buffers.

    Raises:
        CannotEncodeError: there is no signer, or the value cannot be pickled.
    """
    if signer is None:
        failed = isinstance(value, Failure)
        instead = "raise exceptions of Python's own types" if failed else "return builtins, arrays and frames"
        raise CannotEncodeError(
            f"the value can be stored only as a pickle ({reason}), and a pickle only where it can be "
            f"signed: set MLCACHE_SECRET to the same secret wherever this cache is used, or {instead}"
        )
    views, versions = _dump(value)
    places = [[out.buffer(view, view.nbytes), view.nbytes] for view in views]
    return [places, versions, signer.sign([_encode([places, versions]), *views])]


def read_pickle(node: Node, signer: Signer | None, source: Reader) -> Any:
    """The value of such a node, its arrays as read-only views of the buffers.

    Raises:
        CorruptEntryError: nobody who has the key wrote it, or it was made with another version of a
            library. Nothing of it has been run.
    """
    if signer is None:
        raise CorruptEntryError("a pickle, and there is no MLCACHE_SECRET to tell whether it may be loaded")
    places, versions, signature = node
    views = [source.buffer(*place) for place in places]
    if not isinstance(views[0].obj, bytes):  # a mapped file, say: nobody may change it once it is verified
        views[0] = memoryview(bytes(views[0]))
    if not signer.verify(signature, [_encode([places, versions]), *views]):
        raise CorruptEntryError("a pickle that was not signed with this MLCACHE_SECRET")
    _compare(versions)
    return pickle.loads(views[0], buffers=views[1:])  # noqa: S301 - the signature has been verified


class _Pickler(pickle.Pickler):
    """Notes the types that it meets."""

    def __init__(self, file: io.BytesIO, buffers: list[pickle.PickleBuffer]) -> None:
        super().__init__(file, 5, buffer_callback=buffers.append)
        self.kinds: set[type] = set()

    def reducer_override(self, value: Any) -> Any:
        self.kinds.add(value if isinstance(value, type) else type(value))
        return NotImplemented


def _dump(value: Any) -> tuple[list[memoryview], dict[str, str]]:
    file = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    pickler = _Pickler(file, buffers)
    try:
        pickler.dump(value)
        return [file.getbuffer(), *(buffer.raw() for buffer in buffers)], _versions(pickler.kinds)
    except Exception as error:
        name = type(value).__qualname__
        raise CannotEncodeError(f"a value of type {name} cannot be pickled: {error}") from error


def _versions(kinds: set[type]) -> dict[str, str]:
    """The versions of the packages that the types come from, as what a pickle means depends on them."""
    packages = {kind.__module__.partition(".")[0] for kind in kinds}
    versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in packages}
    return {name: str(version) for name, version in versions.items() if isinstance(version, str)}


def _compare(versions: dict[str, str]) -> None:
    for name, written in versions.items():
        here = getattr(importlib.import_module(name), "__version__", None)
        if str(here) != written:
            raise CorruptEntryError(f"a pickle made with {name} {written}, and here is {here}")
