"""Models of scikit-learn, or whatever has its methods."""

from __future__ import annotations

import io
import pickle
from collections.abc import Collection
from typing import Any

from mlcache.errors import InvalidModelError, MissingExtraError, ModelInputError, UntrustedModelError
from mlcache.sizes import size_of

BUFFER_OVERHEAD = 150
"""Bytes that each array of a model takes beside its elements, about."""

OBJECTS_RATIO = 2
"""Bytes in memory for each byte of a pickle without the arrays, about."""


class SklearnModel:
    """A model made of an estimator, such as a pipeline that ends in a classifier.

    Args:
        estimator: that was fitted.
        method: of the estimator, which answers: ``"predict"``, ``"predict_proba"``, ``"transform"`` ...
        version: of the model, where its repository does not tell.
    """

    def __init__(self, estimator: Any, *, method: str = "predict", version: str = "") -> None:
        self.estimator = estimator
        self.method = method
        self.version = version

    def predict(self, frame: Any, /) -> Any:
        """What the estimator answers; a sparse matrix, as many transformers give, as an array.

        Raises:
            ModelInputError: columns are missing or unknown, or the estimator refuses the values.
            InvalidModelError: the estimator was never fitted.
        """
        rows = self._rows(frame)
        try:
            answer = getattr(self.estimator, self.method)(rows)
        except (ValueError, TypeError) as error:
            if type(error).__name__ == "NotFittedError":
                raise InvalidModelError(f"the estimator was never fitted: {error}") from error
            raise ModelInputError(f"the model refuses the rows: {error}") from error
        return answer.toarray() if hasattr(answer, "toarray") else answer

    def size(self) -> int:
        """Bytes in memory: those of its arrays, to which compiled trees belong, and roughly of the rest."""
        arrays: list[int] = []
        try:
            rest = pickle.dumps(
                self.estimator, 5, buffer_callback=lambda each: arrays.append(each.raw().nbytes)
            )
        except (pickle.PicklingError, TypeError, AttributeError):  # it holds a lock, a local function ...
            return size_of(self.estimator)
        return sum(arrays) + BUFFER_OVERHEAD * len(arrays) + OBJECTS_RATIO * len(rest)

    def to_skops(self) -> bytes:
        """The estimator in skops' format, which is read without running code that came with it."""
        return bytes(_skops().dumps(self.estimator))

    def to_joblib(self) -> bytes:
        """The estimator as joblib writes it: a pickle."""
        file = io.BytesIO()
        _joblib().dump(self.estimator, file)
        return file.getvalue()

    @classmethod
    def from_skops(cls, data: bytes, *, trusted: Collection[str] = (), **options: Any) -> SklearnModel:
        """Read what ``to_skops`` wrote.

        Args:
            data: that was written.
            trusted: names of types to allow beside those that skops knows to be harmless.
            **options: of ``SklearnModel``.

        Raises:
            UntrustedModelError: it holds other types.
            InvalidModelError: it is no such file, or a torn one.
        """
        skops = _skops()
        try:
            return cls(skops.loads(data, trusted=sorted(trusted)), **options)
        except Exception as error:
            if type(error).__name__ == "UntrustedTypesFoundException":
                types = sorted(set(untrusted_types(data)) - set(trusted))
                raise UntrustedModelError(
                    f"the model holds types that are not trusted: {', '.join(types)}. "
                    f"If you trust whoever wrote it, pass trusted={types!r}"
                ) from None
            raise _invalid("skops", error) from error

    @classmethod
    def from_joblib(cls, data: bytes, *, trusted: bool = False, **options: Any) -> SklearnModel:
        """Read what ``to_joblib`` wrote, which may run any code that whoever wrote it has put in.

        Args:
            data: that was written.
            trusted: whether whoever can write it is trusted.
            **options: of ``SklearnModel``.

        Raises:
            UntrustedModelError: it is not said to be trusted.
            InvalidModelError: it is no such file, or a torn one.
        """
        if not trusted:
            raise UntrustedModelError(
                "a joblib file can run any code of whoever wrote it: store the model in skops' format, or, "
                "if nobody else can write there, pass trusted=True"
            )
        try:
            return cls(_joblib().load(io.BytesIO(data)), **options)
        except MissingExtraError:
            raise
        except Exception as error:
            raise _invalid("joblib", error) from error

    def _rows(self, frame: Any) -> Any:
        """The columns that the model was trained on, in their order."""
        names = getattr(self.estimator, "feature_names_in_", None)
        columns = getattr(frame, "columns", None)
        if names is None or columns is None:
            return frame
        missing, unknown = set(names) - set(columns), set(columns) - set(names)
        if missing or unknown:
            wrong = [f"lacks {_listed(missing)}"] if missing else []
            wrong += [f"has {_listed(unknown)}, which the model does not know"] if unknown else []
            raise ModelInputError(f"the frame {' and '.join(wrong)}; the columns are {_listed(names)}")
        return frame[list(names)]

    def __repr__(self) -> str:
        return f"SklearnModel({type(self.estimator).__name__}, method={self.method!r})"


def untrusted_types(data: bytes) -> list[str]:
    """Names of the types in a skops file that skops does not know to be harmless.

    Raises:
        InvalidModelError: it is no such file, or a torn one.
    """
    try:
        return list(_skops().get_untrusted_types(data=data))
    except MissingExtraError:
        raise
    except Exception as error:
        raise _invalid("skops", error) from error


def _invalid(kind: str, error: Exception) -> InvalidModelError:
    return InvalidModelError(f"this is no whole {kind} file: {type(error).__name__}: {error}")


def _listed(names: Any) -> str:
    shown = sorted(map(str, names)) if isinstance(names, set) else list(map(str, names))
    more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""  # noqa: PLR2004 - as many as one can read
    return ", ".join(shown[:10]) + more


def _skops() -> Any:
    try:
        from skops import io as skops
    except ImportError:
        raise MissingExtraError("a model in skops' format", "skops", "models") from None
    return skops


def _joblib() -> Any:
    try:
        import joblib
    except ImportError:
        raise MissingExtraError("a model in a joblib file", "joblib", "models") from None
    return joblib
