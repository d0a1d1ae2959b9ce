"""Signatures of what would run code when it is read."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from mlcache.errors import ConfigurationError

KEY_BYTES = 32
MIN_KEY_BYTES = 16


class Signer:
    """Signs bytes with a secret key, by HMAC-SHA-256 (RFC 2104).

    Args:
        key: at least 16 secret bytes. Whoever has them can have any code run where they are used.

    Raises:
        ConfigurationError: the key is too short to be a secret.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ConfigurationError(
                f"a signing key of {len(key)} bytes can be guessed: use at least {MIN_KEY_BYTES}, "
                f'such as python -c "import secrets; print(secrets.token_hex())" makes'
            )
        # A secret may be used for something else too: signatures made there are none here.
        self._key = hmac.digest(key, b"mlcache.codec.Signer", "sha256")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Signer:
        """The signer whose key is in the file at ``path``, which is made if it is not there.

        However many processes come first at the same time, all get the same key.

        Raises:
            ConfigurationError: the file cannot be made or read, is no key, belongs to somebody
                else or is open to others.
        """
        file = Path(path)
        try:
            if not file.exists():
                _create_key(file)
            return cls(_read_key(file))
        except OSError as error:
            raise ConfigurationError(f"the signing key {file} cannot be made or read: {error}") from error

    def sign(self, parts: Iterable[bytes | memoryview]) -> bytes:
        """32 bytes that nobody can make for other parts without the key."""
        state = hmac.new(self._key, digestmod="sha256")
        for part in parts:
            state.update(part)
        return state.digest()

    def verify(self, signature: bytes, parts: Iterable[bytes | memoryview]) -> bool:
        """Whether ``signature`` is that of ``parts``, told in a time that gives nothing of it away."""
        return hmac.compare_digest(signature, self.sign(parts))


def _create_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(draft, "xb", opener=_open_private) as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces the key of somebody who was faster.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _read_key(path: Path) -> bytes:
    with open(path, "rb", opener=_open_itself) as file:
        _check_status(path, os.fstat(file.fileno()))
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"{path} is no signing key, as it does not hold {KEY_BYTES} bytes: remove it, and one is made"
        )
    return key


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open_itself(path: str, flags: int) -> int:
    # Follows no link, and does not wait at a pipe.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _check_status(path: Path, status: os.stat_result) -> None:
    if not hasattr(os, "geteuid"):  # Windows, where the user's folder keeps others out
        return
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise ConfigurationError(
            f"the signing key {path} is no file of the user {os.geteuid()}: use one that is"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigurationError(
            f"the signing key {path} is open to others: remove it, and a new one is made, "
            f"or run chmod 600 on it if nobody can have read it"
        )
