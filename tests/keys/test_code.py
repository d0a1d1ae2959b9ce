"""Keys of what code does: changes of text that change nothing, and those that do."""

from __future__ import annotations

import textwrap
from types import CodeType
from typing import Any

import pytest

from mlcache.keys import digest

BASE = """
def f(x, y=2):
    total = x + y * 3
    if total > 10:
        try:
            total = len([each for each in range(total) if each])
        except (ValueError, KeyError) as error:
            raise RuntimeError("no") from error
    with open("name") as file:
        while file.read():
            total -= 1
    return {"a": total, "b": {1, 2, 3}, "c": x in {"p", "q"}}
"""

SAME = {
    "comments": BASE.replace(
        "    total = x + y * 3", "    # a comment\n    total = x + y * 3  # another\n    # a third"
    ),
    "blank lines": BASE.replace("    if total", "\n\n    if total").replace("    with", "\n    with"),
    "docstring": BASE.replace("y=2):\n", 'y=2):\n    """A docstring.\n\n    Of lines.\n    """\n'),
    "lines above": "\n\nimport os\n\n\n" + BASE,
    "spaces": BASE.replace("x + y * 3", "x+y*3").replace("    ", "        "),
    "parentheses": BASE.replace("x + y * 3", "(x + (y * 3))"),
}

OTHER = {
    "a constant": BASE.replace("> 10", "> 11"),
    "the type of a constant": BASE.replace("* 3", "* 3.0"),
    "a bool for a number": BASE.replace("-= 1", "-= True"),
    "an operator": BASE.replace("x + y", "x - y"),
    "a comparison": BASE.replace("> 10", ">= 10"),
    "a global": BASE.replace("len(", "sum("),
    "a method": BASE.replace("read()", "readline()"),
    "an exception": BASE.replace("KeyError", "OSError"),
    "a constant set": BASE.replace('"p", "q"', '"p", "r"'),
    "inner code": BASE.replace("if each]", "if not each]"),
    "a parameter": BASE.replace("x, y=2", "x, y=2, *, z=3"),
    "a name of a parameter": BASE.replace("(x, y", "(z, y").replace("x + y", "z + y").replace("x in", "z in"),
    "a kind of parameter": BASE.replace("x, y=2", "x, /, y=2"),
    "what is tried": BASE.replace(
        "        try:\n            total", "        total += 0\n        try:\n            total"
    ),
    "a generator": BASE.replace("return {", "yield {"),
    "a coroutine": BASE.replace("def f", "async def f"),
}


def function(source: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(compile(source, f"{hash(source)}.py", "exec", dont_inherit=True), namespace)  # noqa: S102  # text is what is varied
    return namespace["f"]


def code(source: str) -> CodeType:
    found: CodeType = function(source).__code__
    return found


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_text_that_does_nothing_does_not_count(source: str) -> None:
    assert source != BASE
    assert digest(code(source)) == digest(code(BASE))


def test_what_code_does_counts() -> None:
    assert len({digest(code(source)) for source in (BASE, *OTHER.values())}) == 1 + len(OTHER)


def test_where_the_tried_part_ends_counts() -> None:
    inside = "def f(x):\n    try:\n        x()\n        x()\n    except ValueError:\n        pass\n"
    after = "def f(x):\n    try:\n        x()\n    except ValueError:\n        pass\n    x()\n"
    assert digest(code(inside)) != digest(code(after))


NESTED = """
def f():
    class Inner:
        attribute = 1
        def method(self):
            return super().__init__()
    def inner(x):
        return lambda: x + 1
    return Inner, inner
"""


def test_docstrings_and_lines_of_inner_functions_and_classes_do_not_count() -> None:
    documented = NESTED.replace("Inner:\n", 'Inner:\n        """A docstring."""\n')
    documented = documented.replace("(self):\n", '(self):\n            """Another."""\n').replace(
        "(x):", '(x):\n        "Third."\n'
    )
    assert digest(code("\n\n" + documented)) == digest(code(NESTED))
    assert digest(code(NESTED.replace("attribute = 1", "attribute = 2"))) != digest(code(NESTED))
    assert digest(code(NESTED.replace("x + 1", "x + 2"))) != digest(code(NESTED))


def test_a_docstring_does_not_count_among_hundreds_of_constants() -> None:
    lines = "".join(
        f"    x += {1000 + i}\n    while x > {2000 + i}:\n        x -= 'a{i}'\n" for i in range(200)
    )
    plain = f"def f(x):\n{lines}    return x\n"
    documented = f'def f(x):\n    """A docstring."""\n{lines}    return x\n'
    assert digest(code(plain)) == digest(code(documented))
    assert digest(code(plain)) != digest(code(plain.replace("2150", "2151")))


def test_code_that_ran_has_the_key_it_had_before() -> None:
    made = function(
        textwrap.dedent("def f(n):\n    s = 0\n    for i in range(n):\n        s += i * 2\n    return s\n")
    )
    before = digest(made.__code__)
    for _ in range(1000):
        made(10)
    assert digest(made.__code__) == before
