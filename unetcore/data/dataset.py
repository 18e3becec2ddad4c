"""The files of a dataset in its canonical form, as trainings read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetcore.data.frames import Frame, read_frames
from unetcore.data.io import read_frame_images, read_images, read_labels, to_unit_range


@dataclass(frozen=True)
class Dataset:
    """Files of a dataset in its canonical form, see ARCHITECTURE.md.

    Attributes
    ----------
    images, labels, frames : images.tif, labels.tif, frames.csv.
    classes, weights : what a network is taught, of the same pages.
    """

    images: Path
    labels: Path
    frames: Path
    classes: Path
    weights: Path

    def read_frames(self) -> list[Frame]:
        """All frames, in the order of their pages."""
        return read_frames(self.frames)

    def read_grey(self, pages: Sequence[int]) -> np.ndarray:
        """Images of some frames, (N, H, W) or (N, C, H, W) float32 in [0, 1]."""
        images = read_frame_images(self.images, len(self.read_frames()))
        return to_unit_range(images[pages], self.images)

    def read_targets(self, pages: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Classes, integers, and loss weights, float32, of some pages, (N, H, W) each."""
        return read_labels(self.classes)[pages], read_images(self.weights)[pages]

    def read_labels(self, pages: Sequence[int]) -> np.ndarray:
        """Reference of the metrics of some pages, (N, H, W) whole numbers >= 0."""
        return read_labels(self.labels)[pages]
