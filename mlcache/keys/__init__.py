"""From a call to its key: what a value and a function are, in 16 bytes."""

from __future__ import annotations

from mlcache.keys.builtin import PLAIN
from mlcache.keys.digest import KEY_VERSION, digest
from mlcache.keys.identity import Identity, bound_names, identify
from mlcache.keys.objects import register_key
from mlcache.keys.stand_ins import named

__all__ = ["KEY_VERSION", "PLAIN", "Identity", "bound_names", "digest", "identify", "named", "register_key"]
