"""Sizes of images in words, and files that must have the same."""

from collections.abc import Sequence
from pathlib import Path

from unetcore.errors import InputError


def in_words(shape: Sequence[int]) -> str:
    """Sides of an array.

    Examples
    --------
    >>> in_words((20, 30))
    '20 x 30'
    """
    return " x ".join(map(str, shape))


def refuse_other_sizes(
    files: Sequence[Path], shapes: Sequence[Sequence[int]], unit: str = "px"
) -> None:
    """Refuse files that are not all of the size of the first.

    Parameters
    ----------
    files : at least one.
    shapes : size of each.
    unit : of the sides, as the message says it.

    Raises
    ------
    InputError : names the first file of another size.
    """
    for file, shape in zip(files, shapes, strict=True):
        if tuple(shape) != tuple(shapes[0]):
            raise InputError(
                f"{file}: {in_words(shape)} {unit}, but {files[0].name} before it is "
                f"{in_words(shapes[0])}"
            )
