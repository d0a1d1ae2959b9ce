"""Places: what is filled in, what they can do, and that nothing is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlcache.bench import places
from mlcache.bench.places import Traits, complete, traits
from mlcache.errors import ConfigurationError


@pytest.mark.parametrize(
    ("spec", "urls"),
    [
        ("lru", ["lru?max_bytes=1000"]),
        ("gdsf?max_bytes=1MiB", ["gdsf?max_bytes=1MiB"]),
        ("lru?max_items=3", ["lru?max_items=3"]),
        ("disk", ["disk:///tmp/x/disk"]),
        ("disk?max_bytes=1GiB", ["disk:///tmp/x/disk?max_bytes=1GiB"]),
        ("disk:///var/cache/ml", ["disk:///var/cache/ml"]),
        ("lru, disk", ["lru?max_bytes=1000", "disk:///tmp/x/disk"]),
        ("lfu?max_bytes={bound}, joblib://{folder}/mine", ["lfu?max_bytes=1000", "joblib:///tmp/x/mine"]),
        ("redis://cache:6379/0", ["redis://cache:6379/0"]),
    ],
)
def test_what_a_place_leaves_open_is_filled_in(spec: str, urls: list[str]) -> None:
    assert complete(spec, 1000, "/tmp/x") == urls  # noqa: S108 - nothing is opened


def test_an_unknown_place_is_told() -> None:
    with pytest.raises(ConfigurationError, match="did you mean lru"):
        complete("lruu", 1000, "/nowhere")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("lru", Traits(survives=False, processes=False, hosts=False)),
        ("disk", Traits(survives=True, processes=True, hosts=False)),
        ("gdsf, disk", Traits(survives=True, processes=True, hosts=False)),
    ],
)
def test_what_a_place_can_do_is_tried(spec: str, expected: Traits) -> None:
    assert traits(spec) == expected


@pytest.mark.parametrize(
    ("spec", "hosts"),
    [
        ("redis://cache:6379/0", True),
        ("lru, rediss+cluster://cache:6379", True),
        ("redis+unix:///run/redis.sock", False),
        ("unix:///run/redis.sock", False),
    ],
)
def test_what_is_reached_through_a_socket_in_a_folder_is_of_one_host(
    monkeypatch: pytest.MonkeyPatch, spec: str, *, hosts: bool
) -> None:
    monkeypatch.setattr(places, "complete", lambda *_: ["lru"])  # there is no server to try
    assert traits(spec).hosts is hosts


def test_a_place_that_others_use_is_left_as_it_was(tmp_path: Path) -> None:
    from mlcache.decorator import ml_cache
    from mlcache.stores import open_backend

    url = f"disk://{tmp_path}/shared"
    opened: Any = open_backend(url)
    mine = ml_cache(backend=opened, name="mine")(hex)
    mine(3)
    traits(url)
    assert mine.peek(3) is not None
    assert opened.usage().items == 1
    opened.close()
