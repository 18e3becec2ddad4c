import numpy as np
import pytest

from unetcore.data.annotated import check_labels, kind_of, read_annotated, read_grey, read_stack
from unetcore.data.io import read_labels, write_stack
from unetcore.errors import InputError


def write_pages(folder, *values, size=(20, 30), dtype=np.uint8):
    """One file for each value, filled with it, in the order of the names."""
    for k, value in enumerate(values):
        write_stack(folder / f"t{k:03}.tif", np.full((1, *size), value, dtype))
    return folder


def test_folder_is_read_in_the_order_of_names(tmp_path):
    write_pages(tmp_path, 7, 5, 9)
    write_stack(tmp_path / "t0005.TIFF", np.full((2, 20, 30), 3, np.uint8))  # before t001
    write_stack(tmp_path / "._t000.tif", np.zeros((1, 20, 30), np.uint8))  # hidden
    (tmp_path / "notes.txt").write_text("no image")
    stack = read_stack(tmp_path, read_labels)
    assert stack.shape == (5, 20, 30)
    assert stack[:, 0, 0].tolist() == [7, 3, 3, 5, 9]


def test_each_file_of_a_folder_is_scaled_by_its_own_type(tmp_path):
    write_stack(tmp_path / "a.tif", np.full((1, 4, 4), 51, np.uint8))
    write_stack(tmp_path / "b.tif", np.full((1, 4, 4), 13107, np.uint16))
    np.testing.assert_allclose(read_grey(tmp_path), 0.2, rtol=1e-6)


def test_folder_without_images_and_pages_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file named \*\.tif"):
        read_grey(tmp_path)
    write_pages(tmp_path, 1)
    write_stack(tmp_path / "t9.tif", np.zeros((1, 20, 31), np.uint8))
    with pytest.raises(
        InputError, match=r"t9\.tif: 20 x 31 px, but t000\.tif before it is 20 x 30"
    ):
        read_grey(tmp_path)


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0, 255], "mask"), ([0, 1], "mask"), ([0, 3, 9], "instances"), ([0], "mask")],
)
def test_kind_is_guessed_by_the_number_of_values(values, kind):
    assert kind_of(np.array([[values]])) == kind


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([0, 0], "mask", "every pixel is 0"),
        ([4, 4], "instances", "every pixel is 4"),
        ([1, 2], "mask", "labels: a mask of the values 1, 2: need 0 and one other"),
        ([0, 1, 2, 3, 4, 5], "mask", r"a mask of the values 0, 1, 2, 3, \.\.\.: need"),
        ([0, 1], "outlines", "labels of kind 'outlines': need one of mask, instances"),
    ],
)
def test_labels_that_teach_nothing_or_are_no_mask_are_refused(values, kind, message):
    with pytest.raises(InputError, match=message):
        check_labels(np.array([[values]]), kind)


def test_all_problems_are_found_at_once(tmp_path):
    images = write_pages(tmp_path / "images", 1, 2)
    labels = write_pages(tmp_path / "labels", 0, 0, 0)
    with pytest.raises(ExceptionGroup) as caught:
        read_annotated(images, labels)
    first, second = map(str, caught.value.exceptions)
    assert "every pixel is 0" in first
    assert "3 label pages for the 2 images" in second


def test_images_and_labels_that_fit_are_read(tmp_path):
    images = write_pages(tmp_path / "images", 0, 255)
    labels = write_pages(tmp_path / "labels", 0, 9)
    annotated = read_annotated(images, labels)
    assert annotated.images[:, 0, 0].tolist() == [0, 1]
    assert annotated.labels[:, 0, 0].tolist() == [0, 9]
    assert annotated.kind == "mask"
    assert read_annotated(images, labels, "instances").kind == "instances"


def test_ignored_pixels_are_left_out_when_labels_are_judged(tmp_path):
    images = tmp_path / "images.tif"
    write_stack(images, np.zeros((1, 1, 4), np.uint8))

    def read(*values, **given):
        write_stack(tmp_path / "labels.tif", np.array([[values]], np.uint8))
        return read_annotated(images, tmp_path / "labels.tif", **given)

    assert read(0, 1, 255, 1).kind == "instances"
    annotated = read(0, 1, 255, 1, ignore_label=255)
    assert annotated.kind == "mask"
    assert annotated.ignored.tolist() == [[[False, False, True, False]]]
    assert annotated.labels.tolist() == [[[0, 1, 255, 1]]]
    with pytest.RaisesGroup(pytest.RaisesExc(InputError, match="every pixel is 0,")):
        read(0, 0, 255, 0, ignore_label=255)
    with pytest.RaisesGroup(pytest.RaisesExc(InputError, match="every pixel is ignored")):
        read(9, 9, 9, 9, ignore_label=9)
    with pytest.raises(InputError, match="ignore label of 0: need a whole number >= 1"):
        read(0, 1, 1, 1, ignore_label=0)
