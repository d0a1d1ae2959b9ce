from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlcache.errors import ConfigurationError, InvalidModelError, ModelInputError
from mlcache.models import Closes, Model, OnnxModel

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any, bytes]:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    bunch: Any = load_iris(as_frame=True)
    frame, target = bunch.data.astype(np.float32), bunch.target
    estimator = LogisticRegression(max_iter=500).fit(frame.to_numpy(), target)
    data = skl2onnx.to_onnx(estimator, frame.to_numpy()[:1], options={"zipmap": False})
    return frame, estimator, data.SerializeToString()


def test_it_answers_as_what_it_was_made_from(trained: tuple[Any, Any, bytes]) -> None:
    frame, estimator, data = trained
    model = OnnxModel(data)
    assert isinstance(model, Model)
    assert isinstance(model, Closes)
    assert np.array_equal(model.predict(frame), estimator.predict(frame.to_numpy()))
    sure = OnnxModel(data, output="probabilities").predict(frame.astype(np.float64))
    assert np.allclose(sure, estimator.predict_proba(frame.to_numpy()), atol=1e-5)
    assert model.size() > len(data)


def test_a_model_of_several_inputs_gets_each_column_by_its_name() -> None:
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 5.0], "b": [2.0, 1.0, 0.0, 1.0]})
    pipeline = make_pipeline(
        ColumnTransformer([("scale", StandardScaler(), ["a", "b"])]), LinearRegression()
    ).fit(frame, [1.0, 2.0, 3.0, 4.0])
    inputs = [(name, FloatTensorType([None, 1])) for name in frame]
    model = OnnxModel(skl2onnx.convert_sklearn(pipeline, initial_types=inputs).SerializeToString())
    assert np.allclose(model.predict(frame[["b", "a"]]).ravel(), pipeline.predict(frame), atol=1e-5)
    with pytest.raises(ModelInputError, match="lacks b"):
        model.predict(frame[["a"]])


def test_what_it_cannot_answer_for_is_said(trained: tuple[Any, Any, bytes]) -> None:
    frame, _, data = trained
    model = OnnxModel(data)
    with pytest.raises(ModelInputError, match="3 columns: the model takes 4"):
        model.predict(frame.iloc[:, :3])
    with pytest.raises(ModelInputError, match="refuses"):
        model.predict(frame.assign(a="text").iloc[:, 1:])
    with pytest.raises(ConfigurationError, match="it has label, probabilities"):
        OnnxModel(data, output="nonsense")
    model.close()
    with pytest.raises(RuntimeError, match="closed"):
        model.predict(frame)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_torn_file_is_refused(trained: tuple[Any, Any, bytes], share: float) -> None:
    data = trained[2]
    with pytest.raises(InvalidModelError, match="no whole ONNX model"):
        OnnxModel(data[: int(len(data) * share)])


def _of_type(kind: Any) -> OnnxModel:
    """A model that answers what it is given."""
    from onnx import TensorProto, helper

    kind = getattr(TensorProto, kind)
    node = helper.make_node("Identity", ["x"], ["y"])
    place = [helper.make_tensor_value_info(name, kind, [None, 1]) for name in "xy"]
    graph = helper.make_graph([node], "same", place[:1], place[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return OnnxModel(model.SerializeToString())


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("INT64", value) for value in (1.9, np.nan, np.inf, 2.0**63, "1")),
        *(("INT32", value) for value in (1.5, 2**40)),
        *(("BOOL", value) for value in ("no", 2, 0.5)),
        ("FLOAT", 1e300),
    ],
)
def test_no_value_becomes_another_one_on_the_way_in(kind: str, value: object) -> None:
    with pytest.raises(ModelInputError):
        _of_type(kind).predict(pd.DataFrame({"x": [value]}))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("INT64", value) for value in (2.0, True, 2**53 + 1, -3)),
        *(("BOOL", value) for value in (True, 0, 1.0)),
        *(("FLOAT", value) for value in (0.1, np.nan, np.inf, 7, True)),
        ("DOUBLE", 1e300),
    ],
)
def test_values_that_fit_are_taken(kind: str, value: Any) -> None:
    answer = _of_type(kind).predict(pd.DataFrame({"x": [value]}))
    assert np.allclose(answer.astype(float), float(value), equal_nan=True)
