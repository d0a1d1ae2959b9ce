"""Backends by name and URL, and those that other packages offer."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcache import ml_cache, open_backend
from mlcache.backends import open as opening
from mlcache.backends.address import Defaults, take_apart
from mlcache.backends.memory import Lru
from mlcache.backends.open import forget_shared, open_address, parse
from mlcache.errors import ConfigurationError


def test_several_backends_stand_with_commas_nearest_first() -> None:
    assert [address.scheme for address in parse("gdsf, ttl?max_items=3 ,disk:///var/cache/ml")] == [
        "gdsf",
        "ttl",
        "disk",
    ]


def test_a_plain_name_is_one_store_for_all() -> None:
    assert open_backend("lru") is open_backend("lru")
    assert open_backend("lru") is not open_backend("lru?max_items=9")
    shared = open_backend("gdsf")
    forget_shared()
    assert open_backend("gdsf") is not shared


def test_what_the_url_does_not_say_comes_from_the_defaults() -> None:
    store = open_address(take_apart("lru?max_items=9"), Defaults(max_bytes=12345))
    assert isinstance(store, Lru)
    assert store.usage().max_bytes == 12345


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lru,,disk", "empty place between its commas"),
        ("", "empty place"),
        ("gdfs", "there is no backend 'gdfs': did you mean gdsf?"),
        ("nothing-like-it", r"there are lru, lfu, rr, ttl, gdsf, disk"),
        ("gdsf:///path", "gdsf takes no path"),
        ("gdsf?max_itms=3", "has no option 'max_itms': did you mean max_items?"),
        ("rr?max_items=none", "max_items of backend 'rr.max_items=none' is 'none': give a whole number"),
        ("rr?max_bytes=much", "max_bytes of backend 'rr.max_bytes=much' is 'much'"),
    ],
)
def test_what_cannot_be_understood_is_an_error_that_says_what_can(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(text)


OFFER = """
from mlcache.backends.address import Opener, a_count
from mlcache.backends.memory import Lru

made = []

class Mine(Lru):
    name = "mine"

def open_mine(address, defaults):
    made.append((address.location, address.option("room"), defaults.directory))
    return Mine(max_bytes=2**20)

opener = Opener(open_mine, {"room": a_count}, located=True)
no_opener = open_mine
"""

Offer = Callable[[str, str], None]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """Installs packages, each with an entry point, as an installer would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(opening, "_discovered", {})

    def install(package: str, entry_point: str) -> None:
        (tmp_path / f"{package}.py").write_text(OFFER)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mlcache.backends]\n{entry_point}\n")
        importlib.invalidate_caches()

    yield install
    for name in ("offers_one", "offers_two"):
        sys.modules.pop(name, None)


def test_another_package_can_offer_a_backend(offer: Offer) -> None:
    offer("offers_one", "mine = offers_one:opener")
    calls: list[int] = []

    @ml_cache(backend="mine://some/where?room=3")
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    assert [double(4), double(4), calls] == [8, 8, [4]]
    assert double.call_with_info(4).tier == "mine"
    assert sys.modules["offers_one"].made == [("some/where", "3", None)]


def test_its_options_are_checked_as_those_of_any(offer: Offer) -> None:
    offer("offers_one", "mine = offers_one:opener")
    with pytest.raises(ConfigurationError, match="mine has no option 'rom': did you mean room"):
        parse("mine?rom=3")
    with pytest.raises(ConfigurationError, match="give a whole number above zero"):
        parse("mine?room=0")


def test_it_is_suggested_where_a_name_is_misspelt(offer: Offer) -> None:
    offer("offers_one", "special = offers_one:opener")
    with pytest.raises(ConfigurationError, match="did you mean special"):
        parse("spezial")


def test_what_mlcache_brings_along_cannot_be_replaced(offer: Offer) -> None:
    offer("offers_one", "lru = offers_one:opener")
    assert type(open_backend("lru?max_items=5")) is Lru


def test_two_packages_that_offer_one_name_are_both_told(offer: Offer) -> None:
    offer("offers_one", "mine = offers_one:opener")
    offer("offers_two", "mine = offers_two:opener")
    with pytest.raises(
        ConfigurationError, match=r"more than once: by offers_\w+:opener and offers_\w+:opener"
    ):
        parse("mine")


def test_an_entry_point_that_is_no_opener_is_an_error(offer: Offer) -> None:
    offer("offers_one", "mine = offers_one:no_opener")
    with pytest.raises(ConfigurationError, match=r"offers_one:no_opener, which is .*: it must be an Opener"):
        parse("mine")


def test_an_entry_point_that_cannot_be_imported_is_an_error(offer: Offer) -> None:
    offer("offers_one", "mine = offers_nothing:opener")
    with pytest.raises(ConfigurationError, match="cannot be imported: No module named 'offers_nothing'"):
        parse("mine")


@pytest.mark.parametrize("url", [None, 5, ["lru"]])
def test_what_is_no_text_is_no_url(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="a name such as 'lru' or a URL, not"):
        open_backend(url)
