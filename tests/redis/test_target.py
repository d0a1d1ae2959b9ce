"""URLs of Redis: what they mean, what is wrong with them, and that nobody sees a password."""

from __future__ import annotations

from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache import ml_cache, open_backend
from mlcache.backends.address import Defaults, hide_passwords, take_apart
from mlcache.backends.open import open_address, parse
from mlcache.backends.redis.target import SCHEMES, Target, Tls
from mlcache.entry import Key
from mlcache.errors import ConfigurationError
from mlcache.settings import Settings

SECRET = "hunter2"  # noqa: S105 - to be searched for


def target(url: str) -> Target:
    (address,) = parse(url)
    return Target.of(address)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis", Target()),
        ("redis://cache", Target(nodes=(("cache", 6379),))),
        ("valkey://cache:7000/2", Target(nodes=(("cache", 7000),), db=2)),
        ("redis://[::1]:7000", Target(nodes=(("::1", 7000),))),
        ("redis://:s%2Fe@h", Target(nodes=(("h", 6379),), password="s/e")),  # noqa: S106
        ("redis://u%40x:p@h", Target(nodes=(("h", 6379),), username="u@x", password="p")),  # noqa: S106
        (
            "unix:///run/redis.sock?db=3",
            Target(kind="unix", nodes=(("localhost", 0),), path="/run/redis.sock", db=3),
        ),
        (
            "redis://h?timeout=250ms&connect_timeout=1&breaker=1m&max_connections=8&prefix=app&compress=zstd",
            Target(
                nodes=(("h", 6379),),
                timeout=0.25,
                connect_timeout=1.0,
                breaker=60.0,
                max_connections=8,
                prefix="app",
                compress="zstd",
            ),
        ),
        ("rediss://h", Target(nodes=(("h", 6379),), tls=Tls())),
        (
            "valkeys://h?ca_file=/ca.pem&cert_file=/c.pem&key_file=/k.pem&check_hostname=no",
            Target(nodes=(("h", 6379),), tls=Tls("/ca.pem", "/c.pem", "/k.pem", check_hostname=False)),
        ),
        (
            "redis+sentinel://a/mymaster/1?node=b:1&node=c&sentinel_password=x",
            Target(
                kind="sentinel",
                nodes=(("a", 26379), ("b", 1), ("c", 26379)),
                service="mymaster",
                db=1,
                sentinel_password="x",  # noqa: S106
            ),
        ),
        ("redis+cluster://a:1?node=b:2", Target(kind="cluster", nodes=(("a", 1), ("b", 2)))),
        ("rediss+cluster://a", Target(kind="cluster", nodes=(("a", 6379),), tls=Tls())),
    ],
)
def test_a_url_means_what_it_says(url: str, expected: Target) -> None:
    found = target(url)
    assert msgspec.structs.asdict(found) == msgspec.structs.asdict(expected)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://h:seven", "the port in the URL of a Redis is no number"),
        ("redis://h:99999", "the port in the URL of a Redis is no number"),
        ("redis://h/zero", "the database in the path is 'zero'"),
        ("redis://h/1/2", "takes the number of one database"),
        ("redis://h?node=b", "node is for redis"),
        ("redis://h?ca_file=/x", "ca_file is for encrypted connections: use rediss"),
        ("redis://h?timeout=soon", "timeout of backend 'redis://h.timeout=soon' is 'soon'"),
        ("redis://h?max_connections=0", "give a whole number above zero"),
        ("rediss://h?check_hostname=perhaps", "give yes or no"),
        ("redis://h?prefix=", "must be neither empty"),
        ("redis://h?tiemout=1", "redis has no option 'tiemout': did you mean timeout"),
        ("unix://", "needs the socket's path"),
        ("redis+sentinel://h", "needs the service's name"),
        ("redis+cluster://h/1", "has the database 0 alone"),
        ("rediz://h", "did you mean redis"),
    ],
)
def test_what_makes_no_sense_is_an_error_when_the_function_is_decorated(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ml_cache(backend=f"lru, {url}")(abs)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://me:{SECRET}@h:bad",
        f"redis://me:{SECRET}@h/bad",
        f"redis://:{SECRET}@h?nonsense=1",
        f"redis://me:x/{SECRET}@h",
        f"redis://me:x,{SECRET}@h:1",
        f"redis://me:x:{SECRET}@h?timeout=never",
        f"redis://me:x@{SECRET}@h?timeout=never",
        f"lru, redis://me:{SECRET}@h,, disk",
        f"redis+sentinel://a/s?sentinel_password={SECRET}&nonsense=1",
        f"nonsense://me:{SECRET}@h",
    ],
)
def test_no_error_gives_a_password_away(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(url)
    assert SECRET not in str(caught.value)


def test_no_error_of_opening_gives_a_password_away() -> None:
    with pytest.raises(ConfigurationError, match="names several") as caught:
        open_backend(f"lru, redis://me:{SECRET}@h")
    assert SECRET not in str(caught.value)


def test_nothing_shows_a_password() -> None:
    url = f"redis://me:{SECRET}@127.0.0.1:1/0"
    (address,) = parse(url)
    backend = open_backend(url)
    settings = Settings(backend=f"lru, {url}")
    shown = [
        repr(settings),
        repr(address),
        str(address),
        repr(Target.of(address)),
        str(Target.of(address)),
        repr(backend),
    ]
    assert not [text for text in shown if SECRET in text]
    with pytest.raises(Exception, match="does not answer") as caught:
        backend.get(Key("app.f@1", bytes(16)))
    assert SECRET not in str(caught.value)


@given(user=st.text(min_size=1), password=st.text(min_size=1))
def test_names_and_passwords_of_any_letters_come_through_encoded(user: str, password: str) -> None:
    url = f"redis://{quote(user, safe='')}:{quote(password, safe='')}@h:1/2"
    found = target(url)
    assert (found.username, found.password, found.nodes, found.db) == (user, password, (("h", 1),), 2)


def test_what_is_no_password_is_shown() -> None:
    text = "lru, disk:///var/a@b, redis://me@h:1/0?timeout=1s"
    assert hide_passwords(text) == text
    assert hide_passwords("redis://me:x@h") == "redis://...@h"


def test_backends_with_the_same_target_share_their_connections() -> None:
    first, second = (open_address(take_apart("redis://h:1"), Defaults()) for _ in range(2))
    other = open_address(take_apart("redis://h:1?timeout=2s"), Defaults())
    assert first._reach() is second._reach()  # type: ignore[union-attr]
    assert first._reach() is not other._reach()  # type: ignore[union-attr]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_can_be_named(scheme: str) -> None:
    rest = {"unix": ":///s", "redis+unix": ":///s"}.get(scheme, "://h/s" if "sentinel" in scheme else "://h")
    assert parse(scheme + rest)[0].scheme == scheme
