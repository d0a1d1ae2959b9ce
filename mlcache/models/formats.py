"""How a stored file becomes a model, by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from mlcache.errors import ConfigurationError
from mlcache.models.onnx_model import OnnxModel
from mlcache.models.protocols import Model
from mlcache.models.sklearn_model import SklearnModel, untrusted_types

Reader = Callable[[bytes, str], Model]
"""Makes a model from what is stored and its version."""

Trusted = bool | Collection[str]
"""Whether whoever writes to a store is trusted, or which types are."""


def readers_of(trusted: Trusted, more: Mapping[str, Reader] | None) -> dict[str, Reader]:
    """The readers by ending, in the order in which they are looked for.

    Args:
        trusted: True allows pickles too; names of types allow these in skops' format.
        more: readers of the user's own, which come first.
    """
    types = () if isinstance(trusted, bool) else tuple(trusted)
    for ending in more or {}:
        if not ending.startswith(".") or "/" in ending:
            raise ConfigurationError(f"readers has {ending!r}: give endings such as '.txt'")

    def read_skops(data: bytes, version: str) -> Model:
        allowed = untrusted_types(data) if trusted is True else types
        return SklearnModel.from_skops(data, trusted=allowed, version=version)

    def read_joblib(data: bytes, version: str) -> Model:
        return SklearnModel.from_joblib(data, trusted=trusted is True, version=version)

    def read_onnx(data: bytes, version: str) -> Model:
        return OnnxModel(data, version=version)

    own = {".skops": read_skops, ".onnx": read_onnx, ".joblib": read_joblib}
    return {**(more or {}), **{ending: read for ending, read in own.items() if ending not in (more or {})}}


def written(model: Any) -> tuple[bytes, str]:
    """A model as it is stored, and the ending of its file.

    Raises:
        ConfigurationError: it is of no kind that has a format.
    """
    if isinstance(model, SklearnModel):
        return model.to_skops(), ".skops"
    raise ConfigurationError(
        f"no format is known for {model!r}: pass a SklearnModel, or bytes and the ending of their file"
    )
