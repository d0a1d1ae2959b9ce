"""Redis and Valkey as a backend: alone, behind TLS or a Unix socket, by Sentinel, or as a cluster.

* ``target`` reads a URL;
* ``clients`` makes redis-py's clients for a target, and alone imports redis-py;
* ``server`` is what a process has of one Redis: connections, a circuit breaker, a listener, a bell;
* ``subscription`` is a thread that takes what is published, ``listener`` hears by one what other
  processes write and invalidate, and ``bell`` that one of them has let go of a ``lease``;
* ``store`` is the backend.
"""

from __future__ import annotations

from mlcache.backends.address import Address, Defaults, Opener
from mlcache.backends.redis.store import Redis
from mlcache.backends.redis.target import OPTIONS, SCHEMES, Target


def _open(address: Address, _: Defaults) -> Redis:
    return Redis(Target.of(address))


OPENERS = dict.fromkeys(SCHEMES, Opener(_open, OPTIONS, located=True, check=Target.of))
