"""The parameters of a function, as source text from which binders are compiled.

``inspect.Signature.bind`` costs several microseconds a call. A compiled function with
the same signature does the same work as part of being called, so binding is free; the
only price is that its body is made of text. Everything textual is in this module and in
``fastpath``.
"""

from __future__ import annotations

import enum
import inspect
import keyword
from collections.abc import Callable, Collection
from inspect import Parameter
from typing import Any

import msgspec
import numpy as np

from mlcache.entry import Key
from mlcache.errors import ConfigurationError

Values = tuple[Any, ...]
"""The bound arguments, in the order of the parameters, defaults filled in."""


class Default(enum.Enum):
    """What stands in the key for a default that has no stable key, such as ``object()``."""

    UNCHANGED = "the default of the parameter"


class Call(msgspec.Struct, frozen=True, eq=False):
    """One call: its key, its bound arguments, and how to make it."""

    key: Key
    values: Values
    apply: Callable[[Values], Any]


_OURS = "_mlcache_"
"""What every name begins with that compiled text uses itself."""

_FORWARD = {
    Parameter.POSITIONAL_ONLY: "{1}",
    Parameter.POSITIONAL_OR_KEYWORD: "{1}",
    Parameter.VAR_POSITIONAL: "*{1}",
    Parameter.KEYWORD_ONLY: "{0}={1}",
    Parameter.VAR_KEYWORD: "**{1}",
}


class Parameters:
    """The parameters of a function.

    Args:
        function: any callable. One whose signature cannot be read, such as some C
            functions, is taken as ``(*args, **kwargs)``.
        without: parameters that its callers do not pass, as somebody else does, by name.

    Raises:
        ConfigurationError: a parameter has a name that compiled text uses itself, or ``*args`` come
            after one of ``without``.
    """

    def __init__(self, function: Callable[..., Any], without: Collection[str] = ()) -> None:
        everything = list(_signature(function).parameters.values())
        self.without = frozenset(without) & {parameter.name for parameter in everything}
        self._all = [parameter for parameter in everything if parameter.name not in self.without]
        self._by_name = _displaced(everything, self.without)
        self.names = tuple(parameter.name for parameter in self._all)
        self._local = {each.name: _local_name(each, place) for place, each in enumerate(self._all)}
        self.defaults = {
            f"_mlcache_default_{place}": parameter.default
            for place, parameter in enumerate(self._all)
            if parameter.default is not Parameter.empty
        }

    def default_of(self, name: str) -> tuple[str, Any] | None:
        """The global name and the value of the default of the parameter ``name``, if it has one."""
        variable = f"_mlcache_default_{self.names.index(name)}"
        return (variable, self.defaults[variable]) if variable in self.defaults else None

    def is_collecting(self, name: str) -> bool:
        """Whether ``name`` is a ``*args`` or ``**kwargs``."""
        kind = self._all[self.names.index(name)].kind
        return kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)

    def is_positional(self, name: str) -> bool:
        """Whether ``name`` may be passed by its place."""
        kind = self._all[self.names.index(name)].kind
        return kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)

    def local(self, name: str) -> str:
        """What the parameter ``name`` is called in compiled text."""
        return self._local[name]

    def declaration(self) -> str:
        """The text between the parentheses of a ``def`` with these parameters."""
        parts: list[str] = []
        slash = max((i for i, p in enumerate(self._all) if p.kind is Parameter.POSITIONAL_ONLY), default=-1)
        star = False
        for place, parameter in enumerate(self._all):
            if parameter.kind is Parameter.KEYWORD_ONLY and not star:
                parts.append("*")
                star = True
            star = star or parameter.kind is Parameter.VAR_POSITIONAL
            parts.append(self._declare(place, parameter))
            if place == slash:
                parts.append("/")
        return ", ".join(parts)

    def tuple_of(self, expressions: Collection[str]) -> str:
        """The text of a tuple."""
        return f"({', '.join(expressions)}{',' * (len(expressions) == 1)})"

    def values(self) -> str:
        """The text of the tuple of all bound arguments."""
        return self.tuple_of(self._local.values())

    def forward(self) -> str:
        """The text between the parentheses of a call that passes the arguments on."""
        return ", ".join(self._forward(parameter) for parameter in self._all)

    def signature(self) -> inspect.Signature:
        """These parameters, as ``inspect`` shows them."""
        return inspect.Signature(self._all)

    def compile_apply(self, function: Callable[..., Any]) -> Callable[[Values], Any]:
        """A function that calls ``function`` with a tuple of bound arguments."""
        unpack = f"    {self.values()} = values\n" if self.names else ""
        source = f"def apply(values):\n{unpack}    return _mlcache_function({self.forward()})\n"
        return compile_function(source, "apply", {"_mlcache_function": function})

    def compile_bind(self, name: str) -> Callable[..., Values]:
        """A function that takes the arguments and returns the tuple of them, bound."""
        source = f"def {name}({self.declaration()}):\n    return {self.values()}\n"
        return compile_function(source, name, dict(self.defaults))

    def check(self, option: str, names: Collection[str], besides: Collection[str] = ()) -> None:
        """Refuse names that are neither parameters nor in ``besides``.

        Raises:
            ConfigurationError: one of ``names`` is neither.
        """
        for name in names:
            if name not in self.names and name not in besides:
                known = ", ".join((*self.names, *besides)) or "it has none"
                raise ConfigurationError(
                    f"{option} names {name!r}, which is no parameter here (there are: {known})"
                )

    def _forward(self, parameter: Parameter) -> str:
        name = parameter.name
        form = "{0}={1}" if name in self._by_name else _FORWARD[parameter.kind]
        return form.format(name, self._local[name])

    def _declare(self, place: int, parameter: Parameter) -> str:
        name = self._local[parameter.name]
        if parameter.kind is Parameter.VAR_POSITIONAL:
            return f"*{name}"
        if parameter.kind is Parameter.VAR_KEYWORD:
            return f"**{name}"
        return name if parameter.default is Parameter.empty else f"{name}=_mlcache_default_{place}"


def compile_function(source: str, name: str, names: dict[str, Any]) -> Callable[..., Any]:
    """The function ``name`` that ``source`` defines, with ``names`` as its globals."""
    exec(compile(source, f"<mlcache: {name}>", "exec"), names)  # noqa: S102 - text made above, of identifiers alone
    made: Callable[..., Any] = names[name]
    return made


def text_name(function: Callable[..., Any]) -> str:
    """The name of ``function``, where compiled text can say it without hiding a name of its own."""
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) and _is_usable(name) else "call"


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    anything = [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
    if isinstance(function, np.ufunc):  # which does not take all the defaults that it shows
        return inspect.Signature(anything)
    try:
        # Not that of what it wraps: a wrapper may have other defaults, and pass other arguments on.
        return inspect.signature(function, follow_wrapped=False)
    except (ValueError, TypeError):
        return inspect.Signature(anything)


def _displaced(everything: list[Parameter], without: Collection[str]) -> frozenset[str]:
    """The parameters that have to be passed by name, as one before them is not passed by its place."""
    gap: Parameter | None = None
    found: list[str] = []
    for parameter in everything:
        if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD:
            if parameter.name in without:
                gap = gap or parameter
            elif gap is not None:
                found.append(parameter.name)
        elif parameter.kind is Parameter.VAR_POSITIONAL and gap is not None:
            raise ConfigurationError(
                f"the resource {gap.name!r} stands before *{parameter.name}, and is passed by name: move it "
                f"behind *{parameter.name}"
            )
    return frozenset(found)


def _local_name(parameter: Parameter, place: int) -> str:
    """The name of ``parameter``, unless compiled text could not say it or would hide a name of its own."""
    if _is_usable(parameter.name):
        return parameter.name
    if parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
        raise ConfigurationError(
            f"the parameter {parameter.name!r} has a name that mlcache uses itself: rename it, "
            f"such that it does not begin with {_OURS!r}"
        )
    return f"{_OURS}{place}"


def _is_usable(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith(_OURS)
