"""Answers in a dict by item, where items that are apart for us may be one key of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mlcache.errors import BatchAnswerError


class OneKeyError(BatchAnswerError):
    """Items that are apart for us but one key of a dict, such as ``1`` and ``True``.

    Args:
        groups: the numbers of the items, such that no two of a group are one key.
    """

    def __init__(self, groups: list[list[int]]) -> None:
        super().__init__("a dict, and some of the items are one key of it: make it a list")
        self.groups = groups


def apart(singles: Sequence[Any]) -> list[list[int]]:
    """Their numbers, in as few groups as have no two that are one key of a dict."""
    met: Counter[Any] = Counter()
    groups: list[list[int]] = [[]]
    for number, single in enumerate(singles):
        if met[single] == len(groups):
            groups.append([])
        groups[met[single]].append(number)
        met[single] += 1
    return groups


def of_item(answers: dict[Any, Any], single: Any) -> Any:
    """The answer to an item; a KeyError where there is none."""
    if single == single:  # noqa: PLR0124 - NaN is not
        return answers[single]
    # A NaN taken from an array twice is two objects, which only what it is has in common.
    [answer] = [answer for key, answer in answers.items() if key != key] or [answers[single]]  # noqa: PLR0124
    return answer
