"""A function of many items, where workers can import it."""

from __future__ import annotations

import os
from typing import Any


def embed_many(texts: list[str], *, model: Any = None) -> list[tuple[str, int, int]]:
    return [(text.upper(), os.getpid(), model["process"]) for text in texts]
