from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from mlcache.errors import InvalidModelError, ModelInputError, UntrustedModelError
from mlcache.models import Model, SklearnModel
from tests.models.tenants import data, model, rows


@pytest.mark.parametrize("number", range(8))
def test_a_model_answers_the_same_after_skops_and_joblib(number: int) -> None:
    original = model(number)
    right = original.predict(rows(number, 3, 50))
    for copy in (
        SklearnModel.from_skops(original.to_skops(), method=original.method),
        SklearnModel.from_joblib(original.to_joblib(), trusted=True, method=original.method),
    ):
        assert isinstance(copy, Model)
        assert np.array_equal(copy.predict(rows(number, 3, 50)), right)


def test_columns_are_brought_into_the_order_of_training() -> None:
    frame = rows(0, 0, 20)
    assert np.array_equal(model(0).predict(frame[frame.columns[::-1]]), model(0).predict(frame))


def test_a_frame_that_does_not_fit_is_told_what_is_wrong() -> None:
    frame = rows(0, 0)
    with pytest.raises(ModelInputError, match=r"lacks petal width \(cm\)") as caught:
        model(0).predict(frame.drop(columns="petal width (cm)"))
    assert "the columns are sepal length (cm), sepal width (cm)" in str(caught.value)
    with pytest.raises(ModelInputError, match="has colour, which the model does not know"):
        model(0).predict(frame.assign(colour=1))
    with pytest.raises(ModelInputError, match="refuses the rows"):
        model(0).predict(frame.assign(**{"petal width (cm)": ["wide", "narrow"]}))
    with pytest.raises(ModelInputError, match="NaN"):
        model(0).predict(frame.assign(**{"petal width (cm)": float("nan")}))


def test_an_estimator_that_was_never_fitted_is_no_fault_of_the_rows() -> None:
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(InvalidModelError, match="never fitted"):
        SklearnModel(LogisticRegression()).predict(rows(0, 0))


def test_arrays_are_passed_as_they_are() -> None:
    from sklearn.linear_model import Ridge

    plain = SklearnModel(Ridge().fit(np.eye(3), [1.0, 2.0, 3.0]))
    assert plain.predict(np.eye(3)).shape == (3,)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("code of the file was run",)


def test_a_joblib_file_is_not_read_unless_it_is_trusted() -> None:
    with pytest.raises(UntrustedModelError, match="trusted=True"):
        SklearnModel.from_joblib(pickle.dumps(_Evil()))


def test_types_that_nobody_trusts_are_refused_by_name() -> None:
    from sklearn.ensemble import RandomForestClassifier

    frame, target = data("iris")
    forest = SklearnModel(RandomForestClassifier(3, random_state=0).fit(frame, target))
    stored = forest.to_skops()
    with pytest.raises(UntrustedModelError, match=r"sklearn\.tree\._tree\.Tree.*trusted=\['sklearn"):
        SklearnModel.from_skops(stored)
    read = SklearnModel.from_skops(stored, trusted=["sklearn.tree._tree.Tree"])
    assert np.array_equal(read.predict(frame), forest.predict(frame))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_torn_files_are_refused(share: float) -> None:
    skops, joblib = model(0).to_skops(), model(0).to_joblib()
    with pytest.raises(InvalidModelError, match="no whole skops"):
        SklearnModel.from_skops(skops[: int(len(skops) * share)])
    with pytest.raises(InvalidModelError, match="no whole joblib"):
        SklearnModel.from_joblib(joblib[: int(len(joblib) * share)], trusted=True)


def test_the_size_counts_arrays_and_compiled_trees() -> None:
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((2000, 4)))
    forest = RandomForestRegressor(20, random_state=0).fit(frame, rng.random(2000))
    nodes = sum(each.tree_.node_count for each in forest.estimators_)
    size = SklearnModel(forest).size()
    assert 64 * nodes < size < 1.5 * 72 * nodes
    assert SklearnModel(forest).size() == size
    forest.callback = lambda: None  # which cannot be pickled
    assert SklearnModel(forest).size() > 0


def test_a_sparse_answer_is_an_array() -> None:
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame({"a": ["x", "y", "x"]})
    answer = SklearnModel(OneHotEncoder().fit(frame), method="transform").predict(frame)
    assert isinstance(answer, np.ndarray)
    assert answer.tolist() == [[1, 0], [0, 1], [1, 0]]
