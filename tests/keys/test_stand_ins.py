"""What stands for an argument in the key, where it fails."""

from __future__ import annotations

from typing import Any

import pytest

from mlcache import UnhashableArgumentError, ml_cache


class Model:
    """Has no version."""

    def named(self, name: str) -> str:
        return name


def version_of(model: Any) -> str:
    return str(model.version)


MESSAGE = r"from model of type .*Model \(its key= function raised AttributeError.*ignore=\['model'\]"


def test_a_stand_in_that_raises_names_its_parameter() -> None:
    @ml_cache(key={"model": version_of})
    def score(model: Model, x: int) -> int:
        return x if model else 0

    for use in (score, score.cache_key, score.explain_key, score.peek):
        with pytest.raises(UnhashableArgumentError, match=MESSAGE) as caught:
            use(Model(), 1)
        assert isinstance(caught.value.__cause__, AttributeError)
        assert (caught.value.parameter, caught.value.kind) == ("model", Model)


def test_a_stand_in_of_a_closures_variable_that_raises_names_it() -> None:
    model = Model()

    def score(x: int) -> int:
        return x if model else 0

    with pytest.raises(UnhashableArgumentError, match=MESSAGE):
        ml_cache(key={"model": version_of})(score)


def test_a_stand_in_of_the_instance_that_raises_names_it() -> None:
    class Service:
        @ml_cache(key={"self": version_of})
        def score(self, x: int) -> int:
            return x

    with pytest.raises(UnhashableArgumentError, match=r"from self of type .*Service \(its key= function"):
        Service().score(1)
    with pytest.raises(UnhashableArgumentError, match=r"from self of type .*Model \(its key= function"):
        ml_cache(key={"self": version_of})(Model().named)
