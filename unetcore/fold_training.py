"""Training on the frames outside a fold: from a dataset to the files of a model."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from unetcore.board import Board
from unetcore.data.frames import Frame, split_frames
from unetcore.devices import choose_device
from unetcore.distributed import own_processes
from unetcore.history import progress_line
from unetcore.labels import IGNORED, known_labels
from unetcore.memory import keep_freed_memory
from unetcore.produce import Products, Settings, produce_model
from unetcore.train import TrainingData, read_normalised
from unetcore.validation import Validation

logger = logging.getLogger(__name__)


class Source(Protocol):
    """Where a dataset comes from: its files (`unetcore.data.dataset`), or a bundle."""

    def read_frames(self) -> list[Frame]:
        """All frames, in the order of their pages."""

    def read_grey(self, pages: Sequence[int]) -> np.ndarray:
        """Images of some pages, (N, H, W) float32 in [0, 1]."""

    def read_targets(self, pages: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Classes, integers, and loss weights, float32, of some pages, (N, H, W) each."""

    def read_labels(self, pages: Sequence[int]) -> np.ndarray:
        """Reference of the metrics of some pages; read only where a training is watched."""


@dataclass(frozen=True)
class Held:
    """How the labelled test frames of the fold are watched.

    Attributes
    ----------
    metrics : names, see `unetcore.evaluate`.
    postprocessing : arguments of `unetcore.instances.instances`, for metrics of cells.
    """

    metrics: Sequence[str]
    postprocessing: Mapping


def train_fold(
    dataset: Source,
    settings: Settings,
    products: Products,
    *,
    name: str,
    states: Path,
    board: Path | None,
    split: Mapping,
    fold: str,
    held: Held,
    facts: Mapping | None = None,
) -> None:
    """Train one network on the labelled frames outside a fold, and write what comes of it.

    Parameters
    ----------
    dataset, settings, products : what is read, how it is trained, what is written.
    name : of the training, in the log.
    states : folder of the states of the unfinished training. When it is finished, the last of them
        stays, for the case that the training is asked for again; whoever has the training on record
        removes the folder.
    board : folder for TensorBoard, None for none.
    split, fold : see `unetcore.data.frames.split_frames`.
    held : how the fold's labelled test frames are watched.
    facts : more that a user of the model must know, as plain values.

    Raises
    ------
    InputError, FloatingPointError, Interrupted : see `unetcore.train.train`.
    """
    own = own_processes()
    choose_device(settings.device, own.local_rank)  # if there is no GPU, say so before any work
    keep_freed_memory()
    training = settings.training
    chosen, tested = split_frames(dataset.read_frames(), split, fold)
    data = TrainingData(*read_normalised(dataset, _pages(chosen), training.normalisation))
    watched = [frame for frame in tested if frame.labelled]
    facts = {**(facts or {}), "training_frames": [frame.id for frame in chosen]}
    with ExitStack() as stack:
        shown = stack.enter_context(Board(board)) if board and own.is_first else None
        validation = None
        if training.validate_every and watched and own.is_first:
            path = states / "validation.csv"
            validation = _validation(dataset, watched, training, held, path, shown)
            facts["validation_frames"] = [frame.id for frame in watched]

        def report(row):
            logger.info("%s: %s", name, progress_line(row, training.steps, training.batch))
            if shown is not None:
                shown.add_progress(row)

        logger.info("%s: %d training frames", name, len(chosen))
        produce_model(
            data,
            settings,
            products,
            states=states,
            take_over=True,
            history_so_far=states / "history.csv",
            keep_finished=True,  # the workflow has not put the training on record yet
            report=report,
            validation=validation,
            facts=facts,
        )


def _validation(dataset, frames, training, held, path, board):
    images, classes, weights = read_normalised(dataset, _pages(frames), training.normalisation)
    labels = dataset.read_labels([frame.index for frame in frames])
    ignored = labels == IGNORED
    return Validation(
        images,
        known_labels(labels),
        classes,
        weights,
        metrics=held.metrics,
        postprocessing=held.postprocessing,
        path=path,
        precision=training.precision,
        ignored=ignored if ignored.any() else None,
        board=board,
        complete=[not frame.partial for frame in frames],
    )


def _pages(frames: Sequence[Frame]) -> list[int]:
    """Where frames stand in the files."""
    return [frame.index for frame in frames]
