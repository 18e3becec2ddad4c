"""Scores on held-out slices while a network is trained. They are watched and choose nothing.

The last network is the product of a training. Which one was best is reported, not kept: to keep it
would be to train on the held-out slices.
"""

import copy
import csv
import io
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unetcore.data.files import write_atomically, write_if_there_is_room
from unetcore.errors import InputError

try:
    from unetcore.evaluate import OF_CELLS, evaluate
    from unetcore.instances import instances
    from unetcore.metrics import Slices
    from unetcore.predict import Predictor, softmax
    from unetcore.tiling import predict_tiled
except ModuleNotFoundError as error:  # torch and numpy are enough to train, not to validate
    MISSING = error.name
else:
    MISSING = None

logger = logging.getLogger(__name__)

HIGHEST_IS_BEST = ("v_rand", "v_info", "seg", "iou")  # of all others the lowest is


@dataclass(frozen=True)
class ValidationRow:
    """What was measured on the held-out slices at a step; one row of validation.csv.

    Attributes
    ----------
    step : weight updates done.
    seconds : that the measurement took.
    loss : weighted cross entropy, sum(w l) / sum(w) over all pixels of all slices (Eq. 1), of whole
        slices and without drop-out; the training's loss is of augmented tiles with drop-out, and
        of another scale where its `reduction` is another.
    metrics : by name, at the best threshold where a metric has one.
    """

    step: int
    seconds: float
    loss: float
    metrics: Mapping[str, float]

    @property
    def values(self) -> dict[str, float]:
        """Loss and metrics by name."""
        return {"loss": self.loss, **self.metrics}


class Validation:
    """Measures a network on held-out slices, and keeps what was measured in a file.

    The network is predicted with as after the training: whole slices, cut into tiles without seams.
    It may be in the middle of its training: a copy is measured, and no random number is drawn.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) float32 array, normalised as in training, finite.
    labels : (N, H, W) array of whole numbers >= 0, reference of the metrics, 0 = background.
    classes : (N, H, W) integer array in 0..K-1.
    weights : (N, H, W) array >= 0, loss weights.
    metrics : names, see `unetcore.evaluate`.
    postprocessing : arguments of `unetcore.instances.instances`, needed for metrics of cells.
    path : validation.csv, written anew after each measurement. Not an output of a rule: Snakemake
        would delete it before a training is resumed.
    precision : "auto", "float32" or "bfloat16", of the prediction.
    board : `unetcore.board.Board` that shows the values and the first slice, or None.
    complete : N bools, slices of which every cell is labelled, see `evaluate`; None: all.
    ignored : (N, H, W) bool array, pixels that no metric counts; None: all are counted.
    memory : bytes that the prediction may take, see `Predictor`.

    Attributes
    ----------
    rows : list of `ValidationRow`, steps ascending.

    Raises
    ------
    InputError : a package that the metrics need is missing, or the arrays, metrics and
        postprocessing do not fit together; nothing of this is left to the first measurement.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        classes: np.ndarray,
        weights: np.ndarray,
        *,
        metrics: Sequence[str],
        postprocessing: Mapping | None,
        path: Path,
        precision: str,
        board=None,
        complete: Sequence[bool] | None = None,
        ignored: np.ndarray | None = None,
        memory: int | None = None,
    ):
        if MISSING:
            raise InputError(
                f"validation needs the package {MISSING}: install it, or set validate_every: 0"
            )
        _check(images, labels, classes, weights)
        self._images = images if images.ndim == 4 else images[:, None]
        self._labels = Slices(labels, "labels of the held-out slices")
        self._classes, self._weights = classes, weights
        self._metrics, self._postprocessing = tuple(metrics), postprocessing
        self._complete, self._ignored, self._board = complete, ignored, board
        self._path, self._precision, self._memory = Path(path), precision, memory
        self.rows: list[ValidationRow] = []
        # Whatever the metrics refuse, they refuse a perfect prediction too: now, not hours later.
        self._measure((labels > 0).astype(np.float32))

    def __call__(self, network, step: int) -> ValidationRow:
        """Measure a network after `step` weight updates, unless that has been done.

        Parameters
        ----------
        network : UNet, in any mode and on any device; neither changes.
        step : not less than that of the call before.

        Raises
        ------
        FloatingPointError : a score of the network is NaN or infinite.
        """
        if self.rows and step <= self.rows[-1].step:
            if step == self.rows[-1].step:
                return self.rows[-1]
            raise ValueError(f"step {step} comes after step {self.rows[-1].step}: rewind first")
        started = time.perf_counter()
        loss, probability = self._predict(network, step)
        metrics = self._measure(probability)
        row = ValidationRow(step, time.perf_counter() - started, loss, metrics)
        self.rows.append(row)
        self._write()
        values = ", ".join(f"{name} {value:.4g}" for name, value in row.values.items())
        logger.info("step %d, held-out images: %s (%.1f s)", step, values, row.seconds)
        if self._board is not None:
            self._board.add_validation(step, row.values, self._picture(probability[0]))
        return row

    def rewind(self, step: int) -> None:
        """Keep only what the file tells of the steps up to `step`, from which a training goes on.

        Parameters
        ----------
        step : of the state that is taken up; 0 where the training begins: nothing is kept.
        """
        earlier = self._read() if step else []
        self.rows = [row for row in earlier if row.step <= step]
        self._write()
        if self._board is not None:
            self._board.rewind(step)

    def best(self, name: str) -> ValidationRow:
        """Row in which "loss" or a metric was best, the first of equals; there must be a row."""
        sign = -1 if name in HIGHEST_IS_BEST else 1
        return min(self.rows, key=lambda row: sign * row.values[name])

    def summary(self) -> dict:
        """Last and best values as plain JSON values, for run.json.

        Returns
        -------
        dict of "slices", how many are held out; "last", step and values of the last measurement;
        "best", for each value the step where it was best and what it was there. Without a
        measurement "last" and "best" are empty.
        """
        last = {"step": self.rows[-1].step, **self.rows[-1].values} if self.rows else {}
        best = {}
        for name in self._names() if self.rows else ():
            row = self.best(name)
            best[name] = {"step": row.step, "value": row.values[name]}
        return {"slices": len(self._images), "last": last, "best": best}

    def report(self) -> None:
        """Log a line for each value: what it is for the last network, and where it was best."""
        for name in self._names() if self.rows else ():
            logger.info("held-out images: %s", self._in_words(name))

    def _in_words(self, name: str) -> str:
        """What a value is for the last network, and where it was best."""
        last, best = self.rows[-1].values[name], self.best(name)
        cut = f" (cells above {self._cut():g})" if name in OF_CELLS else ""
        perfect = "1" if name in HIGHEST_IS_BEST else "0"
        earlier = f"{best.values[name]:.4g} after step {best.step}"
        was = "never better" if best.values[name] == last else earlier
        return (
            f"{name.replace('_', ' ')} {last:.4g} at the end{cut}, {perfect} is best; it was {was}"
        )

    def _cut(self) -> float:
        """Threshold at which cells are cut out."""
        return self._postprocessing.get("threshold", 0.5)

    def save(self, path: Path) -> None:
        """Write all rows as a CSV of the columns step, seconds, loss and the metrics."""
        write_atomically(path, self._table())

    def _predict(self, network, step):
        """Loss over all slices, and the probability of cell interior, (N, H, W) float32."""
        device = "gpu" if next(network.parameters()).is_cuda else "cpu"
        predictor = Predictor(copy.deepcopy(network), self._precision, self._memory, device)
        probability = np.empty(self._labels.shape, np.float32)
        energy, total = 0.0, 0.0
        slices = zip(self._images, self._classes, self._weights, strict=True)
        for k, (image, classes, weights) in enumerate(slices):
            try:
                scores = predict_tiled(image, predictor)
            except FloatingPointError as error:
                raise FloatingPointError(f"step {step}, held-out slice {k}: {error}") from error
            probability[k] = np.clip(softmax(scores)[1], 0, 1)
            energy += float((weights * cross_entropy(scores, classes)).sum())
            total += float(weights.sum(dtype=np.float64))
        return energy / total, probability

    def _measure(self, probability):
        """Value of each metric."""
        cells = None
        if self._postprocessing is not None and not set(OF_CELLS).isdisjoint(self._metrics):
            cells = np.stack([instances(p, **self._postprocessing) for p in probability])
        results = evaluate(
            self._metrics,
            self._labels,
            probability,
            segmentation=cells,
            complete=self._complete,
            ignored=self._ignored,
            threads=torch.get_num_threads(),
        )
        return {name: float(results[name]["value"]) for name in self._metrics}

    def _picture(self, probability):
        """First slice's grey values, probability and label side by side, (H, 3 W) uint8."""
        grey = self._images[0, 0]
        low, high = float(grey.min()), float(grey.max())
        grey = (grey - low) / max(high - low, 1e-12)
        panels = np.concatenate((grey, probability, self._labels[0] > 0), axis=1)
        return np.round(255 * panels).astype(np.uint8)

    def _names(self):
        return ("loss", *self._metrics)

    def _columns(self):
        return ["step", "seconds", *self._names()]

    def _table(self):
        """Content of validation.csv."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._columns())
        writer.writerows((row.step, row.seconds, *row.values.values()) for row in self.rows)
        return text.getvalue().encode()

    def _write(self):
        """Bring the file up to date."""
        write_if_there_is_room(self._path, self._table())

    def _read(self):
        """Rows of the file; none, with a warning, where it cannot be read as one of ours."""
        if not self._path.is_file():
            return []
        try:
            with self._path.open(newline="", encoding="utf-8") as file:
                header, *lines = csv.reader(file)
            if header != self._columns():
                raise ValueError(f"columns {', '.join(header)}")
            return [self._row(line) for line in lines]
        except (OSError, ValueError, csv.Error) as error:
            logger.warning("%s: earlier measurements are lost (%s)", self._path, error)
            return []

    def _row(self, line):
        step, seconds, loss, *metrics = line
        values = dict(zip(self._metrics, map(float, metrics), strict=True))
        return ValidationRow(int(step), float(seconds), float(loss), values)


def cross_entropy(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Cross entropy of each pixel, -log of the softmax of its class (Eq. 1 without weights).

    Parameters
    ----------
    scores : (K, H, W) array, before the softmax.
    classes : (H, W) integer array in 0..K-1.

    Returns
    -------
    (H, W) float64 array >= 0.

    Examples
    --------
    >>> cross_entropy(np.zeros((2, 1, 1)), np.array([[1]]))  # ln 2
    array([[0.69314718]])
    """
    below = scores.astype(np.float64) - scores.max(axis=0)
    own = np.take_along_axis(below, classes[None].astype(np.intp), axis=0)[0]
    return np.log(np.exp(below).sum(axis=0)) - own


def _check(images, labels, classes, weights):
    flat = (len(images), *images.shape[-2:])
    if not len(images):
        raise InputError("no held-out slices: validation needs at least one with labels")
    if not flat == labels.shape == classes.shape == weights.shape:
        raise InputError(
            f"held-out images of shape {images.shape}, labels {labels.shape}, classes "
            f"{classes.shape}, weights {weights.shape}: need the same slices, rows and columns"
        )
    if not np.isfinite(images).all():
        raise InputError("held-out images: hold NaN or infinite values, finite ones are needed")
    if not (np.isfinite(weights).all() and weights.min() >= 0):
        raise InputError(
            f"weights of the held-out slices: {weights.min()} to {weights.max()}, finite ones >= 0 "
            f"are needed"
        )
    if not weights.any():
        raise InputError("held-out slices: every pixel is ignored, there is nothing to measure")
