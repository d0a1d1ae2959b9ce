"""The digest of what a function's code does, whatever comments, docstrings and lines it has.

It is taken over the instructions, with each constant and name that they refer to in place
of its index: a docstring moves every index, and changes nothing else.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType

import msgspec

from mlcache.keys.digest import Seen, encode

_NO_EFFECT = frozenset({"NOP", "RESUME", "EXTENDED_ARG", "CACHE"})
_UNSEEN = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
_HAS_CONSTANT = frozenset(dis.hasconst)
_HAS_JUMP = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_HAS_NAME = (
    frozenset(dis.hasname) | frozenset(dis.haslocal) | frozenset(dis.hasfree) | frozenset(dis.hascompare)
)


_LOADS_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_LOADS_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"})


def encode_code(code: CodeType, seen: Seen) -> bytes:
    """The code (in the sense of keys) of a code object: its signature and what it does."""
    signature = (
        code.co_name,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags,
        code.co_varnames,
        code.co_cellvars,
        code.co_freevars,
    )
    return b"@code:" + encode((signature, _instructions(code), _handlers(code)), seen)


class Names(msgspec.Struct):
    """The names in a function's code, that of functions and classes inside it included.

    Args:
        globals: of variables.
        attributes: of attributes, whatever they are taken from, and of what is imported from a module.
        imports: of modules, each with how many packages further up it is, and what is taken from it.
    """

    globals: set[str]
    attributes: set[str]
    imports: set[tuple[int, str, tuple[str, ...]]]


def names_in(code: CodeType) -> Names:
    """What the code refers to by a name."""
    names = Names(set(), set(), set())
    steps = [each for each in dis.get_instructions(code) if each.opname not in _NO_EFFECT]
    own = {step.argval for step in steps if step.opname == "STORE_NAME"}  # of the body of a class
    for place, step in enumerate(steps):
        if step.opname in _LOADS_GLOBAL and step.argval not in own:
            names.globals.add(step.argval)
        elif step.opname in _LOADS_ATTRIBUTE:
            names.attributes.add(step.argval)
        elif step.opname == "IMPORT_NAME":
            level, taken = (each.argval for each in steps[place - 2 : place])
            names.imports.add((level, step.argval, taken or ()))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = names_in(constant)
            names.globals.update(inner.globals)
            names.attributes.update(inner.attributes)
            names.imports.update(inner.imports)
    return names


def _instructions(code: CodeType) -> list[object]:
    ordinals = _ordinals(code)
    steps: list[object] = [_step(each, code, ordinals) for each in _effective(code)]
    if not code.co_flags & 0x1:  # the body of a class, which stores its docstring and its line
        return list(_without_unseen(steps))
    return steps


def _effective(code: CodeType) -> Iterator[dis.Instruction]:
    return (each for each in dis.get_instructions(code) if each.opname not in _NO_EFFECT)


def _ordinals(code: CodeType) -> dict[int, int]:
    """The place of each instruction among those that have an effect, by its offset."""
    places: dict[int, int] = {}
    count = 0
    for each in dis.get_instructions(code):
        places[each.offset] = count
        count += each.opname not in _NO_EFFECT
    places[len(code.co_code)] = count
    return places


def _step(each: dis.Instruction, code: CodeType, ordinals: dict[int, int]) -> object:
    if each.opcode in _HAS_CONSTANT and each.arg is not None:
        return each.opname, code.co_consts[each.arg]
    if each.opcode in _HAS_JUMP:
        return each.opname, ordinals[each.argval]
    return each.opname, each.argrepr if each.opcode in _HAS_NAME else each.arg


def _without_unseen(steps: list[object]) -> Iterator[object]:
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if _stores_unseen(step) or (_loads(step) and _stores_unseen(following)):
            continue
        yield step


def _loads(step: object) -> bool:
    return isinstance(step, tuple) and step[0].startswith("LOAD_")


def _stores_unseen(step: object) -> bool:
    return isinstance(step, tuple) and step[0] == "STORE_NAME" and step[1] in _UNSEEN


def _handlers(code: CodeType) -> list[object]:
    places = _ordinals(code)
    entries = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]  # typeshed does not know it
    return [
        (places[each.start], places[each.end], places[each.target], each.depth, each.lasti)
        for each in entries
    ]
