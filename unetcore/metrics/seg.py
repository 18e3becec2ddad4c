"""SEG of the Cell Tracking Challenge (the paper's IOU, Table 2) and the plain foreground IoU."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from unetcore.errors import InputError
from unetcore.metrics.slices import Slices, as_array, whole_numbers


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
    reference, segmentation = _pair(reference, segmentation)
    frames = _frames(reference, segmentation, which=range(len(reference)))
    scores = np.concatenate([_object_scores(*frame) for frame in frames])
    if scores.size == 0:
        raise InputError(f"{reference.name}: holds no object, and SEG is undefined without one")
    return float(scores.mean())


def foreground_iou(reference, segmentation, *, complete: Sequence[bool] | None = None) -> float:
    """Jaccard index of the foreground pixels, pooled over the frames: not SEG, blind to instances.

    Parameters
    ----------
    reference, segmentation : (Z, Y, X) or (Y, X) arrays of whole numbers of equal shape, 0 =
        background.
    complete : Z bools, whether every object of a frame has a label; None: of all frames. Only these
        are measured, since elsewhere an object without label would count as background.

    Returns
    -------
    float in [0, 1].

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, ids are not whole numbers >= 0, `complete` is
        not one bool per frame, or both stacks are empty there.
    """
    reference, segmentation = _pair(reference, segmentation)
    measured = range(len(reference)) if complete is None else _where(complete, len(reference))
    shared = covered = 0
    for reference_frame, segmentation_frame in _frames(reference, segmentation, which=measured):
        a, b = reference_frame > 0, segmentation_frame > 0
        shared += np.count_nonzero(a & b)
        covered += np.count_nonzero(a | b)
    if covered == 0:
        raise InputError(
            f"{reference.name} and {segmentation.name}: both are empty, and their IoU is undefined"
        )
    return shared / covered


def _pair(reference, segmentation) -> tuple[Slices, Slices]:
    pair = Slices.of(reference, "reference"), Slices.of(segmentation, "segmentation")
    pair[0].refuse_other_shape(pair[1])
    return pair


def _where(complete: Sequence[bool], n_frames: int) -> list[int]:
    complete = as_array(complete, "complete")
    if complete.dtype != bool or complete.shape != (n_frames,):
        raise InputError(
            f"complete, {complete.dtype} of shape {complete.shape}: one bool for each of the"
            f" {n_frames} frames is needed"
        )
    return np.flatnonzero(complete).tolist()


def _frames(*pair: Slices, which: Iterable[int]) -> Iterator[tuple[np.ndarray, ...]]:
    """Read the pair frame by frame, and check it."""
    for z in which:
        yield tuple(whole_numbers(stack[z], stack.called(z)) for stack in pair)


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
