"""Models in the ONNX format, run by onnxruntime."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from mlcache.errors import (
    ConfigurationError,
    InvalidModelError,
    MissingExtraError,
    ModelInputError,
)

MEMORY_RATIO = 4
"""Bytes in memory for each byte of the file, at most: trees take about four, dense layers two."""

SESSION_BYTES = 32 * 1024
"""Bytes that a session takes at least."""

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class OnnxModel:
    """A model in the ONNX format.

    A model with one input gets all columns as one array; one with several gets each column as an array
    of one column, by its name.

    Args:
        data: the model as a file holds it.
        output: name of the output that answers; None: the first.
        threads: that one prediction may use; many models that use all cores would be in each other's way.
        version: of the model, where its repository does not tell.

    Raises:
        InvalidModelError: it is no such model, or a torn one.
        ConfigurationError: there is no such output.
        MissingExtraError: onnxruntime is not installed.
    """

    fork_safe = False
    """A session's threads do not survive a fork."""

    def __init__(
        self, data: bytes, *, output: str | None = None, threads: int = 1, version: str = ""
    ) -> None:
        self.version = version
        self._size = SESSION_BYTES + MEMORY_RATIO * len(data)
        self._session: Any = _open(data, threads)
        self._inputs = self._session.get_inputs()
        names = [each.name for each in self._session.get_outputs()]
        if output is not None and output not in names:
            raise ConfigurationError(f"the model has no output {output!r}: it has {', '.join(names)}")
        self._output = output or names[0]

    def predict(self, frame: Any, /) -> Any:
        """What the model answers.

        Raises:
            ModelInputError: a column is missing, or the model refuses the values.
        """
        session = self._session
        if session is None:
            raise RuntimeError("the model was closed: use it within its lease")
        try:
            return np.asarray(session.run([self._output], self._feed(frame))[0])
        except ModelInputError:
            raise
        except Exception as error:
            raise ModelInputError(f"the model refuses the rows: {error}") from error

    def size(self) -> int:
        """Bytes in memory, rather too many than too few."""
        return self._size

    def close(self) -> None:
        """Give the session's memory back."""
        self._session = None

    def _feed(self, frame: Any) -> dict[str, Any]:
        if len(self._inputs) == 1:
            return {self._inputs[0].name: _array(frame, self._inputs[0])}
        missing = [each.name for each in self._inputs if each.name not in frame]
        if missing:
            raise ModelInputError(f"the frame lacks {', '.join(missing)}")
        return {each.name: _array(frame[[each.name]], each) for each in self._inputs}

    def __repr__(self) -> str:
        return f"OnnxModel({', '.join(each.name for each in self._inputs)} -> {self._output})"


def _array(frame: Any, place: Any) -> Any:
    if place.type not in _TYPES:
        raise ModelInputError(f"the input {place.name!r} takes a {place.type}, which no frame holds")
    values = np.asarray(frame)
    if values.ndim == 2 and len(place.shape) == 2:  # noqa: PLR2004 - rows and columns
        wanted = place.shape[1]
        if isinstance(wanted, int) and values.shape[1] != wanted:
            raise ModelInputError(f"the frame has {values.shape[1]} columns: the model takes {wanted}")
    return np.ascontiguousarray(_cast(values, np.dtype(_TYPES[place.type]), place.name))


def _cast(values: Any, dtype: np.dtype[Any], name: str) -> Any:
    """The values as the model takes them; none may become another one on the way, but for its precision.

    Raises:
        ModelInputError: one would.
    """
    with np.errstate(all="ignore"):
        cast = values.astype(dtype)
    if dtype.kind == "f":
        kept = not (np.isinf(cast) & np.isfinite(values.astype(np.float64))).any()
    else:
        kept = dtype.kind == "O" or np.array_equal(cast, values)
    if not kept:
        raise ModelInputError(f"the input {name!r} takes {dtype}, and not all of its values are")
    return cast


def _open(data: bytes, threads: int) -> Any:
    # Official builds send events home, and open a database for these as soon as they are imported. Whoever
    # wants that sets the variable to 0.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("a model in the ONNX format", "onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InvalidModelError(f"this is no whole ONNX model: {error}") from error
