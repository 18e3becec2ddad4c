"""What labels are, where nobody said it: masks or instances, and which value is the cell."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from unetcore.data.annotated import Pair, kind_of
from unetcore.data.entry import DataSettings
from unetcore.data.label_map import BACKGROUND, CELL, LabelMap
from unetcore.errors import InputError

MOST_CLASSES, PIECES = 6, 2  # values, and places of each, that are rather classes than cells
FEWEST_ENCLOSED = 3  # regions between lines, for them to look like membranes
SPECK = 20  # px: smaller regions are not counted there


def guess_settings(pairs: Sequence[Pair], given: DataSettings) -> DataSettings:
    """Settings in which everything is said that labels tell, and that was not given.

    In a mask whose one value looks like lines around regions, membranes were labelled, and cells
    are what is between them.

    Raises
    ------
    InputError : a few values that may be classes or cells.
    """
    kind = given.labels_are or kind_of(pairs, given.label_map)
    if given.labels_are is None and kind == "instances":
        _refuse_classes(pairs)
    if kind != "mask" or given.label_map.names_cells:
        return DataSettings(kind, given.label_map, given.pixel_size_um)
    known = given.label_map.meanings
    values = np.unique(np.concatenate([np.unique(pair.raw) for pair in pairs])).tolist()
    left = [value for value in values if value not in known]
    meanings = dict(zip(left, (BACKGROUND, CELL), strict=False))
    if len(left) == 2 and _marks_membranes(pairs, left[1]):
        meanings = {left[0]: CELL, left[1]: BACKGROUND}
    return DataSettings(kind, LabelMap({**known, **meanings}), given.pixel_size_um)


def _refuse_classes(pairs) -> None:
    """Refuse a few values, each in many places, which are classes rather than cells."""
    pages = [page for pair in pairs for page in pair.raw]
    values = np.unique(np.concatenate([np.unique(page) for page in pages])).tolist()
    if len(values) > MOST_CLASSES:
        return
    pieces = [ndimage.label(page == value)[1] for page in pages for value in np.unique(page)]
    if np.mean(pieces) > PIECES:
        raise InputError(
            f"{pairs[0].sample.labels}: the values {', '.join(map(str, values))}: say what they "
            "mean, as in --label-map 0=ignore,1=background,2=cell, or --labels-are instances"
        )


def _marks_membranes(pairs, value) -> bool:
    """Whether a value looks like membranes in most images that have it."""
    pages = [page == value for pair in pairs for page in pair.raw]
    told = [looks_like_membranes(page) for page in pages if page.any()]
    return sum(told) > len(told) / 2


def looks_like_membranes(mask: np.ndarray) -> bool:
    """Whether what a mask marks looks like lines around cells and not like cells.

    Parameters
    ----------
    mask : (H, W) bool array, what has a value other than 0.

    Returns
    -------
    bool: most of it hangs together, it encloses more regions than it has parts, and it is thinner
    than they are.
    """
    lines, between = (_sizes(part) for part in (mask, ~mask))
    if len(between) < FEWEST_ENCLOSED or len(between) <= len(lines):
        return False
    thin, wide = (ndimage.distance_transform_edt(part)[part].mean() for part in (mask, ~mask))
    return lines.max(initial=0) > lines.sum() / 2 and thin < wide / 2


def _sizes(part):
    """Sizes in px of the parts of a region that are more than specks."""
    parts, n = ndimage.label(part)
    sizes = np.bincount(parts.ravel(), minlength=n + 1)[1:]
    return sizes[sizes > SPECK]
