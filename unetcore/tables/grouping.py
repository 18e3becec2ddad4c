"""Things by a key, and each thing once: always in order of appearance."""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Items by a key; alike ones need not be neighbours.

    Examples
    --------
    >>> grouped(["ant", "bee", "asp"], lambda name: name[0])
    {'a': ['ant', 'asp'], 'b': ['bee']}
    """
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def distinct(values: Iterable[object]) -> list[str]:
    """Texts of values, each once.

    Examples
    --------
    >>> distinct([2, 1, 2])
    ['2', '1']
    """
    return list(dict.fromkeys(map(str, values)))
