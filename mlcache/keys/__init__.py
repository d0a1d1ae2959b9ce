"""From a call to its key: what a value and a function are, in 16 bytes."""

from __future__ import annotations

from mlcache.keys import arrays as _arrays
from mlcache.keys import functions as _functions
from mlcache.keys import standard as _standard
from mlcache.keys.builtin import PLAIN
from mlcache.keys.digest import ENCODERS, KEY_VERSION, digest
from mlcache.keys.identity import Identity, identify
from mlcache.keys.objects import register_key, resolve

__all__ = ["KEY_VERSION", "PLAIN", "Identity", "digest", "identify", "register_key"]

ENCODERS.resolve = resolve
