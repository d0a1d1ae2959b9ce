"""Every backend that keeps bytes, as it is and behind its codec, against a plain dict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlcache import open_backend
from mlcache.backends.encoded import Encoded
from mlcache.codec import FrameCodec
from tests.stateful.machine import Open, check

URLS = {
    "disk": "disk://{}/cache",
    "disk by use": "disk://{}/cache?policy=least-recently-used",
    "disk, compressed": "disk://{}/cache?compress=zstd",
    "joblib": "joblib://{}/cache",
    "dogpile": "dogpile://dogpile.cache.memory_pickle",
    "dogpile in a file": "dogpile://dogpile.cache.dbm?arguments.filename={}/cache.dbm",
}


def bare(url: str) -> Open:
    return lambda folder: open_backend(url.format(folder))


def encoded(url: str) -> Open:
    def make(folder: Path) -> Encoded:
        inner: Any = open_backend(url.format(folder))
        return Encoded(inner, FrameCodec(compress=inner.compress))

    return make


@pytest.mark.parametrize("name", ["disk", "disk by use", "joblib", "dogpile", "dogpile in a file"])
def test_a_backend_behaves_as_a_dict(name: str) -> None:
    check(bare(URLS[name]), persistent=name != "dogpile")


@pytest.mark.parametrize("name", ["disk", "disk, compressed", "joblib"])
def test_a_backend_behind_its_codec_behaves_as_a_dict(name: str) -> None:
    check(encoded(URLS[name]), persistent=True)
