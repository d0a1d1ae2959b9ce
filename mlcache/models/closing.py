"""Closing models that nobody uses any more."""

from __future__ import annotations

from mlcache.models.protocols import Closes
from mlcache.warning import warn


def close_model(model: object) -> None:
    """Close a model that can be closed. One that fails at it is warned of: it is of no use to anybody."""
    if not isinstance(model, Closes):
        return
    try:
        model.close()
    except Exception as error:  # noqa: BLE001 - code of the model's author
        warn(f"closing {model!r} raised {error!r}")
