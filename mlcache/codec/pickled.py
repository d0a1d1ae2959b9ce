"""Pickles that are loaded only if somebody who holds the key wrote them."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import pickle
import secrets
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlcache.codec.nodes import Node, Reader, Writer
from mlcache.errors import CannotEncodeError, ConfigurationError, CorruptEntryError

KEY_BYTES = 32
MIN_KEY_BYTES = 16


class Signer:
    """Signs bytes with a secret key, by keyed BLAKE2b (RFC 7693).

    Args:
        key: at least 16 secret bytes. Whoever has them can have any code run where they are used.

    Raises:
        ConfigurationError: the key is too short to be a secret.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            msg = (
                f"a signing key of {len(key)} bytes can be guessed: use at least {MIN_KEY_BYTES}, "
                f'such as python -c "import secrets; print(secrets.token_hex())" makes'
            )
            raise ConfigurationError(msg)
        self._key = hashlib.blake2b(key, digest_size=KEY_BYTES, person=b"mlcache.Signer").digest()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Signer:
        """The signer whose key is in the file at ``path``, which is made if it is not there.

        However many processes come first at the same time, all get the same key.

        Raises:
            ConfigurationError: the file is no key, belongs to somebody else or can be read by others.
        """
        file = Path(path)
        if not file.exists():
            _create_key(file)
        return cls(_read_key(file))

    def sign(self, parts: Iterable[bytes | memoryview]) -> bytes:
        """32 bytes that nobody can make for other parts without the key."""
        state = hashlib.blake2b(digest_size=32, key=self._key)
        for part in parts:
            state.update(part)
        return state.digest()

    def verify(self, signature: bytes, parts: Iterable[bytes | memoryview]) -> bool:
        """Whether ``signature`` is that of ``parts``, told in a time that does not say how much of it is."""
        return hmac.compare_digest(signature, self.sign(parts))


def _create_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces the key of somebody who was faster.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _read_key(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        msg = f"the signing key {path} cannot be opened: {error.strerror}"
        raise ConfigurationError(msg) from error
    with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        _check_key_file(path, os.fstat(handle))
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        msg = f"{path} is no signing key, as it does not hold {KEY_BYTES} bytes: remove it, and a new one is made"
        raise ConfigurationError(msg)
    return key


def _check_key_file(path: Path, status: os.stat_result) -> None:
    if not hasattr(os, "geteuid"):  # Windows: the user's folder keeps others out
        return
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        msg = f"the signing key {path} is no file of the user {os.geteuid()}: use one that is"
        raise ConfigurationError(msg)
    if stat.S_IMODE(status.st_mode) & 0o077:
        msg = f"the signing key {path} is open to others: run chmod 600 on it, or remove it if they may have read it"
        raise ConfigurationError(msg)


def write_pickle(value: Any, reason: object, signer: Signer | None, out: Writer) -> Node:
    """The node of a value that has no form of its own.

    Args:
        reason: why it has none.

    Raises:
        CannotEncodeError: there is no signer, or the value cannot be pickled.
    """
    if signer is None:
        msg = (
            f"the value can be stored only as a pickle ({reason}), and pickles only where they can be signed: set "
            f"MLCACHE_SECRET to the same secret wherever this cache is read, or return arrays, frames and builtins"
        )
        raise CannotEncodeError(msg)
    views = [memoryview(data) for data in _dump(value)]
    places = [[out.buffer(view, view.nbytes), view.nbytes] for view in views]
    return [places, signer.sign([msgspec.msgpack.encode(places), *views])]


def _dump(value: Any) -> list[bytes | memoryview]:
    buffers: list[pickle.PickleBuffer] = []
    try:
        data = pickle.dumps(value, 5, buffer_callback=buffers.append)
    except Exception as error:
        msg = f"a value of type {type(value).__qualname__} cannot be pickled: {error}"
        raise CannotEncodeError(msg) from error
    return [data, *(buffer.raw() for buffer in buffers)]


def read_pickle(node: Node, signer: Signer | None, source: Reader) -> Any:
    """The value of such a node, its arrays as read-only views of the buffers.

    Raises:
        CorruptEntryError: nobody who has the key wrote it; nothing of it has been run.
    """
    if signer is None:
        msg = "a pickle, and there is no MLCACHE_SECRET to tell whether it may be loaded"
        raise CorruptEntryError(msg)
    places, signature = node
    views: Sequence[memoryview] = [source.buffer(*place) for place in places]
    if not signer.verify(signature, [msgspec.msgpack.encode(places), *views]):
        msg = "a pickle that was not signed with this MLCACHE_SECRET"
        raise CorruptEntryError(msg)
    return pickle.loads(views[0], buffers=views[1:])  # noqa: S301 - the signature has been verified
