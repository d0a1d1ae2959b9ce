"""Answers: what the function returned, taken apart by item, and put together again from what is kept.

What is kept of an item is a pair: a *form*, which says how its answer lay in what the function
returned, and its part of that. Answers of one form can be put together; where forms differ, the
function has to be asked anew, for all items at once.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from mlcache import sealing as sealing_module
from mlcache.batch.forms import DifferentForms, Form
from mlcache.batch.items import Items
from mlcache.batch.keyed import OneKeyError, apart, of_item
from mlcache.errors import BatchAnswerError
from mlcache.sealing import Sealed
from mlcache.sizes import size_of_array

if TYPE_CHECKING:
    import numpy.typing as npt

Kept = tuple[bytes, Any]
"""A form and a part."""

_SHORT_ROW = 4096
"""Bytes of a row up to which copying it takes less than dealing with it by itself."""

RETURNED, GIVEN = "the function returned", "put() was given"
"""Where answers come from."""


def take_apart(
    answers: Any,
    items: Items,
    places: Sequence[int],
    batch: Any,
    *,
    source: str = RETURNED,
    cut: bool = False,
) -> list[Kept]:
    """By item, what is to be kept of what the function returned.

    Args:
        answers: what it returned.
        items: of the call.
        places: those of the items that it was given.
        batch: the container in which it was given them.
        source: where the answers come from, as an error begins.
        cut: whether short rows of an array are to be copied now, in one go, as each will be anyway.

    Raises:
        BatchAnswerError: it is not one answer for each of them.
    """
    try:
        if type(answers) is np.ndarray:
            _check(len(answers) if answers.ndim else None, len(places))
            return _rows_of(answers, cut=cut)
        return _take_apart(answers, items, places, batch)
    except BatchAnswerError as error:
        error.args = (f"{source} {error}",)
        raise


def _take_apart(answers: Any, items: Items, places: Sequence[int], batch: Any) -> list[Kept]:
    kind = type(answers)
    if kind is dict:
        return _from_dict(answers, items, places)
    if kind is tuple and type(batch) is not tuple:  # of as many outputs as there are items, maybe
        raise BatchAnswerError(
            "a tuple, which may be one answer for each item or several outputs: make it a list with one "
            "answer for each item, which may be a tuple"
        )
    if kind is list or kind is tuple:
        _check(len(answers), len(places))
        form = kind.__name__.encode()
        return [(form, answer) for answer in answers]
    library = kind.__module__.partition(".")[0]
    if library == "torch" and hasattr(answers, "unbind"):
        return _from_tensor(answers, len(places))
    if library == "pandas" and kind.__name__ in ("DataFrame", "Series"):
        from mlcache.batch.tables import from_table

        _check(len(answers), len(places))
        return from_table(answers, getattr(batch, "index", None))
    return _refuse(kind)


def _rows_of(answers: npt.NDArray[Any], *, cut: bool) -> list[Kept]:
    """The rows of an array: views of it, or each in bytes of its own, which nobody can change."""
    dtype, number = answers.dtype, len(answers)
    width = answers.nbytes // number if number else 0
    if not cut or dtype.hasobject or dtype.kind == "T" or not 0 < width <= _SHORT_ROW:
        return [(b"ndarray", answers[place : place + 1]) for place in range(number)]
    raw, shape = answers.tobytes(), (1, *answers.shape[1:])
    rows = (np.ndarray(shape, dtype, raw[start : start + width]) for start in range(0, len(raw), width))
    return [(b"ndarray", row) for row in rows]


def put_together(kept: Sequence[Kept], items: Items) -> Any:
    """What the function would return for ``items``, each of which has its part in ``kept``.

    Raises:
        DifferentForms: the parts do not fit together.
    """
    forms = {form for form, _ in kept}
    form, parts = (kept[0][0], [part for _, part in kept]) if len(forms) == 1 else _settled(kept, forms)
    return form_of(form).join(parts, items)


def own_answer(kept: Kept) -> Any:
    """An item's answer by itself: its element or row of what the function returned."""
    form, part = kept
    return form_of(form).own(part)


def sealing(seal: Callable[[Any], Sealed]) -> Callable[[Kept], Sealed]:
    """What brings a pair into the form in which it is kept, given what does so with an answer."""
    rows_stay = seal is sealing_module.seal

    def seal_pair(kept: Kept) -> Sealed:
        form, part = kept
        if rows_stay and form == b"ndarray" and _is_sealed(part):
            return Sealed(kept, None, size_of_array(part) + sys.getsizeof(kept) + len(form))
        sealed = seal(part)
        if form == b"ndarray" and _is_part(sealed.value):
            sealed = seal(part.copy())
        renew = None if form == b"ndarray" and sealed.renew is np.ndarray.view else sealed.renew
        pair = None if renew is None else lambda kept: (kept[0], renew(kept[1]))
        return Sealed((form, sealed.value), pair, sealed.size + sys.getsizeof(kept) + len(form))

    return seal_pair


def _is_sealed(row: npt.NDArray[Any]) -> bool:
    """Whether a row can be kept as it is: whoever asks gets it joined with others, or an element of it."""
    return row.dtype.names is None and not _is_part(row) and sealing_module.is_immutable(row)


def _is_part(row: Any) -> bool:
    """Whether the rows of others would stay as long as this one is kept."""
    return bool(getattr(row.base, "nbytes", 0) > row.nbytes)


def _settled(kept: Sequence[Kept], forms: set[bytes]) -> tuple[bytes, list[Any]]:
    """The form of all, where some leave open which it is, and the parts in that form."""
    if forms & _FORMS.keys():
        raise DifferentForms(f"some are of the form {min(forms)!r}, others of {max(forms)!r}")
    from mlcache.batch.tables import settled

    return settled(kept)


@functools.lru_cache(maxsize=1024)
def form_of(name: bytes) -> Form:
    """The form called ``name``."""
    known = _FORMS.get(name)
    if known is not None:
        return known
    from mlcache.batch.tables import Table

    return Table(name)


class _Sequence:
    def __init__(self, kind: Callable[[Sequence[Any]], Any]) -> None:
        self._kind = kind

    def join(self, parts: Sequence[Any], _items: Items | None, /) -> Any:
        return self._kind(parts)

    def own(self, part: Any) -> Any:
        return part


class _ByItem:
    def join(self, parts: Sequence[Any], items: Items | None, /) -> Any:
        if items is None:
            raise DifferentForms("they are by item, and there are none")
        return {items.single(place): part for place, part in enumerate(parts)}

    def own(self, part: Any) -> Any:
        return part


class _Array:
    def join(self, parts: Sequence[Any], _items: Items | None, /) -> Any:
        first = parts[0]
        dtypes = list({part.dtype for part in parts})
        fitting = _fits(dtypes)
        for part in parts:
            if not fitting or part.shape != first.shape:
                raise DifferentForms(f"rows are {first.shape[1:]} of {first.dtype}, and others are not")
        # Numpy by itself would turn numbers into the byte order of this machine.
        return np.concatenate(parts, dtype=first.dtype if len(dtypes) == 1 else None)

    def own(self, part: Any) -> Any:
        return part[0]


def _fits(dtypes: Sequence[np.dtype[Any]]) -> bool:
    """Whether rows of these types can lie in one array, as if it had been made of all at once."""
    if len(dtypes) == 1:
        return True
    kinds = {dtype.kind for dtype in dtypes}
    if kinds in ({"U"}, {"S"}):  # whose width is that of the longest
        return True
    # Of whole numbers alone, numpy would make floats of 64 bits where signs differ, which hold not all.
    return kinds <= set("biufc") and (not kinds <= set("biu") or np.result_type(*dtypes).kind in kinds)


class _Tensor:
    def join(self, parts: Sequence[Any], _items: Items | None, /) -> Any:
        import torch

        first = parts[0]
        for part in parts:
            if (part.dtype, part.shape, part.device) != (first.dtype, first.shape, first.device):
                raise DifferentForms(f"rows are {tuple(first.shape[1:])} of {first.dtype}, others are not")
        return torch.cat(list(parts))

    def own(self, part: Any) -> Any:
        return part[0]


_FORMS: dict[bytes, Form] = {
    b"list": _Sequence(list),
    b"tuple": _Sequence(tuple),
    b"dict": _ByItem(),
    b"ndarray": _Array(),
    b"tensor": _Tensor(),
}


def _from_dict(answers: dict[Any, Any], items: Items, places: Sequence[int]) -> list[Kept]:
    singles = [items.single(place) for place in places]
    try:
        groups = apart(singles)
        if len(groups) > 1:
            raise OneKeyError(groups)
        _check(len(answers), len(singles))
        return [(b"dict", of_item(answers, single)) for single in singles]
    except TypeError:
        raise BatchAnswerError("a dict, and the items cannot be the keys of one: make it a list") from None
    except KeyError as error:
        raise BatchAnswerError(f"a dict without an answer for {error}") from None


def _from_tensor(answers: Any, count: int) -> list[Kept]:
    _check(len(answers) if answers.ndim else None, count)
    # A view would hold on to the answers of all.
    return [(b"tensor", answers[place : place + 1].clone()) for place in range(count)]


def _check(number: int | None, count: int) -> None:
    if number != count:
        got = "an array without rows" if number is None else f"{number} answer{'s' * (number != 1)}"
        raise BatchAnswerError(
            f"{got} for {count} item{'s' * (count != 1)}: it must be one answer for each item, in their order"
        )


def _refuse(kind: type) -> NoReturn:
    raise BatchAnswerError(
        f"a {kind.__module__}.{kind.__qualname__}, in which mlcache does not know "
        "one item's answer from another's: make it a list, a tuple, a numpy array, a torch tensor, a pandas "
        "Series or DataFrame with a row for each item, or a dict by item"
    )
