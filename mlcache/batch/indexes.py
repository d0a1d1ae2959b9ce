"""Indexes of answers: whose labels they are, and which index all rows together have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlcache.batch.forms import DifferentForms
from mlcache.batch.frames import fresh_index, is_numbered

FOLLOWS, RENAMED, FRESH, EITHER = "follows", "renamed", "fresh", "either"
"""The index is that of the items, or that with another name, or numbers the rows, or is first or third."""
OWN, UNSURE = "own", "unsure"
"""It is the function's own, or may be, where the label of one row is what another index would have, too."""


def index_mode(index: Any, given: Any) -> tuple[str, list[str]]:
    """What an index of answers is, and what else it may be.

    Args:
        index: of what the function returned.
        given: that of the items, if they have one.
    """
    if index.is_(given):
        return _following(index, given), []
    coincidences = [_following(index, given)] if given is not None and index.equals(given) else []
    if is_numbered(index):
        return (EITHER if FOLLOWS in coincidences and is_numbered(given) else FRESH), []
    if fresh_index(len(index), index):
        coincidences.append(FRESH)
    if not coincidences:
        return OWN, []
    # Many labels are not those of another index by chance, but one may be.
    return (coincidences[0], []) if len(index) > 1 else (UNSURE, coincidences)


def _following(index: Any, given: Any) -> str:
    return FOLLOWS if index.names == given.names else RENAMED


def possible(index: str, perhaps: list[str]) -> set[str]:
    """What an index may be, of which these two were found."""
    return {EITHER: {FOLLOWS, FRESH}, UNSURE: {OWN, *perhaps}}.get(index, {index})


def left_open(possible: set[str]) -> list[str]:
    """What an index is that may be any of these, and where it may be the function's own, what else."""
    if not possible:
        raise DifferentForms("indexes of rows differ")
    if len(possible) == 1:
        return [*possible]
    return [UNSURE, *sorted(possible - {OWN})] if OWN in possible else [EITHER]


def _index_of(items: Any, count: int) -> Any:
    index = getattr(items, "index", None)
    if index is None or len(index) != count:
        raise DifferentForms("they follow the index of their items, which have none")
    return index.view()  # whoever renames it must not rename that of the items


def _followed(index: Any, items: Any) -> Any:
    return _index_of(items, len(index))


def _renamed(index: Any, items: Any) -> Any:
    return _index_of(items, len(index)).set_names(index.names)


def _numbered(index: Any, _items: Any) -> Any:
    import pandas as pd

    return pd.RangeIndex(len(index), name=index.name)


def _followed_or_numbered(index: Any, items: Any) -> Any:
    given = _index_of(items, len(index))
    if not is_numbered(given) or given.name != index.name:
        raise DifferentForms("they may follow the index of their items or not, which only the function knows")
    return given


def _own(index: Any, _items: Any) -> Any:
    return index


_MADE: dict[str, Callable[[Any, Any], Any]] = {
    FOLLOWS: _followed,
    RENAMED: _renamed,
    FRESH: _numbered,
    EITHER: _followed_or_numbered,
    OWN: _own,
    UNSURE: _own,
}


def index_of_all(mode: str, perhaps: list[str], index: Any, items: Any) -> Any:
    """The index of all rows.

    Args:
        mode: what it is.
        perhaps: what else it may be.
        index: of the rows as they are kept.
        items: of the call.

    Raises:
        DifferentForms: only the function knows.
    """
    made = _MADE[mode](index, items)
    if any(not made.equals(_MADE[each](index, items)) for each in perhaps):
        raise DifferentForms("a label may be the function's own or not, which only a larger batch would tell")
    return made
