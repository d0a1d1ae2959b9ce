"""What the repository says of the library is true: every block of code in README and docs is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page.relative_to(ROOT)
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if "decisions" not in page.parts and "```python" in page.read_text(encoding="utf-8")
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def _program(page: Path) -> str:
    """The Python of a page, each line at the number that it has in the page."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * text.count("\n")
    for block in FENCE.finditer(text):
        if block[1] == "python":
            start = text.count("\n", 0, block.start(2))
            code = block[2].splitlines()
            lines[start : start + len(code)] = code
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_code_of_a_page_runs_and_prints_what_its_comments_say(page: Path, tmp_path: Path) -> None:
    program = _program(ROOT / page).replace("/var/cache", str(tmp_path))
    script = tmp_path / "page.py"
    script.write_text(program, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLCACHE")}
    environment |= {"MLCACHE_DIR": str(tmp_path / "mine"), "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == EXPECTED.findall(program)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_print_of_a_page_says_what_it_prints(page: Path) -> None:
    program = _program(ROOT / page)
    assert len(EXPECTED.findall(program)) == len(re.findall(r"^ *print\(", program, re.MULTILINE))


def test_the_targets_that_the_readme_names_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)\b", _shell_and_inline_code("README.md")))
    assert {"demo", "test"} <= named
    assert named <= set(re.findall(r"^([a-z]+):.* ## ", makefile, re.MULTILINE))


def _shell_and_inline_code(page: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [block[2] for block in FENCE.finditer(text) if block[1] in {"bash", "text"}]
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))])


def _first_column(page: str, heading: str) -> list[str]:
    """The names in the first column of the table whose head begins with ``heading``."""
    text = (ROOT / page).read_text(encoding="utf-8")
    table = re.search(rf"^\| {heading} .*\n\|[-| :]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table, f"{page} has no table with the heading {heading!r}"
    return re.findall(r"^\| `(\w+)", table[1], re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "docs/reference/ml_cache.md"])
def test_the_table_of_keywords_has_them_all(page: str) -> None:
    import inspect

    from mlcache import ml_cache

    keywords = [
        name
        for name, parameter in inspect.signature(ml_cache).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    assert sorted(_first_column(page, "keyword")) == sorted(keywords)


@pytest.mark.parametrize("page", ["README.md", "docs/reference/environment.md"])
def test_the_table_of_variables_has_what_the_settings_read(page: str) -> None:
    from mlcache import settings

    read = [f"MLCACHE_{name}" for name in settings._OPTIONS]
    assert sorted(_first_column(page, "variable")) == sorted(read)


@pytest.mark.parametrize("page", ["README.md", "docs/reference/cached-function.md"])
def test_the_table_of_what_a_cached_function_has_is_true(page: str) -> None:
    from mlcache import ml_cache

    cached = ml_cache(abs)
    names = _first_column(page, "name")
    assert {"cache_info", "peek", "aio"} <= set(names)
    assert [name for name in names if not hasattr(cached, name)] == []


def test_the_reference_names_all_backends_and_their_options() -> None:
    import importlib

    from mlcache.backends import open as opening

    page = (ROOT / "docs/reference/ml_cache.md").read_text(encoding="utf-8").partition("| backend | ")[2]
    for name, module in opening._MODULES.items():
        options = importlib.import_module(module).OPENERS[name].options
        assert f"`{name}`" in page or f"`{name}://`" in page
        assert [option for option in options if f"`{option}`" not in page] == []


def test_the_tree_of_errors_is_the_one_of_the_module() -> None:
    from mlcache import errors

    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    tree = next(block[2] for block in FENCE.finditer(page) if block[1] == "text")
    assert tree.strip() in (errors.__doc__ or "")
    drawn = set(re.findall(r"(?<!\()\b[A-Z]\w+", tree))
    assert set(re.findall(r"^::: mlcache\.(\w+)$", page, re.MULTILINE)) == drawn


def test_the_core_needs_three_packages_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(re.match(r"[\w-]+", each)[0] for each in project["dependencies"]) == [  # type: ignore[index]
        "msgspec",
        "numpy",
        "xxhash",
    ]


def test_importing_the_library_imports_nothing_heavy() -> None:
    heavy = ("pandas", "pyarrow", "torch", "scipy", "joblib", "diskcache", "redis", "sklearn", "asyncio")
    program = f"import sys, mlcache; print([name for name in {heavy} if name in sys.modules])"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_version_is_told_the_same_everywhere() -> None:
    from importlib.metadata import PackageNotFoundError, version

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert changelog.index("## [Unreleased]") > 0
    try:
        installed = version("mlcache")
    except PackageNotFoundError:
        pytest.skip("mlcache is not installed here, only on the path")
    assert installed == project["version"]


def test_the_demo_ends_with_every_answer_right() -> None:
    command = [sys.executable, "-m", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RIGHT" in done.stdout
    assert "computed once for all" in done.stdout


def test_the_demo_notices_a_wrong_answer() -> None:
    import numpy as np

    from demo.steps import Proof

    right, proof = np.array([0.5, 0.25]), Proof()
    proof.check("equal", [right.copy()], [right])
    assert proof.wrong == []
    proof.check("another value", [right + 1e-15], [right])
    proof.check("another dtype", [right.astype(np.float32)], [right])
    proof.check("one missing", [right], [right, right])
    assert proof.wrong == ["another value", "another dtype", "one missing"]
