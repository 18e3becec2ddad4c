"""Fiji's regions, as its ROI Manager saves them."""

import numpy as np
import pytest
from roifile import ROI_TYPE, ImagejRoi, roiwrite

from unetcore.data.rois import read_rois
from unetcore.errors import InputError


def polygon(*corners, name="", position=0):
    """Region by its corners (x, y), in px from the corner of the image."""
    region = ImagejRoi.frompoints(np.array(corners, np.float32), name=name)
    region.roitype = ROI_TYPE.POLYGON
    region.position = position
    return region


def square(left, top, side, **named):
    right, bottom = left + side, top + side
    return polygon((left, top), (right, top), (right, bottom), (left, bottom), **named)


def test_pixels_whose_centre_lies_inside_belong_to_a_region(tmp_path):
    roiwrite(tmp_path / "RoiSet.zip", [square(2, 1, 3, name="a"), square(7, 0, 2, name="b")])
    labels = read_rois(tmp_path / "RoiSet.zip", (1, 6, 10))
    expected = np.zeros((1, 6, 10))
    expected[0, 1:4, 2:5] = 1
    expected[0, 0:2, 7:9] = 2
    np.testing.assert_array_equal(labels, expected)


def test_half_a_pixel_more_takes_in_a_row(tmp_path):
    roiwrite(tmp_path / "a.roi", polygon((0, 0), (4, 0), (4, 2.6), (0, 2.6)))
    assert read_rois(tmp_path / "a.roi", (1, 5, 5))[0].sum(axis=1).tolist() == [4, 4, 4, 0, 0]


def test_of_overlapping_regions_the_last_one_wins_and_what_is_outside_is_cut(tmp_path):
    regions = [square(0, 0, 4, name="a"), square(2, 2, 9, name="b")]
    roiwrite(tmp_path / "a.zip", regions)
    labels = read_rois(tmp_path / "a.zip", (1, 5, 5))[0]
    assert labels[3, 3] == 2
    assert labels[1, 3] == 1
    assert (labels == 2).sum() == 9


def test_rectangles_and_ovals_are_areas(tmp_path):
    rectangle = ImagejRoi(roitype=ROI_TYPE.RECT, left=1, top=1, right=4, bottom=3)
    oval = ImagejRoi(roitype=ROI_TYPE.OVAL, left=10, top=10, right=30, bottom=30)
    rectangle.name, oval.name = "rectangle", "oval"
    roiwrite(tmp_path / "a.zip", [rectangle, oval])
    labels = read_rois(tmp_path / "a.zip", (1, 40, 40))[0]
    assert (labels == 1).sum() == 6
    assert abs((labels == 2).sum() - np.pi * 100) < 10


def test_regions_of_a_stack_lie_on_their_slice(tmp_path):
    roiwrite(tmp_path / "a.zip", [square(0, 0, 2, name="a", position=3)])
    labels = read_rois(tmp_path / "a.zip", (3, 4, 4))
    assert labels.any(axis=(1, 2)).tolist() == [False, False, True]
    with pytest.raises(InputError, match=r"region a: on slice 3, expected one of 1 to 2"):
        read_rois(tmp_path / "a.zip", (2, 4, 4))


def test_regions_of_several_times_and_slices_are_refused(tmp_path):
    region = square(0, 0, 2, name="a")
    region.z_position, region.t_position = 2, 3
    roiwrite(tmp_path / "a.zip", [region])
    with pytest.raises(InputError, match=r"region a: on slice 2 of time 3; regions of stacks with"):
        read_rois(tmp_path / "a.zip", (6, 4, 4))


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (square(90, 90, 5, name="far"), "region far: no pixel of the image of 8 x 8 px is in it"),
        (ImagejRoi(roitype=ROI_TYPE.LINE, name="axis"), "region axis: a line, expected an area"),
    ],
)
def test_what_is_no_area_of_the_image_is_refused(tmp_path, region, message):
    roiwrite(tmp_path / "a.zip", [region])
    with pytest.raises(InputError, match=message):
        read_rois(tmp_path / "a.zip", (1, 8, 8))


@pytest.mark.parametrize("content", [b"", b"no regions", b"Iout"])
@pytest.mark.parametrize("name", ["a.zip", "a.roi"])
def test_damaged_files_are_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: not a file of Fiji's regions") as caught:
        read_rois(tmp_path / name, (1, 8, 8))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        read_rois(tmp_path / "absent.roi", (1, 8, 8))
