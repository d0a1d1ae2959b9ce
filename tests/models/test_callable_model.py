from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from mlcache.errors import ConfigurationError
from mlcache.models import CallableModel
from mlcache.sizes import size_of

WEIGHTS = np.ones(100_000)


class Estimator:
    def __init__(self) -> None:
        self.weights = WEIGHTS.copy()

    def predict(self, frame: Any) -> Any:
        return frame @ self.weights

    __call__ = predict


def closing_over(estimator: Estimator) -> Callable[[Any], Any]:
    def predict(frame: Any) -> Any:
        return again(frame) if frame is None else estimator.predict(frame)

    def again(frame: Any) -> Any:
        return predict(frame)

    return again  # which holds the estimator by way of another function, and itself


def with_default(estimator: Estimator) -> Callable[[Any], Any]:
    def predict(frame: Any, use: Callable[[Any], Any] = estimator.predict) -> Any:
        return use(frame)

    return predict


def with_keyword(estimator: Estimator) -> Callable[[Any], Any]:
    def predict(frame: Any, *, use: Estimator = estimator) -> Any:
        return use(frame)

    return predict


def call(model: Estimator, frame: Any) -> Any:
    return model(frame)


HELD: dict[str, Callable[[Estimator], Callable[[Any], Any]]] = {
    "an object": lambda estimator: estimator,
    "a method": lambda estimator: estimator.predict,
    "a closure": closing_over,
    "a default": with_default,
    "a keyword's default": with_keyword,
    "a partial": lambda estimator: partial(call, estimator),
    "a partial's keyword": lambda estimator: partial(call, model=estimator),
}


@pytest.mark.parametrize("make", HELD.values(), ids=HELD.keys())
def test_a_function_takes_what_it_holds_and_that_once(
    make: Callable[[Estimator], Callable[[Any], Any]],
) -> None:
    estimator = Estimator()
    size = CallableModel(make(estimator)).size()
    assert size_of(estimator) <= size < size_of(estimator) + 5000


def test_a_function_is_not_charged_for_names_of_its_module() -> None:
    def later() -> Any:
        return unset

    assert CallableModel(lambda frame: frame @ WEIGHTS).size() < 1000
    assert CallableModel(lambda _: later()).size() < 2000  # what it closes over has no value yet
    unset = 1


def test_a_size_that_is_given_is_taken() -> None:
    assert CallableModel(Estimator(), size=7).size() == 7


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="made of a function"):
        CallableModel(7)  # type: ignore[arg-type]  # what is tested
