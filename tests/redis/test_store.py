"""What Redis holds: names, deadlines, namespaces, and what of it is nobody else's business."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.exceptions import NoPermissionError

from mlcache import ml_cache, open_backend
from mlcache.backends.protocol import (
    Announces,
    AnyBackend,
    Clears,
    Closes,
    Lists,
    Measures,
    Suspends,
)
from mlcache.backends.protocol_many import DeletesMany, LocksMany, Many, SupersedesMany, SuspendsMany
from mlcache.backends.redis import commands
from mlcache.backends.redis.clients import Link
from mlcache.backends.redis.commands import Commands, errors_of
from mlcache.backends.redis.store import Redis
from mlcache.backends.redis.target import Target
from mlcache.entry import Key
from mlcache.errors import BackendError, EntryTooLargeError
from mlcache.testing import FakeClock
from mlcache.testing.backends import key, payload
from tests.redis.servers import Server
from tests.redis.tls import Authority, Terminator

ROOT = Path(__file__).parents[2]


def opened(url: str) -> Redis:
    backend: AnyBackend = open_backend(url)
    assert isinstance(backend, Redis)
    return backend


@pytest.fixture
def backend(server: Server) -> Iterator[Redis]:
    made = opened(f"{server.url}?timeout=5s")
    yield made
    made.close()


def test_it_can_do_all_that_a_backend_may(backend: Redis) -> None:
    for capability in (Announces, Clears, Closes, Lists, Measures, Suspends):
        assert isinstance(backend, capability)
    for many in (DeletesMany, LocksMany, Many, SupersedesMany, SuspendsMany):
        assert isinstance(backend, many)


def test_a_key_says_whose_it_is(server: Server) -> None:
    backend = opened(f"{server.url}?prefix=shop")
    backend.put(Key("app.f@1", bytes(range(16))), b"x", math.inf)
    assert server.command("KEYS", "*") == [b"shop:app.f@1:000102030405060708090a0b0c0d0e0f"]
    backend.close()


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (10.0, 10_000),
        (0.0015, 2),
        (1e-9, 1),
        (0.0, 1),
        (-60.0, 1),
        (1e9, None),
        (math.inf, None),
        (math.nan, None),
    ],
)
def test_the_server_is_told_when_an_entry_is_dead(left: float, expected: int | None) -> None:
    with FakeClock(start=5e9) as time:  # as far from the server's clock as may be
        ((name, *rest), _) = Commands(Target(), b"me").write((key(1), b"x", time.now() + left))
    assert name == "SET"
    assert rest[2:] == ([] if expected is None else ["PX", expected])


def test_what_is_dead_leaves_the_server(backend: Redis, server: Server) -> None:
    with FakeClock() as time:
        backend.put(key(1), payload(1), time.now() + 100)
        backend.put(key(2), payload(2), math.inf)
        backend.put(key(3), payload(3), time.now() - 100)
    name = f"mlcache:app.f@1:{key(1).digest.hex()}"
    assert 90_000 < server.command("PTTL", name) <= 100_000
    assert server.command("PTTL", name.replace(key(1).digest.hex(), key(2).digest.hex())) == -1
    assert backend.get(key(3)) is None or backend.get(key(3)) == payload(3)
    backend.put(key(1), payload(1), math.inf)
    assert server.command("PTTL", name) == -1


awkward = st.text(st.sampled_from("ab:*?[]\\^-{}<>. \n\u00e9"), min_size=1, max_size=6)


@settings(max_examples=40)
@given(namespaces=st.lists(awkward, min_size=2, max_size=4, unique=True))
def test_namespaces_of_any_letters_are_apart(namespaces: list[str], standing_server: Server) -> None:
    backend = opened(f"redis://127.0.0.1:{standing_server.port}/9?timeout=5s")
    standing_server.command("FLUSHALL")
    for number, namespace in enumerate(namespaces):
        for each in range(number + 1):
            backend.put(key(each, namespace), payload(each), math.inf)
    for number, namespace in enumerate(namespaces):
        assert set(backend.keys(namespace)) == {key(each, namespace) for each in range(number + 1)}
    for number, namespace in enumerate(namespaces):
        assert backend.clear(namespace) == number + 1
        assert backend.count(namespace) == 0
        for other in range(number + 1, len(namespaces)):
            assert backend.count(namespaces[other]) == other + 1
    backend.close()


def test_keys_of_others_are_left_alone(backend: Redis, server: Server) -> None:
    others = [
        "session:1",
        "mlcache",
        "mlcache:app.f@1",
        "mlcache:app.f@1:short",
        f"mlcache:app.f@1:{'g' * 32}",
    ]
    for name in others:
        server.command("SET", name, "theirs")
    with server.client() as client:
        client.mset({f"other:{number}": "theirs" for number in range(2500)})  # more than one batch
    assert backend.put_many([(key(n), b"x", math.inf) for n in range(2500)]) == [None] * 2500
    assert len(list(backend.keys("app.f@1"))) == backend.count("app.f@1") == 2500
    assert backend.clear("app.f@1") == 2500
    assert server.command("DBSIZE") == len(others) + 2500


def test_how_full_it_is_comes_from_the_server(backend: Redis, server: Server) -> None:
    assert backend.usage().items == 0
    assert backend.usage().max_bytes is None
    server.command("CONFIG", "SET", "maxmemory", "100mb")
    try:
        assert backend.usage().max_bytes == 100 * 2**20
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
    assert backend.usage().bytes > 10_000


def test_what_is_larger_than_redis_takes_is_refused_before_it_is_sent(
    backend: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "LARGEST", 1000)
    with pytest.raises(EntryTooLargeError, match="do not fit into the 512 MiB"):
        backend.put(key(1), bytes(1001), math.inf)
    replies = backend.put_many([(key(n), bytes(999 + n), math.inf) for n in range(4)])
    assert [type(reply) for reply in replies] == [
        type(None),
        type(None),
        EntryTooLargeError,
        EntryTooLargeError,
    ]
    assert [found is not None for found in backend.get_many([key(n) for n in range(4)])] == [
        *(True, True, False, False)
    ]


def test_a_large_value_comes_back_whole(backend: Redis) -> None:
    large = bytes(range(256)) * 2**16
    backend.put(key(1), large, math.inf)
    assert backend.get(key(1)) == large
    assert backend.get_many([key(1), key(2)]) == [large, None]


def test_errors_of_many_stand_in_their_places() -> None:
    refused = NoPermissionError("no")
    errors = errors_of([True, refused, 1], [None, EntryTooLargeError("large"), None])
    assert [type(error) for error in errors] == [type(None), EntryTooLargeError, BackendError]
    with pytest.raises(BackendError, match="no"):
        errors_of([True, refused], [None])


def test_a_compressed_value_takes_less_room_and_comes_back(server: Server) -> None:
    sizes = {}
    for option in ("compress=zstd", "timeout=7s"):
        server.command("FLUSHALL")

        @ml_cache(backend=f"{server.url}?{option}")
        def text(number: int) -> str:
            return "the same again and again " * number

        assert text(1000) == text(1000)
        assert text.cache_info().hits == 1
        (name,) = server.command("KEYS", "*")
        sizes[option] = server.command("STRLEN", name)
    assert sizes["compress=zstd"] * 10 < sizes["timeout=7s"]


def test_without_the_package_the_error_says_what_to_install() -> None:
    program = """
import sys
sys.modules["redis"] = None
from mlcache import ml_cache, open_backend
from mlcache.errors import MissingExtraError
f = ml_cache(backend="lru, redis://localhost")(len)  # asks for nothing yet
for use in (lambda: f("x"), lambda: open_backend("redis://localhost")):
    try:
        use()
    except MissingExtraError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    message = "backend 'redis' needs the package 'redis': install it with pip install 'mlcache[redis]'"
    assert done.stdout.splitlines() == [message, message]


def test_redis_is_not_imported_before_it_is_opened() -> None:
    program = """
import sys
from mlcache import ml_cache
ml_cache(backend="lru, redis://localhost:1?timeout=1s")(len)
print("redis" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"


def failure(url: str) -> str:
    """Why the Redis at ``url`` cannot be reached."""
    backend = opened(url)
    try:
        with pytest.raises(BackendError) as caught:
            backend.get(key(1))
        return str(caught.value)
    finally:
        backend.close()


def test_the_certificate_of_the_server_is_verified(
    encrypted: str, standing_terminator: Terminator, authority: Authority
) -> None:
    assert opened(encrypted).get(key(1)) is None
    here = f"rediss://localhost:{standing_terminator.port}?timeout=5s&connect_timeout=5s"
    assert "CERTIFICATE_VERIFY_FAILED" in failure(here)  # signed by nobody that the system knows
    other_name = here.replace("localhost", "127.0.0.1") + f"&ca_file={authority.file}"
    assert "CERTIFICATE_VERIFY_FAILED" in failure(other_name)
    unchecked = opened(other_name + "&check_hostname=no")
    assert unchecked.get(key(1)) is None
    unchecked.close()


async def test_the_certificate_is_verified_on_an_event_loop(
    encrypted: str, standing_terminator: Terminator
) -> None:
    backend = opened(encrypted)
    await backend.put_async(key(1), payload(1), math.inf)
    assert await backend.get_async(key(1)) == payload(1)
    backend.close()
    other = opened(f"rediss://localhost:{standing_terminator.port}?timeout=5s&connect_timeout=5s")
    # Older versions of redis-py give no more than the number of the error.
    with pytest.raises(BackendError, match=r"CERTIFICATE_VERIFY_FAILED|Error 1 connecting"):
        await other.get_async(key(1))
    other.close()


def test_a_client_shows_its_certificate(server: Server, authority: Authority, tmp_path: Path) -> None:
    mine = authority.issue("client")
    with Terminator(server.port, authority.issue("localhost"), authority.file) as terminator:
        url = f"rediss://localhost:{terminator.port}?ca_file={authority.file}&timeout=5s&connect_timeout=5s"
        backend = opened(f"{url}&cert_file={mine}&key_file={mine}")
        backend.put(key(1), payload(1), math.inf)
        assert backend.get(key(1)) == payload(1)
        backend.close()
        assert "does not answer" in failure(url)
    _ = tmp_path


def test_functions_with_the_same_server_share_its_connections(server: Server) -> None:
    def functions() -> Iterator[Any]:
        for number in range(6):

            @ml_cache(backend=f"{server.url}?timeout=8s", name=f"sharing.{number}")
            def each(value: int) -> int:
                return value

            yield each

    with server.client() as client:
        before = client.info("clients")["connected_clients"]
        made = list(functions())
        assert [each(1) for each in made] == [1] * 6
        assert client.info("clients")["connected_clients"] == before + 1


def test_the_connections_of_a_server_that_nobody_uses_any_more_are_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not left to the garbage collector, which may come upon a socket before what closes it."""
    closed: list[Link] = []
    close = Link.close

    def noted(link: Link) -> None:
        closed.append(link)
        close(link)

    monkeypatch.setattr(Link, "close", noted)

    @ml_cache(backend=f"{server.url}?timeout=9s")
    def each(value: int) -> int:
        return value

    assert each(1) == 1
    del each
    gc.collect()
    assert len(closed) == 1
