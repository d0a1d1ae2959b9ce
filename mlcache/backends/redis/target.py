"""A Redis as its URL describes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from mlcache import units
from mlcache.backends.address import Address, Check, a_compression, a_count, hide_passwords
from mlcache.errors import ConfigurationError

Kind = Literal["single", "unix", "sentinel", "cluster"]
Node = tuple[str, int]

_KINDS: dict[str, Kind] = {
    "redis": "single",
    "rediss": "single",
    "valkey": "single",
    "valkeys": "single",
    "unix": "unix",
    "redis+unix": "unix",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
SCHEMES = tuple(_KINDS)
_ENCRYPTED = frozenset(("rediss", "valkeys", "rediss+sentinel", "rediss+cluster"))
_PORTS = {"single": 6379, "unix": 0, "sentinel": 26379, "cluster": 6379}


class Tls(msgspec.Struct, frozen=True):
    """How a connection is encrypted. The server's certificate is always verified.

    Args:
        ca_file: certificates of the authorities to trust; None: those of the system.
        cert_file: of this client, where the server asks for one.
        key_file: of that certificate.
        check_hostname: whether the certificate must be made out to the host in the URL.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    check_hostname: bool = True


class Target(msgspec.Struct, frozen=True):
    """Where a Redis is, and how to talk to it. Backends with equal targets share their connections.

    Args:
        kind: what is there.
        nodes: hosts and ports: of the server, of the sentinels, or of some nodes of the cluster.
        path: of the Unix socket.
        service: the name under which the sentinels know the server.
        db: number of the database.
        username: None for the default user.
        password: None for none.
        sentinel_username: the same, for the sentinels themselves.
        sentinel_password: the same, for the sentinels themselves.
        tls: None for an unencrypted connection.
        prefix: begins every key.
        connect_timeout: seconds until a connection must be there.
        timeout: seconds that an answer may keep us waiting.
        breaker: seconds from a failure until the server is tried again; doubles with each try.
        max_connections: how many calls may be under way at once, for a process and for each event loop.
        compress: ``zstd`` to compress what becomes clearly smaller by it; None for nothing.
    """

    kind: Kind = "single"
    nodes: tuple[Node, ...] = (("localhost", 6379),)
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls: Tls | None = None
    prefix: str = "mlcache"
    connect_timeout: float = 0.25
    timeout: float = 0.5
    breaker: float = 1.0
    max_connections: int = 64
    compress: str | None = None

    @classmethod
    def of(cls, address: Address) -> Target:
        """The target that a URL describes.

        Raises:
            ConfigurationError: it makes no sense; the message does not give its password away.
        """
        kind = _KINDS[address.scheme]
        split = urlsplit(f"//{address.host}")
        path, service, db = _read_path(address, kind)
        given: dict[str, Any] = {
            name: read(text, name) for name, text in address.options if (read := _OPTIONS.get(name))
        }
        return cls(
            kind=kind,
            nodes=(_node(split, _PORTS[kind]), *_more_nodes(address, kind)),
            path=path,
            service=service,
            db=given.pop("db", db),
            username=unquote(split.username) if split.username else None,
            password=unquote(split.password) if split.password else None,
            tls=_read_tls(address, given),
            **given,
        )

    def __str__(self) -> str:
        """Where it is, without any password."""
        if self.kind == "unix":
            return f"redis at {self.path}"
        nodes = ", ".join(f"{host}:{port}" for host, port in self.nodes)
        if self.kind == "sentinel":
            return f"redis {self.service!r} by sentinels at {nodes}"
        return f"redis cluster at {nodes}" if self.kind == "cluster" else f"redis at {nodes}"

    def __repr__(self) -> str:
        return f"<Target {self}>"


def _read_path(address: Address, kind: Kind) -> tuple[str, str, int]:
    """The path of a Unix socket, the service of sentinels and the database's number."""
    if kind == "unix":
        if not address.path.strip("/"):
            raise ConfigurationError(f"{address.scheme} needs the socket's path: unix:///run/redis.sock")
        return address.path, "", 0
    parts = [part for part in address.path.split("/") if part]
    shown = hide_passwords(address.path)  # it may hold one with a / that is not encoded
    service = ""
    if kind == "sentinel":
        if not parts:
            raise ConfigurationError(
                f"{address.scheme} needs the service's name: {address.scheme}://host:26379/mymaster"
            )
        service = parts.pop(0)
    if len(parts) > 1:
        raise ConfigurationError(
            f"{address.scheme} takes the number of one database as its path, and there is {shown!r}"
        )
    db = _a_number(hide_passwords(parts[0]), "the database in the path") if parts else 0
    if kind == "cluster" and db:
        raise ConfigurationError("a Redis cluster has the database 0 alone: leave it out of the path")
    return "", service, db


def _more_nodes(address: Address, kind: Kind) -> list[Node]:
    given = [text for name, text in address.options if name == "node"]
    if given and kind in ("single", "unix"):
        raise ConfigurationError("node is for redis+sentinel and redis+cluster: a single Redis has no other")
    return [_node(urlsplit(f"//{text}"), _PORTS[kind]) for text in given]


def _node(split: SplitResult, default_port: int) -> Node:
    try:
        return split.hostname or "localhost", split.port or default_port
    except ValueError:
        # What stands there may be a piece of a password, so it is not shown.
        raise ConfigurationError(
            "the port in the URL of a Redis is no number from 1 to 65535; "
            "in a user's name or password, write : / @ , ? # and % percent-encoded, such as %2F"
        ) from None


def _read_tls(address: Address, given: dict[str, Any]) -> Tls | None:
    files = {name: given.pop(name) for name in Tls.__struct_fields__ if name in given}
    if address.scheme in _ENCRYPTED:
        return Tls(**files)
    if files:
        raise ConfigurationError(
            f"{', '.join(files)} is for encrypted connections: use rediss in place of {address.scheme}"
        )
    return None


def _a_number(text: str, what: str) -> int:
    if not text.isdecimal():
        raise ConfigurationError(f"{what} is {text!r}: give a number, 0 or more")
    return int(text)


def _seconds(text: str, what: str) -> float:
    return units.seconds(text, what=what)


def _truth(text: str, what: str) -> bool:
    choices = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in choices:
        raise ConfigurationError(f"{what} is {text!r}: give yes or no")
    return choices[text.lower()]


def _text(text: str, what: str) -> str:
    if not text or re.search(r"\s", text):
        raise ConfigurationError(f"{what} must be neither empty nor with spaces in it")
    return text


_OPTIONS: Mapping[str, Callable[[str, str], Any]] = {
    "prefix": _text,
    "connect_timeout": _seconds,
    "timeout": _seconds,
    "breaker": _seconds,
    "max_connections": a_count,
    "compress": a_compression,
    "db": _a_number,
    "ca_file": _text,
    "cert_file": _text,
    "key_file": _text,
    "check_hostname": _truth,
    "sentinel_username": _text,
    "sentinel_password": _text,
}

OPTIONS: Mapping[str, Check] = {**_OPTIONS, "node": _text}
"""By name, the check of each option of a URL."""
