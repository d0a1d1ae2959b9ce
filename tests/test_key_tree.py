"""What ``explain_key`` shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlcache import ml_cache


class Model:
    """Something without a key."""


@ml_cache(ignore="device", key={"model": lambda model: type(model).__name__})
def predict(
    image: Any,
    model: object = None,
    *rest: int,
    device: str = "cpu",
    steps: int = 3,
    marker: object = object(),
    **options: Any,
) -> tuple[object, ...]:
    return image, model, rest, device, steps, marker, options


def test_each_parameter_has_a_line_that_says_what_it_contributes() -> None:
    tree = predict.explain_key(np.zeros(3), Model(), 7, steps=4, extra=None)
    assert str(tree) == repr(tree) == "\n".join(tree.lines)
    key, function, *parameters = tree.lines
    assert key == f"key: {predict.cache_key(np.zeros(3), Model(), 7, steps=4, extra=None).digest.hex()}"
    assert function.startswith(f"function: {__name__}.predict, version 'code'  ")
    assert [line.rpartition("  ")[0] or line for line in parameters] == [
        "image: numpy.ndarray float64 (3,)",
        f"model: str 'Model', stands for {__name__}.Model",
        "rest: tuple of 1",
        "  [0]: int 7",
        "device: str 'cpu', ignored",
        "steps: int 4",
        "marker: object, default, which counts as unchanged",
        "options: dict of 1",
        "  ['extra']: NoneType None",
    ]


def test_an_unchanged_default_is_marked() -> None:
    assert "steps: int 3, default  " in str(predict.explain_key(1))
    assert "steps: int 4  " in str(predict.explain_key(1, steps=4))
    assert "marker: object  no stable key: builtins.object" in str(predict.explain_key(1, marker=object()))


def test_two_calls_differ_in_the_lines_of_what_differs() -> None:
    one, other = (
        predict.explain_key({"a": [1, 2], "b": value}, Model(), device=device).lines
        for value, device in ((1, "cpu"), (2, "cuda"))
    )
    changed = [
        line.strip().partition(":")[0] for line, after in zip(one, other, strict=True) if line != after
    ]
    assert changed == ["key", "image", "['b']", "device"]


def test_a_call_that_has_no_key_is_explained_all_the_same() -> None:
    key, _, image, *_ = predict.explain_key(iter([])).lines
    assert key.startswith("key: none: no stable key can be made from image of type list_iterator")
    assert image == "image: list_iterator  no stable key: builtins.list_iterator"


def test_of_a_method_the_instance_is_a_parameter() -> None:
    class Scaler:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def __ml_cache_key__(self) -> int:
            return self.factor

        @ml_cache
        def scale(self, x: int) -> int:
            return self.factor * x

    lines = Scaler(2).scale.explain_key(3).lines
    assert [line.partition(":")[0] for line in lines] == ["key", "function", "self", "x"]


async def test_on_an_event_loop_it_is_awaited() -> None:
    @ml_cache
    async def score(x: int) -> int:
        return x

    tree = await score.explain_key(1)
    assert tree.lines[0] == f"key: {(await score.cache_key(1)).digest.hex()}"
    assert (await predict.aio.explain_key(1)).lines == predict.explain_key(1).lines


def test_nothing_is_computed_or_kept() -> None:
    predict.explain_key(5)
    assert predict.peek(5) is None
