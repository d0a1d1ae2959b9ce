"""Resources that are passed twice, or by another name than they have."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from mlcache import Pool, ml_cache
from mlcache.errors import MlcacheWarning
from mlcache.offload.passing import check_passed, warn_of_misspelt
from tests.offload import samples


def takes(first: Any, model: Any = None, *, last: Any = None) -> Any:
    return first, model, last


@pytest.mark.parametrize("passed", [((1, 2), {}), ((1,), {"model": 2}), ((1, 2), {"last": 3})])
def test_a_resource_that_is_passed_is_refused(passed: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    with pytest.raises(TypeError, match=r"takes is given 'model' by the resources.*rename"):
        check_passed(takes, ("model",), *passed)
    pool = Pool(1, resources={"model": samples.load_weight})
    with pytest.raises(TypeError, match="takes is given 'model' by the resources"):
        pool.submit(takes, *passed[0], **passed[1])
    pool.close()


def test_what_is_no_resource_may_be_passed() -> None:
    check_passed(takes, ("model",), (1,), {"last": 3})
    check_passed(takes, ("last",), (1, 2), {})


def test_a_misspelt_resource_is_told_once() -> None:
    def predict(x: Any, *, model: Any = None) -> Any:
        return x, model

    with pytest.warns(MlcacheWarning, match="parameter 'model', and its pool a resource 'modle'"):
        warn_of_misspelt(predict, ["modle"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_misspelt(predict, ["modle"])


@pytest.mark.parametrize("resources", [[], ["model"], ["vocabulary"], ["model", "last"], ["firsts"]])
def test_other_names_are_nobodys_business(resources: list[str]) -> None:
    def named(first: Any, model: Any = None, *, last: Any = None) -> Any:
        return first, model, last

    warn_of_misspelt(named, resources)  # a warning is an error in tests
    warn_of_misspelt(len, resources)


def test_a_misspelt_resource_is_told_where_a_function_is_decorated_or_submitted() -> None:
    def predict(x: Any, *, model: Any = None) -> Any:
        return x, model

    def other(x: Any, *, model: Any = None) -> Any:
        return x, model

    with Pool(1, resources={"modle": samples.load_weight}) as pool:
        with pytest.warns(MlcacheWarning, match="'modle'") as told:
            ml_cache(offload=pool)(predict)
        assert told[0].filename == __file__
        with pytest.warns(MlcacheWarning, match="'modle'"):
            assert pool.submit(other, 1).result(60) == (1, None)
