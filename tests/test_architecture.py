"""The shape of the package: who imports whom, what is public, and how large things may grow."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlcache
from mlcache import errors

PACKAGE = Path(mlcache.__file__).parent
MODULES = {
    ".".join(("mlcache", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# Each line may import from those above it; the modules of one package from each other.
LAYERS = [
    ["chance", "errors", "clock", "forks", "switch", "threads", "coroutines"],
    ["units", "crew", "progress", "warning"],
    ["offload"],
    ["entry", "unchanging"],
    ["sizes", "skew"],
    ["sealing_frames", "sealing_errors"],
    ["call", "events", "sealing", "result", "info"],
    ["keys", "codec", "trace"],
    ["backends", "flight", "fastpath"],
    ["engines", "namesakes"],
    ["steps", "mutation", "key_tree", "explanation"],
    ["terms"],
    ["keeping"],
    ["flow"],
    ["by_hand", "computing", "waiting", "writing"],
    ["relay"],
    ["drive"],
    ["settings"],
    ["stores"],
    ["cache"],
    ["misses"],
    ["actions"],
    ["batch"],
    ["sending"],
    ["face", "fresh"],
    ["cached_async"],
    ["cached"],
    ["decorator", "testing"],
    ["models", "simulate"],
    ["bench"],
    ["cli"],
    ["__main__"],
    [""],
]
LEVELS = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def part_of(module: str) -> str:
    """The part of the package that a module belongs to, as in ``LAYERS``."""
    return module.removeprefix("mlcache").removeprefix(".").partition(".")[0]


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports_of(module: str) -> Iterator[str]:
    """The modules of mlcache that ``module`` imports, for its types alone or inside a function, too."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("mlcache"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlcache"):
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper in MODULES else str(node.module)


def functions_of(module: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module}:{node.name}", node


def length_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    here = LEVELS[part_of(module)]
    for imported in imports_of(module):
        within = part_of(imported) == part_of(module) != ""
        assert within or LEVELS[part_of(imported)] < here, f"{module} imports {imported}"


@pytest.mark.parametrize("module", [name for name in MODULES if name != "mlcache"])
def test_nobody_imports_the_package_root(module: str) -> None:
    assert "mlcache" not in set(imports_of(module)), module


def test_there_is_no_circle() -> None:
    graph = {module: set(imports_of(module)) & set(MODULES) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path, module))
        if module not in done:
            for imported in graph[module] - {module}:
                visit(imported, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_backends_know_of_codecs_only_the_protocol() -> None:
    for module in MODULES:
        if part_of(module) == "backends":
            codecs = {name for name in imports_of(module) if part_of(name) == "codec"}
            assert codecs <= {"mlcache.codec.protocol"}, module


def test_offloading_and_caching_are_assembled_in_one_place() -> None:
    """Only the assembly and ``open`` name concrete stores."""
    concrete = {"mlcache.backends.memory", "mlcache.backends.disk"}
    for module in set(MODULES) - {"mlcache.stores"}:
        if part_of(module) not in ("testing", "backends"):
            assert not concrete & set(imports_of(module)), module


def test_all_is_what_is_public() -> None:
    public = {
        name
        for name in dir(mlcache)
        if not name.startswith("_") and not inspect.ismodule(getattr(mlcache, name))
    }
    assert public - {"annotations"} == set(mlcache.__all__)
    assert list(mlcache.__all__) == sorted(mlcache.__all__)


@pytest.mark.parametrize("name", mlcache.__all__)
def test_what_is_public_is_described(name: str) -> None:
    value = getattr(mlcache, name)
    assert (value.__doc__ or "").strip(), name


def drawn_tree() -> dict[str, tuple[str, ...]]:
    """By error, its bases, as the docstring of ``errors`` draws them."""
    bases: dict[str, tuple[str, ...]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        text = line.lstrip("│├└─ ")
        if not text or "every" in text.lower():
            continue
        name, _, other = text.partition(" ")
        depth = (len(line) - len(text)) // 4
        path[depth:] = [name]
        bases[name] = tuple(filter(None, (path[depth - 1] if depth else "", other.strip("()"))))
    return bases


def test_the_drawing_of_the_error_tree_is_true() -> None:
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    drawn = drawn_tree()
    assert set(drawn) == set(classes)
    for name, bases in drawn.items():
        real = tuple(base.__name__ for base in classes[name].__bases__)
        assert real == (bases or ("Exception",)), name


def test_nine_functions_in_ten_are_short_and_none_is_long() -> None:
    lengths = {name: length_of(function) for module in MODULES for name, function in functions_of(module)}
    long = {name: length for name, length in lengths.items() if length > 50}
    assert not long
    short = sum(length <= 20 for length in lengths.values())
    assert short >= 0.9 * len(lengths)


@pytest.mark.parametrize("module", MODULES)
def test_files_are_short(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 300


def test_the_decorator_has_ten_keywords_at_most() -> None:
    keywords = inspect.signature(mlcache.ml_cache).parameters.values()
    assert sum(each.kind is inspect.Parameter.KEYWORD_ONLY for each in keywords) <= 10


def test_the_clock_is_read_in_one_place() -> None:
    for module, path in MODULES.items():
        names = {node.attr for node in ast.walk(tree_of(module)) if isinstance(node, ast.Attribute)}
        read = {"perf_counter", "monotonic", "time_ns"} & names
        assert not read or module in ("mlcache.clock", "mlcache.testing.clock"), path
        imported = {
            alias.name
            for node in ast.walk(tree_of(module))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "time" not in imported or module == "mlcache.clock", path


@pytest.mark.parametrize("module", MODULES)
def test_every_module_can_be_imported_alone(module: str) -> None:
    wants = {
        alias.name for node in tree_of(module).body if isinstance(node, ast.Import) for alias in node.names
    }
    missing = [name for name in wants if importlib.util.find_spec(name.partition(".")[0]) is None]
    if missing:
        pytest.skip(f"{missing[0]}, for which it is, is not installed")
    assert importlib.import_module(module).__doc__, f"{module} says nothing of itself"


def test_layers_name_what_is_there() -> None:
    assert {part_of(module) for module in MODULES} <= set(itertools.chain.from_iterable(LAYERS))
