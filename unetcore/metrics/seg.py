"""SEG of the Cell Tracking Challenge (the paper's IOU, Table 2) and the plain foreground IoU."""

from collections.abc import Iterator

import numpy as np

from unetcore.errors import InputError
from unetcore.metrics.slices import Slices, whole_numbers


def seg(reference, segmentation) -> float:
    """SEG: mean Jaccard index of the reference objects with their matches (Table 2, "IOU").

    The match of a reference object R is the segment S that covers more than half of it; there is
    at most one. R scores |R and S| / |R or S|, or 0 without a match. A segment that matches nothing
    costs nothing.

    Parameters
    ----------
    reference : (Z, Y, X) or (Y, X) array of whole numbers, 0 = background, 1.. = instance ids, of
        frames with complete gold masks. Ids belong to their frame.
    segmentation : array of the same shape, 0 = background, 1.. = instance ids.

    Returns
    -------
    float in [0, 1], the mean over all reference objects of all frames.

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, ids are not whole numbers >= 0, or there is no
        reference object.

    Examples
    --------
    >>> seg([[1, 1, 1, 0, 2, 2]], [[5, 5, 0, 0, 0, 6]])  # 2/3; and 0, as a half is not enough
    0.3333333333333333
    """
    scores = np.concatenate(
        [_object_scores(r, s) for r, s in _paired_frames(reference, segmentation)]
    )
    if scores.size == 0:
        raise InputError("reference: holds no object, and SEG is undefined without one")
    return float(scores.mean())


def foreground_iou(reference, segmentation) -> float:
    """Jaccard index of the foreground pixels, pooled over the frames: not SEG, blind to instances.

    Parameters
    ----------
    reference, segmentation : (Z, Y, X) or (Y, X) arrays of whole numbers of equal shape, 0 =
        background.

    Returns
    -------
    float in [0, 1].

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, ids are not whole numbers >= 0, or both are
        empty.
    """
    shared = covered = 0
    for reference_frame, segmentation_frame in _paired_frames(reference, segmentation):
        a, b = reference_frame > 0, segmentation_frame > 0
        shared += np.count_nonzero(a & b)
        covered += np.count_nonzero(a | b)
    if covered == 0:
        raise InputError("reference and segmentation: both are empty, and their IoU is undefined")
    return shared / covered


def _paired_frames(reference, segmentation) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    reference, segmentation = Slices(reference, "reference"), Slices(segmentation, "segmentation")
    reference.refuse_other_shape(segmentation)
    for z, (r, s) in enumerate(zip(reference, segmentation, strict=True)):
        yield whole_numbers(r, "reference", z), whole_numbers(s, "segmentation", z)


def _object_scores(reference: np.ndarray, segmentation: np.ndarray) -> np.ndarray:
    """Score of each object of one (Y, X) reference frame, (n,) floats in [0, 1]."""
    white = reference > 0
    ids, objects, sizes = np.unique(reference[white], return_inverse=True, return_counts=True)
    segment_ids, segments = np.unique(segmentation, return_inverse=True)
    segments = segments.reshape(segmentation.shape)
    segment_sizes = np.bincount(segments.ravel())

    pairs, shared = np.unique(objects * len(segment_ids) + segments[white], return_counts=True)
    objects, segments = np.divmod(pairs, len(segment_ids))
    matched = (2 * shared > sizes[objects]) & (segment_ids[segments] > 0)
    union = sizes[objects] + segment_sizes[segments] - shared
    scores = np.zeros(len(ids))
    scores[objects[matched]] = shared[matched] / union[matched]
    return scores
