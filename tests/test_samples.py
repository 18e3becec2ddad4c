"""Which image has which labels."""

import pytest

from unetcore.data.samples import (
    Sample,
    find_samples,
    key_of_image,
    labels_by_key,
    read_samples,
    write_samples,
)
from unetcore.errors import InputError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def pairs(samples, folder):
    return [
        (s.id, s.image.relative_to(folder).as_posix(), s.labels.relative_to(folder).as_posix())
        for s in samples
    ]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("images/b.tif", "images/a.png", "labels/a.tif", "labels/b.zip"),
         [("a", "images/a.png", "labels/a.tif"), ("b", "images/b.tif", "labels/b.zip")]),
        (("Images/Zelle 1.tif", "masks/Zelle 1_mask.png"),
         [("Zelle 1", "Images/Zelle 1.tif", "masks/Zelle 1_mask.png")]),
        (("a.tif", "a_labels.tif", "b.ome.tif", "b-mask.tif", ".hidden.tif", "notes.txt"),
         [("a", "a.tif", "a_labels.tif"), ("b", "b.ome.tif", "b-mask.tif")]),
        (("train-volume.tif", "train-labels.tif"),
         [("train-volume", "train-volume.tif", "train-labels.tif")]),
        (("raw/übersicht.tif", "rois/RoiSet_übersicht.zip"),
         [("übersicht", "raw/übersicht.tif", "rois/RoiSet_übersicht.zip")]),
    ],
)  # fmt: skip
def test_pairs_are_found_by_names(tmp_path, names, found):
    assert pairs(find_samples(touch(tmp_path, *names)), tmp_path) == found


def test_folders_of_splits_say_what_is_trained_on(tmp_path):
    touch(tmp_path, "train/imgs/a.tif", "train/seg/a.tif", "val/b.tif", "val/b_mask.tif")
    touch(tmp_path, "test/images/a.png", "test/gt/a.png", "train/notes.txt")
    samples = find_samples(tmp_path)
    assert pairs(samples, tmp_path) == [
        ("a", "train/imgs/a.tif", "train/seg/a.tif"),
        ("test-a", "test/images/a.png", "test/gt/a.png"),
        ("val-b", "val/b.tif", "val/b_mask.tif"),
    ]
    assert [sample.split for sample in samples] == ["train", "test", "test"]
    write_samples(tmp_path / "samples.csv", samples)
    assert read_samples(tmp_path / "samples.csv") == samples


def test_two_folders_are_paired_by_names_or_else_by_order(tmp_path):
    touch(tmp_path, "x/b.tif", "x/a.tif", "y/a.tif", "y/b.tif", "z/2.tif", "z/1.tif")
    by_name = find_samples(tmp_path / "x", tmp_path / "y")
    assert [s.labels.name for s in by_name] == ["a.tif", "b.tif"]
    by_order = find_samples(tmp_path / "x", tmp_path / "z")
    assert [(s.image.name, s.labels.name) for s in by_order] == [
        ("a.tif", "1.tif"),
        ("b.tif", "2.tif"),
    ]


def test_words_for_images_in_names_of_labels_say_nothing(tmp_path):
    """Else labels/img_2 would be those of images/img_1 where img_1 has none."""
    touch(tmp_path, "images/img_1.tif", "images/img_2.tif", "labels/img_2.tif", "labels/img_3.tif")
    touch(tmp_path, "b/image.tif", "b/image_labels.tif")
    with pytest.raises(ExceptionGroup) as caught:
        find_samples(tmp_path)
    assert [str(e).partition(":")[0].rpartition("/")[2] for e in caught.value.exceptions] == [
        "img_1.tif",
        "img_3.tif",
    ]
    assert find_samples(tmp_path / "b")[0].labels.name == "image_labels.tif"


def test_labels_by_themselves_are_found_by_the_names_of_their_images(tmp_path):
    touch(tmp_path, "a.tif", "a_labels.tif", "img_b.png", "RoiSet_C.zip", "notes.txt", ".x.tif")
    found = labels_by_key(tmp_path)
    assert {key: file.name for key, file in found.items()} == {
        "a": "a_labels.tif",
        "b": "img_b.png",
        "c": "RoiSet_C.zip",
    }
    for image in ("a.ome.tif", "Image_B.jpg", "c.png"):
        assert key_of_image(tmp_path / image) in found
    touch(tmp_path, "b.tif")
    with pytest.raises(InputError, match=r"img_b\.png: means the same image as b\.tif"):
        labels_by_key(tmp_path)


def test_every_file_without_a_partner_is_named(tmp_path):
    touch(tmp_path, "images/a.tif", "images/b.tif", "labels/b.tif", "labels/c.tif")
    with pytest.raises(ExceptionGroup) as caught:
        find_samples(tmp_path)
    first, second = map(str, caught.value.exceptions)
    assert first == f"{tmp_path}/images/a.tif: no labels of this name in {tmp_path}/labels"
    assert second == f"{tmp_path}/labels/c.tif: no image of this name in {tmp_path}/images"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("images/a.tif",), r"has the folder images/ and no labels/ beside it"),
        (("a.tif", "b.tif"), r"no labels in it: name them as their images with _labels added"),
        (("a_labels.tif",), r"no image in this folder"),
        (("a.tif", "a_labels.tif", "a_mask.png"), r"means the same image as a_labels\.tif"),
    ],
)
def test_folders_that_tell_no_pairs_are_refused(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        find_samples(touch(tmp_path, *names))


def test_paths_that_are_no_pair_are_refused(tmp_path):
    touch(tmp_path, "x/a.tif", "b.tif")
    for images, labels, message in (
        (tmp_path / "x", tmp_path / "b.tif", "a folder and .* a file: need two of a kind"),
        (tmp_path / "b.tif", None, "no labels given with it, and it is no sample sheet"),
        (tmp_path / "absent", None, "no such file or folder"),
        (tmp_path / "x", tmp_path / "absent", "absent: no such file or folder"),
    ):
        with pytest.raises(InputError, match=message):
            find_samples(images, labels)


def test_a_sheet_is_read_as_it_is_written(tmp_path):
    touch(tmp_path, "i/a b.tif", "l/ä.zip")
    samples = [
        Sample("a", tmp_path / "i/a b.tif", tmp_path / "l/ä.zip"),
        Sample("b", tmp_path / "i/a b.tif", tmp_path / "l/ä.zip", "test", 0.5),
    ]
    write_samples(tmp_path / "samples.csv", samples)
    assert (tmp_path / "samples.csv").read_text().splitlines()[1] == "a,i/a b.tif,l/ä.zip,train,"
    assert read_samples(tmp_path / "samples.csv") == samples
    assert find_samples(tmp_path / "samples.csv") == samples


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,i.tif,l.tif,held"], "line 2: split 'held', expected train or test"),
        (["a,i.tif,absent.tif,"], "line 2: .*absent.tif: no such file"),
        (["a,i.tif,l.tif,", "a,i.tif,l.tif,"], "line 3: id 'a' is that of line 2"),
        (["a,i.tif"], "line 2: expected as many values as columns"),
        ([",i.tif,l.tif,"], "line 2: no id"),
    ],
)
def test_rows_that_break_a_rule_are_named(tmp_path, rows, message):
    touch(tmp_path, "i.tif", "l.tif")
    (tmp_path / "s.csv").write_text("\n".join(["id,image,labels,split", *rows]))
    with pytest.RaisesGroup(pytest.RaisesExc(InputError, match=message)):
        read_samples(tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,image,labels\na,b,c", "no column 'split', expected id,image,labels,split"),
        (b"id,image,labels,split,size\n", "unknown column 'size'"),
        (b"id,image,labels,split\n", "no row below the header"),
        (b"\xff\xfe\x00", "not a CSV file in UTF-8"),
        (b"", "no column 'id'"),
    ],
)
def test_a_file_that_is_no_sheet_is_refused(tmp_path, content, message):
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_samples(tmp_path / "s.csv")


def test_sizes_of_pixels_are_above_0(tmp_path):
    touch(tmp_path, "i.tif")
    head = "id,image,labels,split,pixel_size_um\n"
    for text in ("0", "-1", "a", "nan", "inf"):
        (tmp_path / "s.csv").write_text(f"{head}a,i.tif,i.tif,train,{text}\n")
        with pytest.RaisesGroup(pytest.RaisesExc(InputError, match=f"pixel_size_um '{text}'")):
            read_samples(tmp_path / "s.csv")


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sheets_of_spreadsheets_are_read(tmp_path, sign, end):
    touch(tmp_path, "i.tif", "l.tif")
    rows = [
        sign.join(row) for row in (("id", "image", "labels", "split"), ("a", "i.tif", "l.tif", ""))
    ]
    (tmp_path / "s.csv").write_bytes(b"\xef\xbb\xbf" + (end.join(rows) + end).encode())
    assert read_samples(tmp_path / "s.csv") == [
        Sample("a", tmp_path / "i.tif", tmp_path / "l.tif", "train")
    ]
