"""Fiji's regions, as its ROI Manager saves them."""

import numpy as np
import pytest
from roifile import ROI_TYPE, ImagejRoi, roiwrite

from unetcore.data.roi_outline import pixels_of
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
    with pytest.raises(InputError, match=r"region a: on image 3, expected one of 1 to 2"):
        read_rois(tmp_path / "a.zip", (2, 4, 4))


def placed(**where):
    region = square(0, 0, 2, name=where.pop("name", "a"))
    for field, number in where.items():
        setattr(region, field, number)
    return region


SIDES = {"T": 2, "Z": 3, "C": 2, "Y": 4, "X": 4}


@pytest.mark.parametrize(
    ("where", "sides", "expected"),
    [
        ({"position": 9}, SIDES, 4),  # time 2, depth 2, channel 1
        ({"position": 10}, SIDES, 4),  # the same in channel 2
        ({"position": 4}, {"T": 2, "Z": 3}, 3),
        ({"position": 4}, {"Z": 3, "T": 2}, 3),  # whatever the order in the file
        ({"position": 5}, {"C": 2, "T": 6}, 2),
        ({"z_position": 1, "t_position": 2}, SIDES, 3),
        ({"c_position": 2, "z_position": 3, "t_position": 1}, SIDES, 2),
        ({"z_position": 2, "t_position": 2}, {"Z": 3, "T": 2}, 4),
        ({"c_position": 1, "z_position": 1, "t_position": 5}, {"T": 6, "C": 2}, 4),
        ({"c_position": 1, "z_position": 5}, {"Z": 6, "C": 2}, 4),
        ({"z_position": 5, "t_position": 1}, None, 4),
        ({"name": "0011-0004-0005"}, SIDES, 5),  # as the ROI Manager calls it
        ({"name": "0011-0004-0005", "position": 1}, SIDES, 0),
    ],
)
def test_regions_of_hyperstacks_lie_on_their_slice(tmp_path, where, sides, expected):
    roiwrite(tmp_path / "a.zip", [placed(**where)])
    labels = read_rois(tmp_path / "a.zip", (6, 4, 4), sides)
    assert np.flatnonzero(labels.any(axis=(1, 2))).tolist() == [expected]


def test_pages_count_in_the_order_of_a_file_that_does_not_name_them(tmp_path):
    roiwrite(tmp_path / "a.zip", [placed(position=5)])
    labels = read_rois(tmp_path / "a.zip", (3, 4, 4), {"C": 2, "Z": 3}, "CZ")
    assert labels.any(axis=(1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("where", "sides", "message"),
    [
        ({}, SIDES, "region a: on no slice, expected one of 1 to 3: in Fiji, show where it lies"),
        ({}, {"T": 6}, "region a: on no time, expected one of 1 to 6"),
        ({"c_position": 1}, SIDES, "region a: on no slice, expected one of 1 to 3"),
        ({"z_position": 2}, SIDES, "region a: on no time, expected one of 1 to 2"),
        ({"t_position": 2}, SIDES, "region a: on no slice, expected one of 1 to 3"),
        ({"z_position": 4, "t_position": 1}, SIDES, "on slice 4, expected one of 1 to 3"),
        ({"z_position": 2, "t_position": 3}, SIDES, "on time 3, expected one of 1 to 2"),
        ({"position": 13}, SIDES, "on image 13, expected one of 1 to 12"),
        ({"z_position": 2, "t_position": 3}, None, "on time 3, expected one of 1 to 1"),
        ({"z_position": 1, "t_position": 2}, None, "on time 2, expected one of 1 to 1"),
        ({"name": "0011-0004"}, SIDES, "region 0011-0004: on no slice"),
    ],
)
def test_regions_that_lie_on_no_slice_are_refused(tmp_path, where, sides, message):
    roiwrite(tmp_path / "a.zip", [placed(**where)])
    with pytest.raises(InputError, match=message) as caught:
        read_rois(tmp_path / "a.zip", (6, 4, 4), sides)
    assert "\n" not in str(caught.value)


def test_of_centres_on_the_outline_those_to_the_right_and_below_are_inside(tmp_path):
    roiwrite(tmp_path / "a.roi", polygon((0.5, 0.5), (3.5, 0.5), (3.5, 2.5), (0.5, 2.5)))
    inside = read_rois(tmp_path / "a.roi", (1, 5, 5))[0]
    assert np.argwhere(inside).tolist() == [[y, x] for y in (1, 2) for x in (1, 2, 3)]
    roiwrite(tmp_path / "b.roi", polygon((0, 0), (4, 4), (0, 4)))  # through the diagonal's centres
    assert read_rois(tmp_path / "b.roi", (1, 4, 4))[0].sum(axis=1).tolist() == [1, 2, 3, 4]


def test_an_oval_is_its_equation_and_what_two_parts_share_is_out(tmp_path):
    oval = ImagejRoi(roitype=ROI_TYPE.OVAL, left=-3, top=2, right=8, bottom=9)
    roiwrite(tmp_path / "a.roi", oval)
    y, x = np.mgrid[:12, :12] + 0.5
    expected = ((y - 5.5) / 3.5) ** 2 + ((x - 2.5) / 5.5) ** 2 <= 1
    np.testing.assert_array_equal(read_rois(tmp_path / "a.roi", (1, 12, 12))[0], expected)
    for side, widths in (
        (5, [3, 5, 5, 5, 3]),
        (10, [4, 8, 8, 10, 10, 10, 10, 8, 8, 4]),
    ):  # as ImageJ draws circles
        roiwrite(
            tmp_path / f"{side}.roi", ImagejRoi(roitype=ROI_TYPE.OVAL, right=side, bottom=side)
        )
        assert read_rois(tmp_path / f"{side}.roi", (1, side, side))[0].sum(1).tolist() == widths
    ring = [0, 1, 1, 1, 9, 1, 1, 9, 9, 1, 1, 9, 4, 0, 3, 3, 1, 6, 3, 1, 6, 6, 1, 3, 6, 4]
    composite = ImagejRoi(roitype=ROI_TYPE.RECT, left=1, top=1, right=9, bottom=9)
    composite.multi_coordinates = np.array(ring, np.float32)
    composite.shape_roi_size = len(ring)
    roiwrite(tmp_path / "b.roi", composite)
    labels = read_rois(tmp_path / "b.roi", (1, 12, 12))[0]
    assert (labels.sum(), labels[3:6, 3:6].sum()) == (64 - 9, 0)


def test_curves_of_composite_regions_are_followed(tmp_path):
    bend = 100 * 4 / 3 * (np.sqrt(2) - 1)
    quarter = [0, 0, 0, 1, 100, 0, 3, 100, bend, bend, 100, 0, 100, 4]  # of a circle
    bow = [0, 120, 0, 2, 150, 90, 180, 0, 4]  # of a parabola, 2/3 * 60 * 45 px large
    region = ImagejRoi(roitype=ROI_TYPE.RECT, left=0, top=0, right=180, bottom=100)
    region.multi_coordinates = np.array(quarter + bow, np.float32)
    region.shape_roi_size = len(region.multi_coordinates)
    roiwrite(tmp_path / "a.roi", region)
    labels = read_rois(tmp_path / "a.roi", (1, 120, 200))[0]
    assert abs(int(labels[:, :110].sum()) - np.pi * 2500) < 10
    assert abs(int(labels[:, 110:].sum()) - 1800) < 10
    region.multi_coordinates[3] = 7
    roiwrite(tmp_path / "a.roi", region)
    with pytest.raises(InputError, match=r"a.roi: region 1: a damaged outline"):
        read_rois(tmp_path / "a.roi", (1, 120, 200))


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


@pytest.mark.parametrize(
    "corners", [[], [[1, 1], [float("nan"), 4], [6, 5]], [[1, 1], [float("inf"), 4], [6, 5]]]
)
def test_an_outline_that_cannot_be_is_refused(corners, monkeypatch):
    region = ImagejRoi.frompoints([[1, 1], [5, 1], [5, 5]])
    found = [np.reshape(np.array(corners, float), (-1, 2))]
    monkeypatch.setattr(ImagejRoi, "coordinates", lambda self, multi: found)
    with pytest.raises(InputError, match="r: a damaged outline"):
        pixels_of(region, (9, 9), "r")
    region.multi_coordinates = np.array([-1.0, 3, 3, 4])
    monkeypatch.setattr(ImagejRoi, "composite", True)
    with pytest.raises(InputError, match="r: a damaged outline"):
        pixels_of(region, (9, 9), "r")
