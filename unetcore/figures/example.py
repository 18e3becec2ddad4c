"""The frame that a figure shows, read from the files of its dataset and its prediction."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from unetcore.data.frames import Frame, read_frames
from unetcore.data.io import read_frame_images, read_labels, read_probability
from unetcore.errors import InputError
from unetcore.labels import IGNORED, known_labels


@dataclass(frozen=True)
class Example:
    """One frame on its way from image to segmentation; all arrays are (H, W).

    Attributes
    ----------
    id : id of the frame.
    page : its page in the dataset's stacks.
    image : grey values.
    labels : reference; a mask, > 0 = cell interior, or instance ids with 0 = background, also
        where nothing is known.
    probability : in [0, 1], of cell interior; 0 where nothing is known.
    threshold : of the probability.
    instances : ids of the segmented cells, 0 = background; None where the segmentation is
        probability > threshold.
    seg : SEG of all frames that were predicted with this one; None where it was not measured.
    """

    id: str
    page: int
    image: np.ndarray
    labels: np.ndarray
    probability: np.ndarray
    threshold: float
    instances: np.ndarray | None
    seg: float | None = None

    @property
    def segments(self) -> np.ndarray:
        """Segmented objects, (H, W) integer ids: the cells, or 4-connected components."""
        if self.instances is not None:
            return self.instances
        return ndimage.label(self.probability > self.threshold)[0]


def read_example(
    images: Path,
    labels: Path,
    frames: Path,
    probability: Path,
    metrics: Path,
    instances: Path | None = None,
) -> Example:
    """Read the first frame of a prediction whose labels are complete.

    Parameters
    ----------
    images, labels, frames : files of the dataset.
    probability, instances : files of the prediction; `instances` for cells only.
    metrics : the prediction's metrics.json: says which frames were predicted, and the best warping
        threshold; where it has none, 0.5 is used.

    Raises
    ------
    InputError : a file cannot be read, or the prediction has another number of frames.
    """
    evaluation = json.loads(Path(metrics).read_text("utf-8"))
    probabilities = read_probability(probability)
    if len(probabilities) != len(evaluation["frames"]):
        raise InputError(
            f"{probability}: {len(probabilities)} pages for the {len(evaluation['frames'])} frames"
            f" of {metrics}"
        )
    by_id = {frame.id: frame for frame in read_frames(frames)}
    predicted = [by_id[name] for name in evaluation["frames"]]
    frame = first_complete(predicted)
    place = predicted.index(frame)
    reference = read_labels(labels)[frame.index]
    known = reference != IGNORED
    return Example(
        frame.id,
        frame.index,
        one_channel(read_frame_images(images, len(by_id))[frame.index]),
        known_labels(reference),
        probabilities[place] * known,
        evaluation["metrics"].get("warping_error", {}).get("threshold", 0.5),
        read_labels(instances)[place] * known if instances else None,
        evaluation["metrics"].get("seg", {}).get("value"),
    )


def one_channel(image: np.ndarray) -> np.ndarray:
    """First channel of an image (H, W) or (C, H, W)."""
    return image if image.ndim == 2 else image[0]


def first_complete(frames: Sequence[Frame]) -> Frame:
    """First frame whose cells are all labelled; the first of all where there is none."""
    return next((f for f in frames if f.labelled and not f.partial), frames[0])
