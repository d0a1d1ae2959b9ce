"""What is said to whoever asks for a model that there is no room for."""

from __future__ import annotations

from mlcache.errors import NoRoomError
from mlcache.units import show_size


def too_large(model_id: str, size: int, max_bytes: int) -> NoRoomError:
    """A model larger than all the room there is."""
    return NoRoomError(
        f"model {model_id!r} takes {show_size(size)}, which is more than the "
        f"{show_size(max_bytes)} that all may take together: raise max_bytes"
    )


def in_use(model_id: str, size: int, models: int, used: int) -> NoRoomError:
    """A model whose room others were using for too long: ``models`` of them, of ``used`` bytes."""
    return NoRoomError(
        f"model {model_id!r} needs {show_size(size)}, and when its time to wait was over "
        f"{models} models of {show_size(used)} were still in use: raise max_bytes, max_models or wait",
        passing=True,
    )
