"""Codes of scipy's sparse arrays, scikit-learn's estimators and Pillow's images."""

from __future__ import annotations

from marshal import dumps
from typing import Any

from mlcache.keys.classes import says_how_pickled, type_name
from mlcache.keys.digest import Encoder, Seen, encode, encode_items
from mlcache.keys.structures import encode_state

_COMPRESSED = ("csr", "csc", "bsr")


def encoder_for(kind: type) -> Encoder | None:
    """How a type of these libraries, or one derived from it, is encoded; None if not here."""
    bases = {type_name(base) for base in kind.__mro__}
    if "scipy.sparse._base._spbase" in bases:
        return _encode_sparse
    if "sklearn.base.BaseEstimator" in bases:
        return encode_state
    if "PIL.Image.Image" in bases:
        return _encode_image
    return encode_state if _is_part_of_estimator(kind) else None


def _is_part_of_estimator(kind: type) -> bool:
    """Whether it is an object of scikit-learn's own that does not say how it is pickled, such as a loss."""
    return kind.__module__.startswith("sklearn.") and not says_how_pickled(kind)


def _encode_sparse(matrix: Any, seen: Seen) -> bytes:
    """The format counts; the order in which elements are stored, and whether one is in parts, does not."""
    head = b"@sparse:" + dumps((type_name(type(matrix)), matrix.format, matrix.shape), 2)
    if matrix.format == "dia":
        return head + encode_items((matrix.offsets, matrix.data), seen, ".data")
    if matrix.format not in _COMPRESSED:
        matrix = matrix.tocsr() if len(matrix.shape) <= 2 else matrix.copy()  # noqa: PLR2004
    elif not matrix.has_canonical_format:
        matrix = matrix.copy()
    if not getattr(matrix, "has_canonical_format", True):
        matrix.sum_duplicates()
    parts = [getattr(matrix, name) for name in ("data", "indices", "indptr") if hasattr(matrix, name)]
    if matrix.format == "coo":
        parts = [matrix.data, *matrix.coords]
    return head + encode_items(parts, seen, ".data")


def _encode_image(image: Any, seen: Seen) -> bytes:
    """An image in memory and one read from a file are equal if mode, size, pixels, palette and notes are."""
    image.load()
    palette = image.getpalette() if image.palette else None
    notes = encode(dict(image.info), seen)
    return b"@image:" + encode((image.mode, image.size, palette, image.tobytes()), seen) + notes
