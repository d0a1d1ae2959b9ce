"""What a function's code refers to in its own package: other functions, classes, simple globals.

Followed from name to name, it makes a version that changes when a helper does. It sees what
is named: globals, attributes of modules, imports inside functions, and what these hold:
functions in closures, defaults, containers and partial objects, and the members of classes.
An attribute counts wherever a module that the code refers to has one of that name, since the
code does not say what it is taken from. What is looked up in other ways (``getattr``, other
packages) it does not see.
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import resolve_name
from types import FunctionType, MethodType, ModuleType
from typing import Any

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.classes import defaults_of, encode_members, is_derived, type_name
from mlcache.keys.code import Names, names_in
from mlcache.keys.digest import digest
from mlcache.keys.functions import closure_of
from mlcache.warning import warn

_MISSING = object()
_SIMPLE = frozenset({int, float, bool, type(None), str, bytes, complex})

Node = FunctionType | type
"""What has code of its own."""


def dependencies(function: FunctionType) -> list[tuple[str, bytes]]:
    """The names that ``function`` refers to in its package, directly or not, with digests of what they mean.

    Warns:
        MlcacheWarning: of a global of the package that does not let itself be seen into.
    """
    search = _Search(_package(function))
    search.follow([function, *_held_by(function)])
    search.run(function)
    return sorted(search.found)


class _Search:
    """What was found so far, and what is still to be looked into."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.found: set[tuple[str, bytes]] = set()
        self._nodes: dict[int, Node] = {}
        self._waiting: list[Node] = []

    def follow(self, values: Iterable[object]) -> None:
        """Look into what has code of the package in it: ``values`` and all that they hold."""
        for node in _nodes_in(values, self.package):
            if id(node) not in self._nodes:
                self._nodes[id(node)] = node
                self._waiting.append(node)

    def run(self, root: FunctionType) -> None:
        """Look into everything; the code of ``root`` itself counts elsewhere."""
        while self._waiting:
            node = self._waiting.pop()
            if node is not root:
                self.found.add((type_name(node), _digest_of_code(node)))
            if isinstance(node, FunctionType):
                for name, value in _referred(node, self.package):
                    self.found.add((name, _digest_of(name, value, self.package)))
                    self.follow([value])


def _package(value: Any) -> str:
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return str(module or "").partition(".")[0]


def _referred(function: FunctionType, package: str) -> Iterator[tuple[str, object]]:
    """Each global that the code names, and each attribute of a module of the package, under a name for it."""
    scope = function.__globals__
    where = scope.get("__name__", "")
    names = names_in(function.__code__)
    modules = list(_imported(function, names))
    for name in names.globals:
        value = scope.get(name, _MISSING)
        if isinstance(value, ModuleType):
            modules.append(value)
        elif value is not _MISSING:
            yield f"{where}.{name}", value
        elif not hasattr(builtins, name):
            _warn(f"{where}.{name}, which is not defined yet")
    yield from _attributes(modules, names.attributes, package)


def _imported(function: FunctionType, names: Names) -> Iterator[ModuleType]:
    """The modules that the code imports itself, as far as they are there already."""
    parent = function.__globals__.get("__package__") or ""
    for level, name, taken in names.imports:
        full = resolve_name("." * level + name, parent) if level else name
        if full.partition(".")[0] != _package(function):
            continue
        module = sys.modules.get(full)
        if module is not None:
            yield module
        for missing in [full] if module is None else set(taken) - module.__dict__.keys():
            _warn(f"{missing}, which is not imported yet")


def _attributes(modules: list[ModuleType], names: set[str], package: str) -> Iterator[tuple[str, object]]:
    known: set[str] = set()
    while modules:
        module = modules.pop()
        if _package(module) != package or module.__name__ in known:
            continue
        known.add(module.__name__)
        for name in names & module.__dict__.keys():
            value = module.__dict__[name]
            if isinstance(value, ModuleType):
                modules.append(value)
            else:
                yield f"{module.__name__}.{name}", value


def _nodes_in(values: Iterable[object], package: str) -> Iterator[Node]:
    """The functions and classes of the package among ``values`` and what they hold."""
    waiting = list(values)
    known: dict[int, object] = {}
    while waiting:
        value = waiting.pop()
        if type(value) in _SIMPLE or id(value) in known:
            continue
        known[id(value)] = value
        if isinstance(value, Node) and _package(value) == package:
            yield value
        waiting += _held_by(value) if isinstance(value, Node | type) else _parts_of(value, package)


def _held_by(node: Any) -> list[object]:
    """What a function closes over, its defaults and what it wraps; the members and bases of a class."""
    if isinstance(node, type):
        members = [member for name, member in node.__dict__.items() if not is_derived(name, member)]
        return [*members, *defaults_of(node), *node.__bases__, type(node)]
    held = [_content(cell) for cell in closure_of(node).values()]
    defaults = [*(node.__defaults__ or ()), *(node.__kwdefaults__ or {}).values()]
    return [*held, *defaults, node.__dict__.get("__wrapped__")]


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _parts_of(value: Any, package: str) -> list[object]:
    """What may have code in it, of a value that has none of its own."""
    if isinstance(value, Mapping):
        return [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    for kind, names in _HOLDERS.items():
        if isinstance(value, kind):
            return [getattr(value, name) for name in names]
    own = getattr(value, "__dict__", {})
    if _package(type(value)) == package:
        return [type(value), *own.values()]
    return [value.__wrapped__] if "__wrapped__" in own or hasattr(type(value), "__wrapped__") else []


_HOLDERS: dict[type, tuple[str, ...]] = {
    functools.partial: ("func", "args", "keywords"),
    functools.partialmethod: ("func", "args", "keywords"),
    functools.cached_property: ("func",),
    MethodType: ("__func__", "__self__"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
}
"""By what attributes objects of Python's own hold functions."""


def _digest_of(name: str, value: Any, package: str) -> bytes:
    """What a name means: which code, or what content."""
    inner = value
    while not isinstance(inner, Node) and callable(getattr(inner, "__wrapped__", None)):
        inner = inner.__wrapped__
    foreign = callable(inner) and not isinstance(inner, functools.partial) and _package(inner) != package
    if isinstance(inner, Node) or foreign:
        return digest(type_name(inner if hasattr(inner, "__name__") else type(inner)))
    return _digest_or_warning(name, lambda: digest(value)) or b""


def _digest_of_code(node: Node) -> bytes:
    if isinstance(node, type):
        return digest(encode_members(node))
    return _digest_or_warning(type_name(node), lambda: digest(node)) or digest(node.__code__)


def _digest_or_warning(name: str, make: Callable[[], bytes]) -> bytes | None:
    try:
        return make()
    except UnhashableArgumentError as error:
        _warn(f"{name}{error.path}, a {type_name(error.kind)}")
        return None


def _warn(what: str) -> None:
    warn(
        f"version='deps' cannot see into {what}: a change of it will not be noticed. Give a version of your "
        "own, or refer to something simpler"
    )
