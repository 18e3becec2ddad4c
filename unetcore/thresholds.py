"""From which probability a pixel counts as cell: chosen on labelled images, kept with the model.

The metrics of the challenge take the best threshold on the very images that they judge. For use on
images without labels, one has to be chosen before.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from unetcore.errors import InputError
from unetcore.instances import EIGHT_NEIGHBOURS, instances
from unetcore.labels import IGNORED, known_labels
from unetcore.metrics import rand_error, seg

CHOICES = tuple(k / 10 for k in range(1, 10))
SMALL, SHARE = 0.05, 0.25  # a quarter of what one in twenty cells is smaller than


def choose_threshold(
    labels: np.ndarray, probability: np.ndarray, kind: str, postprocessing: Mapping
) -> float:
    """Threshold at which cells are cut out best.

    Of a mask that with the least Rand error: cells must not run together through a gap in a
    membrane. Of instances that with the largest SEG. Of equals, the one nearest to 0.5.

    Parameters
    ----------
    labels : (N, H, W) uint16 array, see `unetcore.data.label_map.LabelMap.apply`.
    probability : (N, H, W) float32 array in [0, 1] of the same images.
    kind : "mask" or "instances".
    postprocessing : arguments of `unetcore.instances.instances`, of which `threshold` is left out.

    Returns
    -------
    float, one of 0.1, 0.2 ... 0.9; 0.5 where no image has a cell.
    """
    telling = [z for z, page in enumerate(labels) if ((page > 0) & (page != IGNORED)).any()]
    if not telling:
        return 0.5
    known = labels[telling] != IGNORED
    cells, maps = labels[telling] * known, probability[telling] * known
    if kind == "mask":
        costs = rand_error(cells, maps, thresholds=CHOICES).values
    else:
        costs = [-_seg_at(threshold, cells, maps, postprocessing) for threshold in CHOICES]
    order = sorted(zip(costs, CHOICES, strict=True), key=lambda c: (c[0], abs(c[1] - 0.5)))
    return order[0][1]


def _seg_at(threshold, cells, maps, postprocessing) -> float:
    settings = {**postprocessing, "threshold": threshold}
    return seg(cells, np.stack([instances(page, **settings) for page in maps]))


def smallest_object(labels: Sequence[np.ndarray], kind: str) -> int:
    """Area in px up to which what is cut out is no cell, by the cells that people labelled.

    A quarter of the area that one in twenty of them is smaller than, so that a cell at the border
    of the image is still one.

    Parameters
    ----------
    labels : (H, W) uint16 arrays, see `unetcore.data.label_map.LabelMap.apply`.
    kind : "mask" or "instances".

    Raises
    ------
    InputError : there is no cell.
    """
    areas = np.concatenate([_areas(page, kind) for page in labels])
    if not areas.size:
        raise InputError("labels: not one cell")
    return int(SHARE * np.quantile(areas, SMALL))


def _areas(labels: np.ndarray, kind: str) -> np.ndarray:
    cells = known_labels(labels)
    if kind == "mask":
        cells, _ = ndimage.label(cells, EIGHT_NEIGHBOURS)
    areas = np.bincount(cells.ravel())[1:]
    return areas[areas > 0]
