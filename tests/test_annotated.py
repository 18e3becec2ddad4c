"""People's own images and labels, and every way in which they may not belong together."""

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from roifile import ROI_TYPE, ImagejRoi, roiwrite

from unetcore.data.annotated import (
    read_annotated,
    read_label_stack,
    read_labels_of,
    read_pairs,
    read_reference,
)
from unetcore.data.entry import DataSettings
from unetcore.data.guess import guess_settings
from unetcore.data.io import write_stack
from unetcore.data.label_map import LabelMap
from unetcore.data.pictures import read_picture, write_like
from unetcore.data.samples import Sample, find_samples
from unetcore.errors import InputError
from unetcore.labels import IGNORED


def pair(folder, name, image, labels, *, suffix=".tif"):
    """Write an image and its labels."""
    for kind, array in (("images", image), ("labels", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        if suffix == ".png":
            Image.fromarray(array).save(folder / kind / f"{name}{suffix}")
        else:
            tifffile.imwrite(folder / kind / f"{name}{suffix}", array, photometric="minisblack")
    return folder


def halves(height=20, width=30, value=255):
    """Mask whose right half is cell."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = value
    return mask


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(sum(shape)).integers(0, 200, shape).astype(dtype)


def problems_of(folder, **settings):
    """What is said of a folder that cannot be used."""
    with pytest.raises((ExceptionGroup, InputError)) as caught:
        read_annotated(find_samples(folder), DataSettings(**settings))
    found = caught.value
    lines = list(map(str, getattr(found, "exceptions", [found])))
    assert not any("\n" in line for line in lines)
    return lines


def test_images_and_labels_are_read(tmp_path):
    pair(tmp_path, "b", noise(20, 30), halves())
    pair(tmp_path, "a", noise(24, 28), halves(24, 28), suffix=".png")
    annotated = read_annotated(find_samples(tmp_path))
    assert annotated.names == ("a", "b")
    assert [image.shape for image in annotated.images] == [(1, 24, 28), (1, 20, 30)]
    assert annotated.kind == "mask"
    np.testing.assert_array_equal(annotated.labels[1], halves(value=1))
    assert annotated.largest_shape == (24, 30)


def test_smaller_images_are_mirrored_to_the_largest_and_ignored_there(tmp_path):
    small, large = noise(4, 5), noise(6, 7)
    pair(tmp_path, "a", small, halves(4, 5))
    pair(tmp_path, "b", large, halves(6, 7))
    images, labels = read_annotated(find_samples(tmp_path)).stacked("slice")
    expected = (small - small.mean()) / small.std()
    padded = np.pad(expected, ((0, 2), (0, 2)), mode="reflect")
    np.testing.assert_allclose(images[0, 0], padded, atol=1e-5)
    assert (labels[0, 4:] == IGNORED).all()
    assert (labels[0, :, 5:] == IGNORED).all()
    np.testing.assert_array_equal(labels[0, :4, :5], halves(4, 5, 1))
    assert not (labels[1] == IGNORED).any()


def test_every_channel_is_normalised_by_itself(tmp_path):
    image = np.stack([noise(20, 30), noise(20, 30) // 4 + 100])
    tifffile.imwrite(tmp_path / "a.tif", image, metadata={"axes": "CYX"}, imagej=True)
    write_stack(tmp_path / "a_labels.tif", halves()[None])
    annotated = read_annotated(find_samples(tmp_path))
    assert annotated.n_channels == 2
    images, _ = annotated.stacked("slice")
    np.testing.assert_allclose(images.mean(axis=(2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(images.std(axis=(2, 3)), 1, atol=1e-5)


def test_slices_of_a_stack_are_images(tmp_path):
    labels = np.stack([halves(), halves() * 0])
    write_stack(tmp_path / "a.tif", noise(2, 20, 30))
    write_stack(tmp_path / "a_labels.tif", labels)
    annotated = read_annotated(find_samples(tmp_path))
    assert annotated.names == ("a-00", "a-01")  # one of a stack may be without a cell


def test_regions_of_fiji_are_instances(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 30))
    regions = [
        ImagejRoi(roitype=ROI_TYPE.RECT, left=2, top=2, right=8, bottom=9, name="1"),
        ImagejRoi(roitype=ROI_TYPE.RECT, left=12, top=2, right=15, bottom=9, name="2"),
    ]
    roiwrite(tmp_path / "RoiSet_a.zip", regions)
    annotated = read_annotated(find_samples(tmp_path))
    assert annotated.kind == "instances"
    assert np.bincount(annotated.labels[0].ravel())[1:].tolist() == [42, 21]


def test_regions_of_times_and_depths_lie_where_image_and_prediction_say(tmp_path):
    """Of two channels, so that one number of an image counts four for each two slices."""
    image, cells = noise(2, 3, 2, 20, 30), {"Y": slice(2, 9), "X": slice(2, 8)}
    tifffile.imwrite(tmp_path / "a.tif", image, imagej=True, metadata={"axes": "TZCYX"})
    regions = [
        ImagejRoi(roitype=ROI_TYPE.RECT, left=2, top=2, right=8, bottom=9, name=f"{k}")
        for k in range(2)
    ]
    regions[0].t_position, regions[0].z_position = 2, 1
    regions[1].position = 11
    roiwrite(tmp_path / "a.zip", regions)
    expected = np.zeros((6, 20, 30), int)
    expected[3][cells["Y"], cells["X"]], expected[5][cells["Y"], cells["X"]] = 1, 2

    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_labels_of(tmp_path / "a.zip", picture), expected)
    found, ignored = read_reference(
        tmp_path / "a.zip", expected.shape, LabelMap(), image=tmp_path / "a.tif"
    )
    assert ignored is None
    np.testing.assert_array_equal(found, expected)

    # A prediction has no channels, so that a number of an image means another one there.
    write_like(tmp_path / "p.tif", expected.astype(np.float32), picture)
    regions[1].position = 6
    roiwrite(tmp_path / "b.zip", regions)
    found, _ = read_reference(
        tmp_path / "b.zip", expected.shape, LabelMap(), image=tmp_path / "p.tif"
    )
    np.testing.assert_array_equal(found, expected)
    other = tmp_path / "other.tif"  # of 2 times and 2 depths
    tifffile.imwrite(other, noise(2, 2, 20, 30), imagej=True, metadata={"axes": "TZYX"})
    for unknown in (None, tmp_path, other):
        with pytest.raises(InputError, match="region 0: on time 2, expected one of 1 to 1"):
            read_reference(tmp_path / "b.zip", expected.shape, LabelMap(), image=unknown)


def test_rows_of_split_test_come_last_and_are_held_out(tmp_path):
    pair(tmp_path, "a", noise(20, 30), halves())
    pair(tmp_path, "b", noise(20, 30), halves())
    first, second = find_samples(tmp_path)
    held = Sample(first.id, first.image, first.labels, "test")
    annotated = read_annotated([held, second])
    assert annotated.names == ("b", "a")
    assert annotated.n_held_out == 1


def test_images_are_brought_to_a_pixel_size(tmp_path):
    image = np.kron(noise(10, 12), np.ones((2, 2), np.uint8))
    tifffile.imwrite(
        tmp_path / "a.tif", image, imagej=True, resolution=(2, 2), metadata={"unit": "um"}
    )
    write_stack(tmp_path / "a_labels.tif", halves(20, 24)[None])
    annotated = read_annotated(find_samples(tmp_path), DataSettings(pixel_size_um=1.0))
    assert annotated.images[0].shape == (1, 10, 12)
    np.testing.assert_array_equal(annotated.labels[0], halves(10, 12, 1))
    (sample,) = find_samples(tmp_path)
    said = Sample(sample.id, sample.image, sample.labels, pixel_size_um=0.25)
    annotated = read_annotated([said], DataSettings(pixel_size_um=0.5))
    assert annotated.images[0].shape == (1, 10, 12)


def test_an_image_without_a_pixel_size_is_refused_where_one_is_wanted(tmp_path):
    pair(tmp_path, "a", noise(20, 30), halves())
    (line,) = problems_of(tmp_path, pixel_size_um=0.5)
    assert "a.tif: the file does not say the size of its pixels, and the model is for 0.5" in line
    assert line.endswith("give pixel_size_um in the sample sheet")


def test_a_mistyped_pixel_size_is_refused(tmp_path):
    pair(tmp_path, "a", noise(20, 30), halves())
    (sample,) = find_samples(tmp_path)
    wrong = Sample(sample.id, sample.image, sample.labels, pixel_size_um=50_000)
    with pytest.RaisesGroup(pytest.RaisesExc(InputError, match="more than 10 times another")):
        read_annotated([wrong], DataSettings(pixel_size_um=0.5))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ignored_regions_of_instances_are_no_cell(tmp_path, dtype):
    labels = halves(value=3).astype(dtype)
    labels[:10, :5] = 200
    labels[12:, :5] = 4
    pair(tmp_path, "a", noise(20, 30), labels)
    settings = DataSettings("instances", LabelMap({200: "ignore"}))
    found = read_annotated(find_samples(tmp_path), settings).labels[0]
    assert set(np.unique(found)) == {0, 3, 4, IGNORED}
    assert (found == IGNORED).sum() == 50


@pytest.mark.parametrize("mask", [halves() > 0, halves().astype(np.float32)])
def test_masks_of_single_bits_and_of_floats_are_read(tmp_path, mask):
    tifffile.imwrite(pair(tmp_path, "a", noise(20, 30), halves()) / "labels/a.tif", mask)
    pairs = read_pairs(find_samples(tmp_path))
    assert guess_settings(pairs, DataSettings()).label_map.meanings.keys() == {0, int(mask.max())}
    (labels,) = read_annotated(find_samples(tmp_path)).labels
    np.testing.assert_array_equal(labels, halves(value=1))


def test_all_problems_are_said_at_once(tmp_path):
    pair(tmp_path, "a", noise(20, 30), halves(20, 31))
    pair(tmp_path, "b", noise(20, 30), halves())
    (tmp_path / "images/b.tif").write_bytes(b"")
    pair(tmp_path, "c", noise(20, 30), halves())
    first, second = problems_of(tmp_path)
    assert "a.tif: labels of 20 x 31 px for an image of 20 x 30 px" in first
    assert "images/b.tif" in second


def rgb(mask):
    return np.stack([mask, mask // 2, mask], axis=-1)


def palette(mask):
    image = Image.fromarray(mask).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0] * 128)
    return image


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: Image.fromarray(rgb(halves())).save(path.with_suffix(".png")),
         "labels in colour (3 channels), expected one number per pixel"),
        (lambda path: palette(halves()).save(path.with_suffix(".png")), "palette"),
        (lambda path: Image.fromarray(rgb(halves())).convert("RGBA").save(path.with_suffix(".png")),
         "alpha channel"),
        (lambda path: Image.fromarray(halves()).save(path.with_suffix(".jpg")),
         "labels as JPEG, which changes them"),
        (lambda path: path.write_bytes(b""), "a.tif"),
        (lambda path: path.write_text("no TIFF"), "a.tif"),
        (lambda path: Image.fromarray(halves()).save(path, format="png"), "a.tif"),
        (lambda path: write_stack(path, np.zeros((1, 20, 30), np.uint8)),
         "every pixel is background, none cell: label it"),
        (lambda path: write_stack(path, np.full((1, 20, 30), 0.5, np.float32)),
         "label 0.5: need whole numbers"),
        (lambda path: write_stack(path, np.full((1, 20, 30), np.nan, np.float32)), "NaN"),
        (lambda path: write_stack(path, np.stack([halves(), halves()])),
         "2 label pages for the 1 slices of"),
    ],
)  # fmt: skip
def test_every_file_of_labels_that_cannot_be_used_is_one_line(tmp_path, write, says):
    tifffile.imwrite(pair(tmp_path, "b", noise(20, 30), halves()) / "images/a.tif", noise(20, 30))
    write(tmp_path / "labels/a.tif")
    (line,) = problems_of(tmp_path)
    assert says in line
    assert "/a." in line


def test_images_of_another_number_of_channels_are_refused(tmp_path):
    pair(tmp_path, "a", noise(20, 30), halves())
    pair(tmp_path, "b", noise(20, 30), halves())
    Image.fromarray(rgb(noise(20, 30))).save(tmp_path / "images/b.png")
    (tmp_path / "images/b.tif").unlink()
    (line,) = problems_of(tmp_path)
    assert line == f"{tmp_path}/images/b.png: 3 channels, a.tif has 1"


def test_swapped_folders_are_noticed(tmp_path):
    pair(tmp_path, "a", halves(), noise(20, 30))
    (line,) = problems_of(tmp_path)
    assert "are images and labels swapped?" in line


def test_grey_values_are_no_instances(tmp_path):
    pair(tmp_path, "a", noise(64, 64), noise(64, 64))
    (line,) = problems_of(tmp_path)
    assert "labels/a.tif: numbers in many pieces each, as grey values are" in line


def test_labels_of_each_other_are_noticed(tmp_path):
    rng = np.random.default_rng(0)
    masks = [halves(40, 40, 1), halves(40, 40, 1).T, halves(40, 40, 1)]
    for name, mask in zip("abc", masks, strict=True):
        image = (100 * mask + rng.integers(0, 80, mask.shape)).astype(np.uint8)
        of = {"a": 1, "b": 0, "c": 2}[name]
        pair(tmp_path, name, image, masks[of])
    first, second = problems_of(tmp_path)
    assert first.startswith("a: its labels do not fit it, those of b do: put them right, or say")
    assert second.startswith("b: its labels do not fit it, those of a do")
    assert read_annotated(find_samples(tmp_path), DataSettings(trust_pairs=True)).names


def test_images_without_a_cell_are_taken_where_that_is_meant(tmp_path):
    pair(tmp_path, "a", noise(20, 30), halves())
    pair(tmp_path, "b", noise(20, 30), halves() * 0)
    assert len(problems_of(tmp_path)) == 1
    assert len(read_annotated(find_samples(tmp_path), DataSettings(allow_empty=True)).names) == 2


def test_labels_of_one_class_are_refused(tmp_path):
    pair(tmp_path, "a", noise(20, 30), halves() * 0 + 9)
    (line,) = problems_of(tmp_path)
    assert "labels/a.tif: every pixel is cell, none background: label it, or say" in line
    (line,) = problems_of(tmp_path, allow_empty=True)
    assert line == "labels: every pixel is cell, expected background and cells"
    (line,) = problems_of(tmp_path, label_map=LabelMap({9: "ignore"}))
    assert line.endswith("labels/a.tif: every pixel is ignored")


def test_ignored_regions_are_coded_and_counted(tmp_path):
    labels = halves()
    labels[:5] = 7
    pair(tmp_path, "a", noise(20, 30), labels)
    annotated = read_annotated(
        find_samples(tmp_path), DataSettings(label_map=LabelMap({7: "ignore"}))
    )
    assert annotated.kind == "mask"
    assert (annotated.labels[0][:5] == IGNORED).all()
    assert annotated.ignored_share() == 0.25


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="labels of kind 'outlines': need one of mask, instances"):
        DataSettings(labels_are="outlines")
    with pytest.raises(InputError, match="pixel_size_um 0: need a number above 0"):
        DataSettings(pixel_size_um=0)


def test_labels_by_themselves_are_read_from_a_file_or_a_folder(tmp_path):
    for k in range(2):
        write_stack(tmp_path / f"{k}.tif", halves()[None])
    kind, labels = read_label_stack(tmp_path, LabelMap(), None)
    assert kind == "mask"
    assert labels.shape == (2, 20, 30)
    write_stack(tmp_path / "2.tif", halves(8, 8)[None])
    with pytest.raises(InputError, match=r"2\.tif: 8 x 8 px, but 0\.tif before it is 20 x 30"):
        read_label_stack(tmp_path, LabelMap(), None)
    write_stack(tmp_path / "1.tif", np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(InputError, match="every pixel is background"):
        read_label_stack(tmp_path / "1.tif", LabelMap(), None)


def sparse_zarr(path, mask):
    """OME-Zarr of labels as zarr writes them: without the chunks of background."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", shape=mask.shape, dtype=mask.dtype, chunks=(10, 10))[:] = mask
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]


def test_chunks_that_labels_do_not_have_are_background(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 30))
    mask = halves()
    mask[10:] = 0
    sparse_zarr(tmp_path / "a_labels.zarr", mask)
    annotated = read_annotated(find_samples(tmp_path))
    np.testing.assert_array_equal(annotated.labels[0], mask > 0)
    said = f"{tmp_path / 'a_labels.zarr'}: 4 of 6 chunks are missing, taken for background"
    assert caplog.messages == [said]
    reference, _ = read_reference(tmp_path / "a_labels.zarr", (1, 20, 30), LabelMap())
    np.testing.assert_array_equal(reference[0], mask)
    assert caplog.messages == [said]  # once, however often it is read


def test_chunks_that_images_do_not_have_are_no_background(tmp_path):
    image = noise(20, 30) + 1
    image[:10, :10] = 0
    sparse_zarr(tmp_path / "a.zarr", image)
    write_stack(tmp_path / "a_labels.tif", halves()[None])
    (line,) = problems_of(tmp_path)
    assert "a.zarr: 1 of 6 chunks are missing, the first is 0/0: copy it again, or save it" in line


@pytest.mark.filterwarnings("ignore:<tifffile.TiffWriter.write> data with shape")
@pytest.mark.parametrize("n", [3, 4])
def test_label_slices_that_tifffile_marks_as_colours(tmp_path, n):
    write_stack(tmp_path / "a.tif", noise(n, 20, 30))
    tifffile.imwrite(tmp_path / "a_labels.tif", np.stack([halves()] * n))
    (line,) = problems_of(tmp_path)
    assert f", or {n} slices marked as colours (save those with tifffile's photometric=" in line
