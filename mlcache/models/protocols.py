"""What the parts of a service with many models promise each other."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import msgspec


class Description(msgspec.Struct, frozen=True):
    """What a store says of a model without loading it.

    Args:
        version: changes whenever the model does; empty where the store knows of no versions.
        size: bytes that it takes in the store; None where that is not known.
    """

    version: str = ""
    size: int | None = None


@runtime_checkable
class Model(Protocol):
    """A trained model."""

    def predict(self, frame: Any, /) -> Any:
        """One answer for each row of ``frame``, as an array.

        Raises:
            ModelInputError: the frame is not what the model was trained on.
        """
        ...


@runtime_checkable
class ModelInfoRepository(Protocol):
    """Which model answers for which user."""

    def get_model_id(self, user_id: str, /) -> str:
        """The id of the user's model.

        Raises:
            UnknownUserError: there is no such user.
            ModelStoreError: what knows does not answer.
        """
        ...


@runtime_checkable
class ModelRepository(Protocol):
    """Where models come from."""

    def get_model(self, model_id: str, /) -> Model:
        """The model, ready to predict.

        Raises:
            UnknownModelError: there is no such model.
            InvalidModelError: what is stored is no whole model that may be loaded.
            ModelStoreError: the store does not answer.
        """
        ...


@runtime_checkable
class Describes(Protocol):
    """A repository that tells versions and sizes: without it, a changed model is not noticed."""

    def describe(self, model_id: str, /) -> Description:
        """What there is to know of a model without loading it; it raises as ``get_model`` does."""
        ...


@runtime_checkable
class Fetches(Protocol):
    """A repository that loads what it has described: without it, each model is looked for twice."""

    def fetch(self, model_id: str, described: Description, /) -> Model:
        """The model that was described, or what has replaced it since; it raises as ``get_model`` does.

        Args:
            model_id: of the model.
            described: what ``describe`` said of it a moment ago.
        """
        ...


@runtime_checkable
class Sized(Protocol):
    """A model that knows how much memory it takes: without it, its attributes are measured."""

    def size(self) -> int:
        """Bytes."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """A model that knows its version: without it, the repository is asked before and after loading."""

    @property
    def version(self) -> str:
        """As in ``Description``."""
        ...


@runtime_checkable
class Closes(Protocol):
    """A model or a repository that holds what has to be given back."""

    def close(self) -> None:
        """Give it back; nobody uses it afterwards."""
        ...


@runtime_checkable
class Pings(Protocol):
    """A repository that can tell whether what is behind it answers."""

    def ping(self) -> None:
        """Ask for a sign of life.

        Raises:
            ModelStoreError: there is none.
        """
        ...
