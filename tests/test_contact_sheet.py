"""Images and labels on one sheet."""

import numpy as np
from matplotlib.colors import to_rgba

from unetcore.figures.contact_sheet import MOST, contact_sheet
from unetcore.figures.style import BLUE, ORANGE, PURPLE, save
from unetcore.labels import IGNORED


def visible(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def layers(axes):
    """Pixels that are covered, by colour."""
    _, *marks = axes.get_images()
    shown = {}
    for layer in marks:
        colour = to_rgba(layer.get_cmap().colors[0])
        shown[colour] = shown.get(colour, False) | ~np.isnan(
            np.ma.filled(layer.get_array(), np.nan)
        )
    return shown


def test_cells_background_and_ignored_regions_have_their_colours(tmp_path):
    labels = np.zeros((20, 30), np.uint16)
    labels[:, 10:20], labels[:, 25:] = 3, IGNORED
    figure = contact_sheet(["a b"], [np.random.default_rng(0).random((1, 20, 30))], [labels])
    (axes,) = visible(figure)
    assert axes.get_title(loc="left") == "a b"
    shown = layers(axes)
    np.testing.assert_array_equal(shown[to_rgba(ORANGE)], labels == 3)
    np.testing.assert_array_equal(shown[to_rgba(BLUE)], labels == 0)
    np.testing.assert_array_equal(shown[to_rgba(PURPLE)], labels == IGNORED)
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert names == {"cell", "background or membrane", "ignored"}
    save(figure, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_of_many_images_the_first_and_the_last_are_shown():
    names = [f"image {k}" for k in range(100)]
    images = [np.zeros((3, 8, 9))] * 100
    figure = contact_sheet(names, images, [np.eye(8, 9, dtype=np.uint16)] * 100)
    titles = [axes.get_title(loc="left") for axes in visible(figure)]
    assert len(titles) == MOST
    assert (titles[0], titles[-1]) == ("image 0", "image 99")
    assert figure._suptitle.get_text() == "Images and labels, 24 of 100"


def test_large_images_are_drawn_small_with_their_labels():
    labels = np.zeros((1000, 2000), np.uint16)
    labels[:, 1000:] = 70
    (axes,) = visible(contact_sheet(["a"], [np.zeros((2, 1000, 2000))], [labels]))
    assert axes.get_images()[0].get_array().shape == (240, 480)
    np.testing.assert_array_equal(layers(axes)[to_rgba(ORANGE)][:, 240:], True)
