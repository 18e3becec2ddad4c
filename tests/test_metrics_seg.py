"""SEG and foreground IoU on rows of instance ids."""

import numpy as np
import pytest

from unetcore.errors import InputError
from unetcore.metrics import Slices, foreground_iou, seg

ONE = np.array([[1, 1, 1, 1, 1, 0]])
TWO = np.array([[1, 1, 1, 2, 2, 0]])


def test_pure_split():
    assert seg(ONE, TWO) == pytest.approx(3 / 5)  # the larger part matches


def test_pure_merger():
    assert seg(TWO, ONE) == pytest.approx((3 / 5 + 2 / 5) / 2)  # the one segment matches both


def test_foreground_iou_sees_neither():
    assert foreground_iou(ONE, TWO) == foreground_iou(TWO, ONE) == 1.0


def test_half_is_not_a_match():
    assert seg([[1, 1, 1, 1]], [[1, 1, 0, 0]]) == 0.0
    assert seg([[1, 1, 1, 1]], [[1, 1, 1, 0]]) == 0.75


def test_background_never_matches():
    assert seg([[1, 1, 1, 1]], [[0, 0, 0, 2]]) == 0.0


def test_segments_without_reference_cost_nothing():
    assert seg([[1, 1, 0, 0]], [[1, 1, 0, 2]]) == 1.0


def test_objects_are_pooled_over_frames_not_averaged_by_frame():
    reference = np.array([[[1, 0, 2, 0, 3]], [[7, 7, 7, 7, 7]]])
    segmentation = np.array([[[1, 0, 2, 0, 3]], [[0, 0, 0, 0, 0]]])
    assert seg(reference, segmentation) == 3 / 4  # by frame it would be 1 / 2


def test_an_id_in_two_frames_is_two_objects():
    reference = np.array([[[1, 1, 1]], [[1, 0, 0]]])
    segmentation = np.array([[[4, 4, 4]], [[0, 0, 0]]])
    assert seg(reference, segmentation) == 1 / 2


def test_relabelling_changes_nothing():
    rng = np.random.default_rng(3)
    reference = np.kron(rng.integers(0, 6, (2, 4, 5)), np.ones((1, 5, 5), int))
    segmentation = np.roll(reference, 1, axis=1)
    names = np.concatenate([[0], rng.permutation(np.arange(1, 65536))[:5]]).astype(np.uint16)
    expected = seg(reference, segmentation)
    assert 0.1 < expected < 0.9
    assert seg(names[reference], names[segmentation]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("score", [seg, foreground_iou])
def test_symmetries_of_the_whole_problem_change_nothing(score):
    rng = np.random.default_rng(4)
    reference = np.kron(rng.integers(0, 6, (4, 5)), np.ones((5, 5), int))
    segmentation = np.roll(reference, 1, axis=1)
    expected = score(reference, segmentation)
    assert 0.1 < expected < 1
    for turns in range(4):
        pair = [np.rot90(frame, turns) for frame in (reference, segmentation)]
        assert score(*pair) == pytest.approx(expected, rel=1e-14)
        assert score(*(frame[::-1] for frame in pair)) == pytest.approx(expected, rel=1e-14)


def test_whole_numbers_may_be_floats():
    assert seg(ONE * 1.0, TWO * 1.0) == seg(ONE, TWO)


def test_a_copy_of_each_frame_changes_nothing():
    frames = [TWO, ONE, TWO], [ONE, TWO, TWO]
    twice = [np.concatenate([stack, stack]) for stack in frames]
    assert seg(*twice) == pytest.approx(seg(np.array(frames[0]), np.array(frames[1])))


def test_foreground_iou_pools_pixels():
    reference = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]]])
    segmentation = np.array([[[0, 2, 2, 0]], [[3, 0, 0, 0]]])
    assert foreground_iou(reference, segmentation) == 2 / 4


def test_foreground_iou_of_complete_frames():
    reference = [[[1, 1, 0, 0]], [[1, 0, 0, 0]], [[1, 0, 0, 0]]]
    segmentation = [[[0, 2, 2, 0]], [[3, 3, 3, 3]], [[1, 1, 0, 0]]]
    assert foreground_iou(reference, segmentation, complete=[True, False, True]) == 2 / 5


@pytest.mark.parametrize(
    "complete", [[True], [True, True, False], [0, 1], True, [[True], [True, False]]]
)
def test_complete_is_one_bool_per_frame(complete):
    with pytest.raises(InputError, match=r"^complete"):
        foreground_iou(np.stack([ONE, ONE]), np.stack([TWO, TWO]), complete=complete)


def test_refusals_call_stacks_by_their_own_names():
    gold, found = Slices(ONE * 0, "gold.tif", frames=["t07"]), Slices(TWO * 0, "found.tif")
    with pytest.raises(InputError, match=r"^gold\.tif: holds no object"):
        seg(gold, found)
    with pytest.raises(InputError, match=r"^gold\.tif and found\.tif: both are empty"):
        foreground_iou(gold, found)
    with pytest.raises(InputError, match=r"^gold\.tif, frame t07: -1 at y = 0"):
        seg(Slices(-ONE, "gold.tif", frames=["t07"]), found)


@pytest.mark.parametrize("score", [seg, foreground_iou])
def test_bad_input(score):
    with pytest.raises(InputError, match=r"^segmentation: lists of different length"):
        score(ONE, [[1, 2], [3]])
    with pytest.raises(InputError, match="shapes must be equal"):
        score(ONE, TWO.T)
    with pytest.raises(InputError, match=r"reference of shape \(3,\)"):
        score([1, 2, 3], [1, 2, 3])
    with pytest.raises(InputError, match=r"segmentation, slice 0: 0.5 at y = 0, x = 0; .* whole"):
        score(ONE, TWO * 0.5)
    with pytest.raises(InputError, match=r"reference, slice 0: -1 at y = 0, x = 0; .* or more"):
        score(-ONE, TWO)
    with pytest.raises(InputError, match="reference"):
        score(ONE * 0, TWO * 0)
