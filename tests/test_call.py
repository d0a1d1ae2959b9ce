"""Binding: a compiled binder takes the arguments that the function takes, and passes them on."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from functools import partial
from inspect import Parameter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.call import Call, Parameters, text_name
from mlcache.entry import Key
from mlcache.errors import ConfigurationError

KINDS = [
    Parameter.POSITIONAL_ONLY,
    Parameter.POSITIONAL_OR_KEYWORD,
    Parameter.VAR_POSITIONAL,
    Parameter.KEYWORD_ONLY,
    Parameter.VAR_KEYWORD,
]
NAMES = [
    "x",
    "self",
    "type",
    "entry",
    "values",
    "args",
    "kwargs",
    "apply",
    "call",
    "value",
    "_",
    "ñ",
    "_ml_digest",
]


@st.composite
def signatures(draw: st.DrawFn) -> inspect.Signature:
    """Any signature that a function may have."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6))
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), min_size=len(names), max_size=len(names))))
    parameters: list[Parameter] = []
    may_be_required = True
    for name, kind in zip(names, kinds, strict=True):
        if kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            if kind in (known.kind for known in parameters):
                continue
            parameters.append(Parameter(name, kind))
        else:
            positional = kind is not Parameter.KEYWORD_ONLY
            default = draw(st.booleans()) or (positional and not may_be_required)
            may_be_required = may_be_required and not (positional and default)
            parameters.append(Parameter(name, kind, default=f"the {name}" if default else Parameter.empty))
    return inspect.Signature(parameters)


def function_with(signature: inspect.Signature) -> Callable[..., dict[str, Any]]:
    """A function with that signature which returns what reached it."""
    names: dict[str, Any] = {}
    exec(f"def function{signature}:\n    return locals()\n", names)  # noqa: S102 - of the names above
    made: Callable[..., dict[str, Any]] = names["function"]
    return made


def attempt(function: Callable[[], Any]) -> Any:
    """What it returns, or that it would not take the arguments."""
    try:
        return function()
    except TypeError:
        return TypeError


@given(
    signatures(),
    st.lists(st.integers(), max_size=5),
    st.dictionaries(st.sampled_from(NAMES), st.integers(), max_size=5),
)
def test_what_is_bound_and_passed_on_is_what_a_plain_call_would_be(
    signature: inspect.Signature, args: list[int], kwargs: dict[str, int]
) -> None:
    function = function_with(signature)
    parameters = Parameters(function)
    bind, apply = parameters.compile_bind("function"), parameters.compile_apply(function)
    plain = attempt(lambda: function(*args, **kwargs))
    assert attempt(lambda: apply(bind(*args, **kwargs))) == plain
    if plain is not TypeError:
        assert dict(zip(parameters.names, bind(*args, **kwargs), strict=True)) == plain


def test_the_error_for_wrong_arguments_is_pythons_own() -> None:
    def resize(image: object, *, size: int) -> object:
        return image, size

    bind = Parameters(resize).compile_bind("resize")
    with pytest.raises(TypeError, match=r"resize\(\) missing 1 required keyword-only argument: 'size'"):
        bind(1)
    with pytest.raises(TypeError, match=r"resize\(\) got an unexpected keyword argument 'siez'"):
        bind(1, siez=2)


def test_a_default_is_the_very_object() -> None:
    sentinel = object()

    def function(x: object = sentinel) -> object:
        return x

    parameters = Parameters(function)
    assert parameters.compile_bind("f")()[0] is sentinel
    assert parameters.default_of("x") is not None
    assert parameters.compile_apply(function)((sentinel,)) is sentinel


def test_a_changed_default_after_decoration_does_not_matter_to_the_binder() -> None:
    def function(x: int = 1) -> int:
        return x

    bind = Parameters(function).compile_bind("f")
    function.__defaults__ = (2,)
    assert bind() == (1,)


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (math.sqrt, (4.0,), 2.0),
        (math.hypot, (3.0, 4.0), 5.0),
        (max, (1, 3, 2), 3),
        (len, ([1, 2],), 2),
        (sum, ([1, 2],), 3),
        (int.from_bytes, (b"\x01",), 1),
        ("a,b".split, (",",), ["a", "b"]),
        (operator.itemgetter(1), ([1, 2],), 2),
        (np.dot, ([1, 2], [3, 4]), 11),
        (np.linalg.norm, ([3.0, 4.0],), 5.0),
        (np.sin, (0.0,), 0.0),
        (np.add, (1, 2), 3),
        (np.add.reduce, ([1, 2],), 3),
        (partial(pow, 2), (3,), 8),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
def test_functions_of_c_can_be_bound_and_called(
    function: Callable[..., Any], args: tuple[Any, ...], expected: object
) -> None:
    parameters = Parameters(function)
    assert parameters.compile_apply(function)(parameters.compile_bind("f")(*args)) == expected


def test_a_name_that_compiled_text_uses_itself_is_refused_with_a_way_out() -> None:
    def function(_mlcache_digest: int) -> int:
        return _mlcache_digest

    with pytest.raises(ConfigurationError, match=r"'_mlcache_digest'.*rename"):
        Parameters(function)


def test_a_name_that_nobody_can_pass_may_be_anything() -> None:
    signature = inspect.Signature(
        [Parameter("class", Parameter.POSITIONAL_ONLY), Parameter("x", Parameter.VAR_KEYWORD)]
    )

    def function(*args: object, **kwargs: object) -> object:
        return args, kwargs

    function.__signature__ = signature  # type: ignore[attr-defined]
    bind = Parameters(function).compile_bind("f")
    assert bind(1, **{"class": 2}) == (1, {"class": 2})


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    def function(image: object, size: int) -> object:
        return image, size

    parameters = Parameters(function)
    parameters.check("ignore", ["image", "model"], besides=["model"])
    with pytest.raises(ConfigurationError, match=r"ignore names 'imgae'.*image, size, model"):
        parameters.check("ignore", ["imgae"], besides=["model"])
    with pytest.raises(ConfigurationError, match="it has none"):
        Parameters(lambda: None).check("key", ["x"])


@pytest.mark.parametrize("name", ["class", "<lambda>", "a b", "", "_mlcache_find", 5, None])
def test_a_name_that_cannot_be_said_is_replaced(name: Any) -> None:
    class Named:
        def __call__(self) -> None:
            pass

    named = Named()
    named.__name__ = name  # type: ignore[attr-defined]
    assert text_name(named) == "call"
    assert text_name(Named()) == "call"
    assert text_name(attempt) == "attempt"


def test_a_call_can_be_made_later() -> None:
    parameters = Parameters(divmod)
    call = Call(Key("n", b""), parameters.compile_bind("divmod")(7, 2), parameters.compile_apply(divmod))
    assert call.apply(call.values) == (3, 1)


def test_parameters_that_somebody_else_passes_are_left_out() -> None:
    def function(a: int, model: str, b: int = 2, *, c: int = 3, tokenizer: str) -> tuple[Any, ...]:
        return a, model, b, c, tokenizer

    parameters = Parameters(function, ["model", "tokenizer", "unknown"])
    assert parameters.names == ("a", "b", "c")
    assert parameters.without == {"model", "tokenizer"}
    assert str(parameters.signature()) == "(a: 'int', b: 'int' = 2, *, c: 'int' = 3)"
    bind = parameters.compile_bind("function")
    assert bind(1, 5) == bind(1, b=5) == (1, 5, 3)
    with pytest.raises(TypeError, match="model"):
        bind(1, model="m")
    apply = parameters.compile_apply(partial(function, model="m", tokenizer="t"))
    assert apply((1, 5, 3)) == (1, "m", 5, 3, "t")


def test_arguments_of_any_number_cannot_follow_one_that_is_left_out() -> None:
    def function(model: str, *rest: int) -> tuple[Any, ...]:
        return model, rest

    with pytest.raises(ConfigurationError, match=r"'model' stands before \*rest.*behind \*rest"):
        Parameters(function, ["model"])
