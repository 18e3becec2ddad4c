import numpy as np
import pytest

from unetcore.data.guess import looks_like_membranes
from unetcore.data.label_map import LabelMap
from unetcore.data.phantom_em import draw_sections
from unetcore.errors import InputError
from unetcore.labels import IGNORED


def test_without_a_map_0_is_background_and_one_other_value_cell():
    assert LabelMap().apply(np.array([0, 7, 7, 0]), "mask").tolist() == [0, 1, 1, 0]
    assert LabelMap().apply(np.array([0, 7, 9, 0]), "instances").tolist() == [0, 7, 9, 0]


@pytest.mark.parametrize(
    ("text", "values", "coded"),
    [
        ("0=cell,255=background", [0, 255, 0], [1, 0, 1]),
        ("0=ignore,1=background,2=cell", [0, 1, 2], [IGNORED, 0, 1]),
        ("255=ignore", [0, 255, 3, 3], [0, IGNORED, 1, 1]),
        ("1=background", [0, 1, 4], [0, 0, 1]),
        ("2=cell,3=cell,0=background", [0, 3, 2], [0, 1, 1]),
    ],
)
def test_a_mask_is_what_its_map_says(text, values, coded):
    found = LabelMap.parse(text).apply(np.array([values], np.uint8), "mask")
    assert found.tolist() == [coded]
    assert found.dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.float32])
def test_instances_keep_their_numbers_beside_what_the_map_names(dtype):
    label_map = LabelMap({9: "ignore", 1: "background"})
    found = label_map.apply(np.array([0, 1, 5, 9], dtype), "instances")
    assert found.tolist() == [0, 0, 5, IGNORED]
    assert label_map.apply(np.array([0, 9], dtype), "mask").tolist() == [0, IGNORED]


@pytest.mark.parametrize(
    ("text", "kind", "values", "coded"),
    [
        ("-1=ignore", "mask", [-1, 0, 9], [IGNORED, 0, 1]),
        ("-1=background,0=ignore,1=cell", "mask", [-1, 0, 1], [0, IGNORED, 1]),
        ("-1=ignore", "instances", [-1, 0, 2, 3], [IGNORED, 0, 2, 3]),
    ],
)
def test_values_below_0_are_what_the_map_says(text, kind, values, coded):
    for dtype in (np.int8, np.int16, np.float32):
        found = LabelMap.parse(text).apply(np.array(values, dtype), kind)
        assert found.tolist() == coded


def test_large_numbers_are_given_anew():
    found = LabelMap().apply(np.array([0, 70_000, 65_535, 70_000, 3]), "instances")
    assert found.tolist() == [0, 3, 2, 3, 1]


def test_more_cells_than_numbers_are_refused():
    with pytest.raises(InputError, match=r"a\.tif: 65535 cells, at most 65534 are possible"):
        LabelMap().apply(np.arange(65_536), "instances", "a.tif")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:cell", r"need VALUE=MEANING"),
        ("0=cell,0=ignore", "value 0 is there twice"),
        ("0=cells", "0 means 'cells': need one of background, cell, ignore"),
        ("", "need VALUE=MEANING"),
    ],
)
def test_a_map_that_says_nothing_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        LabelMap.parse(text)


@pytest.mark.parametrize(
    ("text", "kind", "values", "message"),
    [
        ("0=cell,1=background", "mask", [0, 2], r"l\.png: value 2 is not in the label map"),
        (
            "9=ignore",
            "mask",
            [0, 1, 2],
            r"l\.png: a mask of the values 0, 1, 2: .*, or a label map",
        ),
        ("1=cell", "instances", [0, 1], "in instances every number is a cell"),
        ("9=ignore", "mask", [0, 0.5], r"l\.png: label 0\.5: need whole numbers"),
        ("9=ignore", "mask", [0, -1], r"l\.png: label -1: .*, or its meaning in a label map"),
        ("9=ignore", "instances", [3, 4, -7], r"l\.png: label -7"),
        ("0=background,1=cell", "mask", [0, -1], r"l\.png: value -1 is not in the label map"),
    ],
)
def test_labels_that_do_not_fit_the_map_are_refused(text, kind, values, message):
    with pytest.raises(InputError, match=message):
        LabelMap.parse(text).apply(np.array(values), kind, "l.png")


def test_the_map_is_written_as_it_is_read():
    text = "0=ignore,1=background,2=cell"
    assert str(LabelMap.parse(text)) == text
    assert LabelMap.parse(str(LabelMap.parse(text).with_ignored(7))).meanings[7] == "ignore"


@pytest.mark.parametrize(
    ("text", "values", "kind"),
    [("", [0, 9], "mask"), ("", [0, 1, 2], "instances"), ("2=ignore", [0, 1, 2], "mask"),
     ("0=cell,1=background,2=cell", [0, 1, 2], "mask"), ("9=ignore", [1, 2, 3, 9], "instances")],
)  # fmt: skip
def test_the_kind_is_told_by_what_is_known(text, values, kind):
    label_map = LabelMap.parse(text) if text else LabelMap()
    assert label_map.kind_of(np.array(values)) == kind


def test_membranes_are_told_from_cells_whichever_way_they_are_marked():
    _, labels = draw_sections(np.random.default_rng(3), 2, 160)
    for page in labels:
        assert not looks_like_membranes(page > 0)
        assert looks_like_membranes(page == 0)


def test_round_cells_are_no_membranes():
    rows, columns = np.mgrid[:200, :200]
    discs = ((rows % 40 - 20) ** 2 + (columns % 40 - 20) ** 2) < 14**2
    assert not looks_like_membranes(discs)
    assert not looks_like_membranes(np.zeros((50, 50), bool))
