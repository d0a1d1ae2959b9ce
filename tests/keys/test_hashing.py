"""The hash function under every key, and the choice of it."""

from __future__ import annotations

import array
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache.errors import ConfigurationError, MissingExtraError
from mlcache.keys import digest, hashing

VALUES: list[Any] = [
    1,
    "a",
    bytes(10_000),
    bytearray(5),
    memoryview(b"abcd").cast("H"),
    array.array("d", [1.5]),
    np.arange(10),
    np.zeros((0, 3)),
    np.array(1.5),
    np.zeros((300, 400)).T,
    np.array(["2020"], "M8[s]"),
    np.array(["a"]),
    np.array([1, "a"], object),
]


@pytest.fixture(autouse=True)
def _choose_again() -> Iterator[None]:
    yield
    hashing.choose("xxh3")


def keys() -> list[bytes]:
    return [digest(value) for value in VALUES]


def test_the_choice_changes_every_key() -> None:
    pytest.importorskip("blake3")
    made = [keys()]
    for secret in (None, "one", "other"):
        hashing.choose("blake3", secret)
        assert keys() == keys()
        made.append(keys())
    for same_value in zip(*made, strict=True):
        assert len(set(same_value)) == 4
    assert all(len(key) == 16 for key in made[1])


@pytest.mark.parametrize("name", ["xxh3", "blake3"])
def test_a_stream_of_pieces_is_the_whole(name: str) -> None:
    if name == "blake3":
        pytest.importorskip("blake3")
    hashing.choose(name)
    assert hashing.hash128_stream([b"ab", b"", b"c"]) == hashing.hash128(b"abc")
    assert hashing.hash128_stream(iter([])) == hashing.hash128(b"")


@pytest.mark.parametrize(("name", "secret"), [("md5", None), ("xxh3", "secret"), ("", None)])
def test_another_name_is_refused(name: str, secret: str | None) -> None:
    with pytest.raises(ConfigurationError, match="choose 'xxh3'"):
        hashing.choose(name, secret)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)
    with pytest.raises(MissingExtraError, match=r"mlcache\[blake3\]"):
        hashing.choose("blake3")


PROGRAM = """
import json
import os
import sys
import numpy as np
from mlcache import ml_cache

os.environ |= json.loads(sys.argv[1])
if sys.argv[2] == "without":
    sys.modules["blake3"] = None

def scaled(factor):
    @ml_cache
    def scale(value):
        return factor * value
    return scale

@ml_cache(name="plain")
def plain(value):
    return value

double = scaled(2)
assert [plain(1), plain(1), plain.cache_info().hits, plain.peek(1).value] == [1, 1, 1, 1]
values = [1, "a", np.arange(5), [np.ones((300, 300)).T]]
keys = [f.cache_key(value) for f in (plain, double) for value in values]
print(json.dumps([str(key) for key in keys]))
"""


def run(environment: dict[str, str], package: str = "with") -> subprocess.CompletedProcess[str]:
    """A new process, in which the environment is set after mlcache was imported."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLCACHE_")}
    command = [sys.executable, "-c", PROGRAM, json.dumps(environment), package]
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, env=clean | root, capture_output=True, text=True, check=False)


def test_the_environment_chooses_for_every_key_of_a_process() -> None:
    pytest.importorskip("blake3")
    blake3 = {"MLCACHE_HASH": "blake3"}
    asked: list[dict[str, str]] = [
        {},
        blake3,
        blake3 | {"MLCACHE_SECRET": "the secret of one"},
        blake3 | {"MLCACHE_SECRET": "the secret of two"},
    ]
    made = [run(environment).stdout for environment in [*asked, *asked]]
    assert made[:4] == made[4:]
    assert len({key for keys in made[:4] for key in json.loads(keys)}) == 4 * 8
    assert run({"MLCACHE_HASH": "xxh3", "MLCACHE_SECRET": "the secret of one"}).stdout == made[0]


def test_an_unknown_hash_is_refused_before_any_key_is_made() -> None:
    ended = run({"MLCACHE_HASH": "md5"})
    assert ended.returncode == 1
    assert "ConfigurationError: MLCACHE_HASH is 'md5'" in ended.stderr


def test_blake3_asked_for_and_not_installed_says_how_to_install_it() -> None:
    ended = run({"MLCACHE_HASH": "blake3"}, "without")
    assert ended.returncode == 1
    assert "MissingExtraError: MLCACHE_HASH=blake3 needs the package 'blake3'" in ended.stderr


@pytest.mark.parametrize("secret", [None, "one"])
def test_blake3_hashes_whatever_xxh3_does(secret: str | None) -> None:
    pytest.importorskip("blake3")
    arrays: list[Any] = [np.zeros((0, 3)), np.zeros(2, ">i4"), np.zeros(2, "i4,f8"), np.zeros((4, 6))[::2]]
    made: list[Any] = [
        *(memoryview(array) for array in arrays),
        "é" * 10_000,
        "\ud800" * 10_000,
        np.zeros(3, "S0"),
        np.zeros(3, "i4,f8"),
        np.zeros(3, "g"),
        np.zeros(3, ">g")[::2],
        np.zeros((), "f4"),
    ]
    hashing.choose("blake3", secret)
    assert len({digest(value) for value in made}) == len(made)


def lets_others_run(work: Callable[[], object], tries: int) -> bool:
    """Whether another thread gets its turn in so many ``tries``, where Python takes it from none."""
    turn, ran = threading.Lock(), threading.Event()

    def run() -> None:
        with turn:
            ran.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1_000)
    try:
        with turn:
            other = threading.Thread(target=run)
            other.start()
        found = any((work(), ran.is_set())[1] for _ in range(tries))
    finally:
        sys.setswitchinterval(interval)
    other.join()
    return found


@pytest.mark.parametrize("name", ["xxh3", "blake3"])
@pytest.mark.parametrize("kind", ["array", "bytes"])
def test_other_threads_run_while_much_is_hashed(kind: str, name: str) -> None:
    # What does not lie in a row is read in short pieces, between which Python itself lets others run.
    if name == "blake3":
        pytest.importorskip("blake3")
    hashing.choose(name)
    numbers = np.zeros((2_000, 1_000))
    value = numbers if kind == "array" else numbers.tobytes()
    assert not lets_others_run(lambda: sum(range(10_000)), 100)
    assert lets_others_run(lambda: digest(value), 5_000)  # on a busy machine a turn is soon over
