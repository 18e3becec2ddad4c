"""What labels are: whole numbers, 0 = background; a mask has one other value, for all cells."""

import numpy as np

from unetcore.errors import InputError, naming

IGNORED = 65_535  # label of pixels of which nothing is known, in data sets of one's own


def whole_numbers(labels: np.ndarray) -> np.ndarray:
    """Labels of any number type as integers >= 0, or a refusal.

    Parameters
    ----------
    labels : array of whole numbers >= 0 of any shape and of any integer type, bool, or float.

    Returns
    -------
    integer array of the same shape; the array itself where it was one.

    Raises
    ------
    InputError : a value that is negative or no whole number; the first fraction is named.
    """
    labels = integers(labels)
    refuse_negative(labels)
    return labels


def integers(labels: np.ndarray) -> np.ndarray:
    """Labels of any number type as integers, as `whole_numbers`, negative ones as well."""
    if labels.dtype.kind == "b":
        return labels.astype(np.uint8)
    if labels.dtype.kind not in "iuf":
        raise InputError(f"labels of type {labels.dtype}: need whole numbers")
    return _integers(labels) if labels.dtype.kind == "f" else labels


def refuse_negative(labels: np.ndarray, advice: str = "") -> None:
    """Refuse labels below 0.

    Parameters
    ----------
    labels : integer array of any shape.
    advice : what the message ends in.
    """
    if labels.size and (lowest := labels.min()) < 0:
        raise InputError(f"label {lowest}: need 0 for background, 1 or more for cells{advice}")


def named_whole_numbers(labels: np.ndarray, name: object) -> np.ndarray:
    """Labels as `whole_numbers` makes them; a refusal begins with their name, as that of a file."""
    with naming(name):
        return whole_numbers(labels)


def named_integers(labels: np.ndarray, name: object) -> np.ndarray:
    """Labels as `integers` makes them; a refusal begins with their name, as that of a file."""
    with naming(name):
        return integers(labels)


def known_labels(labels: np.ndarray) -> np.ndarray:
    """Labels with background in the place of `IGNORED`."""
    return np.where(labels == IGNORED, np.zeros((), labels.dtype), labels)


def check_mask(labels: np.ndarray) -> None:
    """Refuse labels that are not those of a mask.

    Parameters
    ----------
    labels : integer array >= 0 of any shape.

    Raises
    ------
    InputError : there are two values or more other than 0; the message names the first four.
    """
    cells = labels[labels > 0]
    if cells.size and cells.min() != cells.max():
        values = np.unique(labels)
        few = ", ".join(map(str, values[:4])) + (", ..." if len(values) > 4 else "")
        raise InputError(f"a mask of the values {few}: need 0 and one other")


def _integers(values):
    """Floats as integers; NaN, infinity and what is beyond int64 change their value by that."""
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    if (different := whole != values).any():
        raise InputError(f"label {values[different][0]}: need whole numbers")
    return whole
