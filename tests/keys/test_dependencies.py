"""Versions that change when something that the function refers to does."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
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
        text = source.replace(*change) if change[0] else source
        exec(compile(text, f"{name}.py", "exec"), module.__dict__)  # noqa: S102  # a package of text
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


SCALE = "def scale(x):\n    return x * 1\n"
FROM = "from made_up.helper import "
WAYS: dict[str, tuple[str, str]] = {
    "a global": (FROM + "scale as s\ndef main(x):\n    return s(x)", SCALE),
    "a module": ("from made_up import helper\ndef main(x):\n    return helper.scale(x)", SCALE),
    "a package": ("import made_up.helper\ndef main(x):\n    return made_up.helper.scale(x)", SCALE),
    "a module by another name": (
        """
from made_up import helper
def main(x):
    h = helper
    return h.scale(x)
""",
        SCALE,
    ),
    "an import inside": (
        """
import made_up.helper
def main(x):
    from made_up.helper import scale
    return scale(x)
""",
        SCALE,
    ),
    "a relative import inside": (
        """
import made_up.helper
def main(x):
    from . import helper
    return helper.scale(x)
""",
        SCALE,
    ),
    "an import inside by another name": (
        """
import made_up.helper
def main(x):
    import made_up.helper as h
    return h.scale(x)
""",
        SCALE,
    ),
    "its own closure": (
        FROM
        + """make
def around(inner):
    def main(x):
        return inner(x)
    return main
main = around(make())
""",
        SCALE
        + """
def make():
    def used(x):
        return scale(x)
    return used
""",
    ),
    "a default": (
        FROM
        + """scale
def used(x):
    return scale(x)
def main(x, way=used):
    return way(x)
""",
        SCALE,
    ),
    "what a decorator wraps": (
        FROM
        + """around, scale
@around
def main(x):
    return scale(x)
""",
        SCALE
        + """
import functools
def around(f):
    @functools.wraps(f)
    def wrapper(*a):
        return f(*a)
    return wrapper
""",
    ),
}

HELD_BY: dict[str, str] = {
    "a table": """
def used(x):
    return scale(x)
made = {"a": [used]}
""",
    "a partial object": """
import functools
def used(x, y):
    return scale(x)
made = functools.partial(used, y=1)
""",
    "a closure": """
def make():
    def used(x):
        return scale(x)
    return used
made = make()
""",
    "a kept result": """
import functools
@functools.lru_cache
def made(x):
    return scale(x)
""",
    "another cached function": """
from mlcache import ml_cache
@ml_cache
def made(x):
    return scale(x)
""",
    "a property": """
class made:
    @property
    def y(self):
        return scale(1)
""",
    "a cached property": """
import functools
class made:
    @functools.cached_property
    def y(self):
        return scale(1)
""",
    "an attribute of a class": """
class made:
    factor = scale(1 * 1)
""",
    "a member of an enumeration": """
import enum
class made(enum.Enum):
    A = scale(1)
""",
    "a default of a field": """
import dataclasses
@dataclasses.dataclass
class made:
    factor: int = scale(1)
""",
    "a default of a field in slots": """
import dataclasses
@dataclasses.dataclass(slots=True)
class made:
    factor: int = scale(1)
    other: int = 3 * 1
""",
    "a base": """
class Base:
    def go(self):
        return scale(1)
class made(Base):
    pass
""",
    "a method of an object": """
import dataclasses
@dataclasses.dataclass
class Made:
    a: int = 1
    def __call__(self, x):
        return scale(x)
made = Made()
""",
    "an argument of a partial object": """
import functools
made = functools.partial(max, 3 * 1)
""",
    "a class of a class": """
class Kind(type):
    def __call__(cls, x):
        return x * 1
class made(metaclass=Kind):
    pass
""",
    "a factory of a dataclass": """
from dataclasses import dataclass, field
@dataclass
class made:
    x: int
    scale: list = field(default_factory=lambda: [3 * 1])
""",
    "a default of a struct": """
import msgspec
class made(msgspec.Struct):
    x: int
    scale: int = 3 * 1
""",
    "an argument that a method is given": """
import functools
class Kind:
    def scale(self, factor):
        return factor
    triple = functools.partialmethod(scale, 3 * 1)
def made(x):
    return Kind().triple()
""",
    "a function for a type": """
import functools
@functools.singledispatch
def made(x):
    return x
@made.register
def _(x: int):
    return scale(x)
""",
}
CALLS = FROM + "made\ndef main(x):\n    return made(x)"
ALL_WAYS = WAYS | {name: (CALLS, SCALE + way) for name, way in HELD_BY.items()}


@pytest.mark.filterwarnings("ignore:version='deps' cannot see into made_up.helper.made.dispatch")
@pytest.mark.parametrize("way", ALL_WAYS)
def test_a_helper_counts_whatever_way_leads_to_it(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, helper = ALL_WAYS[way]
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    versions = []
    for place, source in enumerate([helper, helper, helper.replace("* 1", "* 2")]):
        folder = tmp_path / str(place) / "made_up"
        folder.mkdir(parents=True)
        for name, text in (("__init__", ""), ("main", main), ("helper", source)):
            (folder / f"{name}.py").write_text(text, "utf-8")
        monkeypatch.syspath_prepend(folder.parent)
        versions.append(identify(importlib.import_module("made_up.main").main, version="deps").digest)
        for name in [name for name in sys.modules if name.startswith("made_up")]:
            del sys.modules[name]
    assert versions[0] == versions[1] != versions[2]


@pytest.mark.parametrize(
    ("line", "unseen"),
    [
        ("from made_up.nowhere import it", r"made_up\.nowhere, which is not imported"),
        ("from made_up import nowhere", "nowhere, which is not imported"),
        ("return later(x)", r"made_up\.main\.later, which is not defined"),
    ],
)
def test_it_warns_of_what_is_not_there_yet(line: str, unseen: str) -> None:
    with pytest.warns(MlcacheWarning, match=unseen):
        identify(build(("return sum(x)", line))("plain"), version="deps")


def test_names_inside_a_class_inside_a_function_are_no_globals() -> None:
    inside = "class Inside:\n        a = 1\n        b = a\n    return Inside"
    assert identify(build(("return sum(x)", inside))("plain"), version="deps")
