"""Codes of scipy's sparse arrays, scikit-learn's estimators and Pillow's images."""

from __future__ import annotations

from marshal import dumps
from typing import Any

import numpy as np

from mlcache.keys.classes import says_how_pickled, type_name
from mlcache.keys.digest import Encoder, Seen, encode, encode_items
from mlcache.keys.standard import made_of
from mlcache.keys.structures import encode_state

_COMPRESSED = ("csr", "csc", "bsr")
_STORED = frozenset(
    {"data", "indices", "indptr", "coords", "offsets", "rows", "row", "col", "dtype", "maxprint"}
)
_MOST = np.iinfo(np.int32).max


def encoder_for(kind: type) -> Encoder | None:
    """How a type of these libraries, or one derived from it, is encoded; None if not here."""
    bases = {type_name(base) for base in kind.__mro__}
    if "scipy.sparse._base._spbase" in bases:
        return _encode_sparse
    if "sklearn.base.BaseEstimator" in bases:
        return encode_state
    if "PIL.Image.Image" in bases:
        return _encode_image
    if "PIL.TiffImagePlugin.IFDRational" in bases:
        return made_of("IFDRational", lambda value: (value.numerator, value.denominator))
    return encode_state if _is_part_of_estimator(kind) else None


def _is_part_of_estimator(kind: type) -> bool:
    """Whether it is an object of scikit-learn's own that does not say how it is pickled, such as a loss."""
    return kind.__module__.startswith("sklearn.") and not says_how_pickled(kind)


def _encode_sparse(matrix: Any, seen: Seen) -> bytes:
    """The format counts; the order in which elements are stored, and whether one is in parts, does not."""
    kind = type(matrix)
    head = b"@sparse:" + dumps((type_name(kind), matrix.format, matrix.shape), 2)
    own = None if kind.__module__.startswith("scipy.") else (kind, _own_attributes(matrix))
    matrix = _canonical(matrix)
    places = matrix.coords if matrix.format == "coo" else (matrix.indices, matrix.indptr)
    return head + encode_items((matrix.data, *map(_narrow, places), own), seen, ".data")


def _canonical(matrix: Any) -> Any:
    """A matrix of equal content in whose format elements are stored in one way only."""
    if matrix.format not in _COMPRESSED:
        matrix = matrix.tocsr() if len(matrix.shape) <= 2 else matrix.copy()  # noqa: PLR2004
    elif not matrix.has_canonical_format:
        matrix = matrix.copy()
    if not matrix.has_canonical_format:
        matrix.sum_duplicates()
    return matrix


def _narrow(places: Any) -> Any:
    """Indices as scipy stores them where they are few; depending on its history, a matrix has wider ones."""
    if places.dtype == np.int32 or (places.size and places.max() > _MOST):
        return places
    return places.astype(np.int32)


def _own_attributes(matrix: Any) -> dict[str, Any]:
    """The attributes that an object of a derived class has besides those of scipy's."""
    own = vars(matrix).items()
    return {name: content for name, content in own if not name.startswith("_") and name not in _STORED}


def _encode_image(image: Any, seen: Seen) -> bytes:
    """An image in memory and one read from a file are equal if mode, size, pixels, palette and notes are.

    Of a file of several frames each counts, and which one is shown, unless it was closed.
    """
    if not _is_closed(image) and getattr(image, "n_frames", 1) > 1:
        return _encode_frames(image, seen)
    return b"@image:" + encode(_picture(image), seen)


def _is_closed(image: Any) -> bool:
    """Whether the file of further frames is closed. Asking for one would leave the image without any."""
    file = getattr(image, "_fp", None)
    return type(file).__name__ == "DeferredError" or bool(getattr(file, "closed", False))


def _encode_frames(image: Any, seen: Seen) -> bytes:
    shown, count = image.tell(), image.n_frames
    codes = []
    for place in range(count):
        image.seek(place)
        codes.append(encode(_picture(image), seen))
    image.seek(shown)
    image.load()  # as it was: the file may be closed before the image is used
    return b"@images:" + dumps((count, shown), 2) + b"".join(codes)


def _picture(image: Any) -> tuple[Any, ...]:
    image.load()
    palette = (image.palette.mode, image.getpalette(None)) if image.palette else None
    return image.mode, image.size, palette, image.tobytes(), dict(image.info)
