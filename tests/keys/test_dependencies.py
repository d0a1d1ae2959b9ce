"""Versions that change when something that the function refers to does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from mlcache.errors import MlcacheWarning
from mlcache.keys import identify

HELPERS = """
import math
RATE = 3
TABLE = {"a": [1, 2]}
def deep(x):
    return x + 1
def helper(x):
    return deep(x) * RATE
def unrelated(x):
    return x
class Base:
    def inherited(self):
        return 1
class Tool(Base):
    def use(self, x):
        return deep(x)
"""
MAIN = """
import math
from made_up import helpers
from made_up.helpers import helper, Tool
SETTING = ("a", 1)
def main(x):
    return [helper(math.sqrt(each)) for each in x], SETTING, helpers.TABLE
def tooled(x):
    return Tool().use(x)
def plain(x):
    return sum(x)
def locked(x):
    with lock:
        return helper(x)
"""


@pytest.fixture(autouse=True)
def _no_modules_stay() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith("made_up")]:
        del sys.modules[name]


def build(change: tuple[str, str] = ("", ""), **more: Any) -> Callable[[str], Any]:
    """The functions of a made-up package, in which one text is replaced by another."""
    assert change[0] in HELPERS + MAIN
    package = ModuleType("made_up")
    for name, source in (("helpers", HELPERS), ("main", MAIN)):
        module = ModuleType(f"made_up.{name}")
        module.__dict__.update(more)
        sys.modules |= {"made_up": package, module.__name__: module}
        setattr(package, name, module)
        exec(source.replace(*change) if change[0] else source, module.__dict__)  # noqa: S102  # a package of text
    return lambda name: getattr(package, "main").__dict__[name]  # noqa: B009  # modules have no such attribute


def version(name: str, change: tuple[str, str] = ("", "")) -> bytes:
    return identify(build(change)(name), version="deps").digest


def test_nothing_changed() -> None:
    assert version("main") == version("main")
    assert version("main") != identify(build()("main")).digest


@pytest.mark.parametrize(
    "change",
    [
        ("* RATE", "/ RATE"),
        ("x + 1", "x + 2"),
        ("RATE = 3", "RATE = 4"),
        ('("a", 1)', '("a", 2)'),
        ("[1, 2]", "[1, 3]"),
        ("deep(x):", "deep(x, y=1):"),
    ],
)
def test_what_the_function_refers_to_counts(change: tuple[str, str]) -> None:
    assert version("main", change) != version("main")
    assert version("plain", change) == version("plain")
    assert identify(build(change)("main")).digest == identify(build()("main")).digest


@pytest.mark.parametrize(
    "change", [("x + 1", "x + 2"), ("return deep", "return -deep"), ("return 1", "return 2")]
)
def test_methods_of_a_class_count(change: tuple[str, str]) -> None:
    assert version("tooled", change) != version("tooled")


@pytest.mark.parametrize(
    "change",
    [
        ("    return x\nclass", "    return -x\nclass"),
        ("RATE = 3", "# a comment\nRATE = 3"),
        ("deep(x):", 'deep(x):\n    "doc"'),
    ],
)
def test_what_it_does_not_refer_to_does_not_count(change: tuple[str, str]) -> None:
    assert version("main", change) == version("main")


def test_recursion_ends() -> None:
    change = ("return x + 1", "return helper(x)")
    assert version("main", change) == version("main", change)


def test_it_warns_of_what_it_cannot_see_into() -> None:
    with pytest.warns(MlcacheWarning, match=r"made_up\.main\.lock"):
        identify(build(lock=threading.Lock())("locked"), version="deps")
