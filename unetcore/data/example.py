"""A small data set to try everything on: generated sections of neurites and their membranes."""

from pathlib import Path

import numpy as np

from unetcore.data.io import write_stack
from unetcore.data.phantom_em import draw_sections
from unetcore.errors import InputError

SIDE = 256  # px
N_TRAINING, N_NEW = 5, 2
APART = 4  # sections from one that is taken to the next: neighbours look alike
SEED = 2015
MEMBRANE = 255


def write_example(folder: Path) -> None:
    """Write images and labels as a lab has them.

    `images/` and `labels/` hold five sections and masks in which membranes are white; `new/` holds
    two sections of another stack, and `new-labels/` what is right for them.

    Parameters
    ----------
    folder : made where it is missing.

    Raises
    ------
    InputError : it holds something already.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: holds something already, choose another folder")
    for_training, for_new = np.random.default_rng(SEED).spawn(2)
    _write(for_training, N_TRAINING, folder / "images", folder / "labels")
    _write(for_new, N_NEW, folder / "new", folder / "new-labels")


def _write(rng, n, image_folder, label_folder) -> None:
    """Write sections that lie apart from each other in one stack, and their membranes."""
    images, labels = draw_sections(rng, n * APART, SIDE)
    marked = np.where(labels > 0, 0, MEMBRANE).astype(np.uint8)
    for k in range(n):
        for folder, pages in ((image_folder, images), (label_folder, marked)):
            write_stack(folder / f"section-{k + 1}.tif", pages[k * APART][None])
