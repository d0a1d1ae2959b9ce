"""What a service says of a prediction, or of its failure, in whatever framework it is written."""

from __future__ import annotations

import logging
import math
from typing import Any

import msgspec
import numpy as np

from mlcache.errors import (
    InvalidModelError,
    ModelError,
    ModelInputError,
    ModelStoreError,
    NoRoomError,
    UnknownModelError,
    UnknownUserError,
    UntrustedModelError,
)

RETRY_AFTER = 5
"""Seconds after which a client may ask again, where nothing better is known."""

_log = logging.getLogger(__name__)


class Refusal(msgspec.Struct, frozen=True):
    """What a client is told in place of a prediction.

    Args:
        status: of HTTP.
        detail: in words.
        headers: beside it.
    """

    status: int
    detail: str
    headers: dict[str, str]

    @property
    def body(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode({"detail": self.detail})


def refusal_of(error: ModelError) -> Refusal:
    """What the client is told; what only the operator can use goes into the log."""
    if isinstance(error, ModelInputError):
        return Refusal(422, str(error), {})
    if isinstance(error, UnknownUserError | UnknownModelError):
        return Refusal(404, "there is no model for this user", {})
    _log.warning("a prediction failed: %s", error)
    never = isinstance(error, NoRoomError) and not error.passing
    if never or isinstance(error, InvalidModelError | UntrustedModelError):
        return Refusal(500, "the model of this user cannot be loaded", {})
    after = error.retry_after if isinstance(error, ModelStoreError) else None
    seconds = RETRY_AFTER if after is None else max(math.ceil(after), 1)
    said = "the model of this user cannot be had now: try again later"
    return Refusal(503, said, {"Retry-After": str(seconds)})


def json_of(model_id: str, version: str, answer: Any) -> bytes:
    """A prediction as JSON, in which what is not a number, or infinite, is ``null``.

    Args:
        model_id: of the model that answered.
        version: of it.
        answer: what it predicted, an element or a row for each row.
    """
    said = {"model_id": model_id, "version": version, "predictions": _listed(np.asarray(answer))}
    return msgspec.json.encode(said)


def _listed(values: Any) -> Any:
    if values.dtype.kind == "M":  # nanoseconds would become numbers
        values = values.astype("datetime64[us]")
    return values.tolist()
