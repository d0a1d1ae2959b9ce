"""Types, as mypy sees them: what is right is accepted, what is wrong is refused where it is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

mypy = pytest.importorskip("mypy.api", reason="types are checked where mypy is installed")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MARK = re.compile(r"  # type: ignore\[([\w-]+)\].*")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[int, str]]]:
    """By file, the lines that mypy objects to, and why; the marks of those that should be are taken off."""
    bare = tmp_path_factory.mktemp("typing") / "refused.py"
    bare.write_text(MARK.sub("", (HERE / "refused.py").read_text()))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        report, trouble, _ = mypy.run(
            ["--config-file", "pyproject.toml", "--no-pretty", str(HERE / "accepted.py"), str(bare)]
        )
    assert not trouble
    objections: dict[str, set[tuple[int, str]]] = {"accepted.py": set(), "refused.py": set()}
    for file, line, code in re.findall(r"(\w+\.py):(\d+): error: .*\[([\w-]+)\]", report):
        objections.setdefault(file, set()).add((int(line), code))
    assert "Found" in report
    return objections


def test_what_is_right_is_accepted(found: dict[str, set[tuple[int, str]]]) -> None:
    assert found["accepted.py"] == set()


def test_what_is_wrong_is_refused_where_it_is_wrong(found: dict[str, set[tuple[int, str]]]) -> None:
    lines = (HERE / "refused.py").read_text().splitlines()
    marked = {(place, mark[1]) for place, line in enumerate(lines, 1) if (mark := MARK.search(line))}
    assert len(marked) > 30
    assert found["refused.py"] == marked


def test_the_package_says_that_it_has_types() -> None:
    assert (ROOT / "mlcache" / "py.typed").is_file()
