"""Measurements of cells by hand, and the file they go to."""

import csv

import numpy as np
import pytest

from unetcore.measurements import measure, write_table

CELLS = np.array(
    [
        [
            [0, 0, 0, 0, 0, 0],
            [0, 1, 1, 0, 0, 0],
            [0, 1, 0, 0, 3, 3],
            [0, 0, 0, 0, 0, 3],
        ],
        np.zeros((4, 6), int),
        [
            [0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
            [0, 0, 1, 1, 0, 0],
            [0, 0, 0, 0, 0, 0],
        ],
    ]
)
GREY = np.arange(3 * 4 * 6).reshape(3, 1, 4, 6)


def test_numbers_by_hand():
    table = measure(CELLS, GREY, name="a.tif", pixel_size=0.5)
    assert table["image"] == ["a.tif"] * 3
    assert table["slice"] == [1, 1, 3]
    assert table["label"] == [1, 3, 1]
    assert table["area_px"] == [3, 3, 2]
    assert table["area_um2"] == [0.75, 0.75, 0.5]
    np.testing.assert_allclose(table["y_px"], [4 / 3, 7 / 3, 2])
    np.testing.assert_allclose(table["x_px"], [4 / 3, 14 / 3, 2.5])
    np.testing.assert_allclose(table["y_um"], [2 / 3, 7 / 6, 1])
    np.testing.assert_allclose(table["x_um"], [2 / 3, 7 / 3, 1.25])
    assert table["touches_border"] == [False, True, False]
    # of the values 7, 8, 13; 16, 17, 23; 48 + 14, 48 + 15
    np.testing.assert_allclose(table["mean"], [28 / 3, 56 / 3, 62.5])
    assert (table["min"], table["max"]) == ([7, 16, 62], [13, 23, 63])
    deviations = [np.std([7, 8, 13]), np.std([16, 17, 23]), 0.5]
    np.testing.assert_allclose(table["std"], deviations)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("row", [0, -1])
def test_every_side_is_a_border(side, row):
    cells = np.zeros((1, 5, 7), int)
    cells[0, 2, 3] = 1
    cells[0].swapaxes(0, side)[row, 2] = 2
    assert measure(cells, cells[:, None], name="a")["touches_border"] == [False, True]


def test_channels_have_columns_of_their_own():
    pixels = np.concatenate((GREY, 2 * GREY), axis=1).astype(np.uint8)
    table = measure(CELLS, pixels, name="a.tif")
    assert list(table)[-8:] == [
        f"{what}_{channel}" for channel in "12" for what in ("mean", "min", "max", "std")
    ]
    np.testing.assert_allclose(table["mean_2"], 2 * np.array(table["mean_1"]))
    named = measure(CELLS, pixels, name="a.tif", channels=["DAPI", "actin"])
    assert named["max_actin"] == table["max_2"] == [26, 46, 126]
    assert measure(CELLS, GREY, name="a.tif", channels=["DAPI"])["max"] == [13, 23, 63]


def test_without_a_pixel_size_its_cells_are_empty(tmp_path):
    table = measure(CELLS, GREY / 3, name="Bild 1, ä.tif")
    write_table(tmp_path / "new/a.csv", table)
    with open(tmp_path / "new/a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table)
    assert [row["image"] for row in rows] == ["Bild 1, ä.tif"] * 3
    assert [row["area_um2"] + row["y_um"] + row["x_um"] for row in rows] == [""] * 3
    assert rows[1]["touches_border"] == "True"
    assert rows[0]["y_px"] == "1.333333"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.csv"]


def test_no_cell_leaves_the_names_of_the_columns(tmp_path):
    write_table(tmp_path / "a.csv", measure(CELLS[1:2], GREY[1:2], name="a.tif"))
    (line,) = (tmp_path / "a.csv").read_text().splitlines()
    assert line.startswith("image,slice,label,area_px,area_um2,y_px,")
    assert line.endswith(",mean,min,max,std")
