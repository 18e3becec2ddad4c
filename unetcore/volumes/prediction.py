"""The chunks of a prediction: which are there, and how the others are made."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unetcore.data.ome_zarr import Chunk, ChunkedImage, create_image, open_image, remove_image
from unetcore.data.pixel_size import Scale
from unetcore.data.stacks import Stack
from unetcore.errors import InputError, Interrupted, first_line
from unetcore.predict import Predictor, softmax
from unetcore.stopping import StopRequest
from unetcore.tiling import TilePlan, predict_tiles
from unetcore.volumes.grey import GreyImage, grey_statistics
from unetcore.volumes.plan import VolumePlan, plan_of_tiles, window_side

logger = logging.getLogger(__name__)


def start_prediction(
    stack: Stack,
    predictor: Predictor,
    plan: VolumePlan,
    out: Path,
    *,
    normalisation: str,
    made_by: Mapping[str, Any],
    scale: Scale | None = None,
    start_anew: bool = False,
) -> ChunkedImage:
    """Make the image that takes the result, or find the one to be continued.

    Parameters
    ----------
    stack, predictor, plan : what is predicted, by what, and how.
    out : folder of the OME-Zarr image.
    normalisation : of the network's training, see `unetcore.data.intensity.normalise`.
    made_by : whatever else decides the values, such as the digest of the model.
    scale : size of a voxel; None takes what the stack says.
    start_anew : whether the result of other settings is replaced, and not refused.

    Returns
    -------
    Image whose record says all that decides its values; tiles are those of its first process.

    Raises
    ------
    InputError : `out` holds the result of another image, model or setting, or nothing of ours; the
        stack's numbers are no grey values.
    """
    scale = scale or stack.scale
    asked = {
        "image": stack.described() | {"version": stack.version()},
        "voxel": list(scale.voxel),
        "unit": scale.unit,
        "chunk": plan.side,
        "precision": predictor.precision,
        "normalisation": normalisation,
        **made_by,
    }
    if Path(out).exists():
        target = open_image(out)
        try:
            target.refuse_unlike(asked)
        except InputError as error:
            if not start_anew:
                raise
            logger.warning("%s: it is made anew", error)
            remove_image(out)
        else:
            return target
    plan.check_memory("allow less (memory), or take smaller chunks")
    logger.info("%s: looking at grey values", stack.path)
    record = asked | {
        "tile": list(plan.tiles.tile),
        "batch": plan.tiles.batch,
        "crops": plan.tiles.crops,
        "statistics": grey_statistics(stack, normalisation),
    }
    target = create_image(out, stack.sides, plan.side, record, scale, stack.axes.lower())
    target.refuse_unlike(asked)  # another process may have been faster, with settings of its own
    return target


class VolumePrediction:
    """Probability of every pixel of a stack, in an image that grows chunk by chunk.

    Parameters
    ----------
    stack : images to be predicted.
    predictor : network of two or more classes.
    target : of `start_prediction`; its record decides tiles and grey values.

    Attributes
    ----------
    plan : by which chunks are predicted; what it takes is logged.

    Raises
    ------
    InputError : there is not enough memory for it.
    """

    def __init__(self, stack: Stack, predictor: Predictor, target: ChunkedImage):
        self.stack, self.predictor, self.target = stack, predictor, target
        self.plan = plan_of_tiles(stack, predictor, _recorded_tiles(target, predictor))
        self.plan.check_memory(
            f"tiles are those of the first process; to have others delete {target.path}"
        )
        self.plan.announce()
        window = window_side(self.plan.tiles)
        stack.keep_blocks(stack.blocks_of(window, window))
        self._of_image = (None, None)  # number of an image, and the predictor of its tiles

    def run(self, chunks: Iterable[Chunk], report: Callable[[int], None] = lambda n: None) -> int:
        """Predict those of some chunks that are not there yet.

        Parameters
        ----------
        chunks : of `target.chunks()`.
        report : called after each with the number of those that are done.

        Returns
        -------
        int, how many were predicted now.

        Raises
        ------
        Interrupted : a signal asked to stop; finished chunks stay.
        InputError : the image cannot be read.
        FloatingPointError : the network returned NaN or infinity.
        OSError : the result cannot be written; finished chunks stay.
        """
        chunks, n_predicted = list(chunks), 0
        with StopRequest() as stop, _out_of_memory_is_one_line():
            for n_done, chunk in enumerate(chunks):
                if stop.signal is not None:
                    message = f"{self.target.path}: stopped after {n_done} of {len(chunks)} chunks"
                    raise Interrupted(stop.signal, message)
                if not self.target.is_written(chunk):
                    self.target.write(chunk, self.predict(chunk))
                    n_predicted += 1
                report(n_done + 1)
        return n_predicted

    def predict(self, chunk: Chunk) -> np.ndarray:
        """Probability that each pixel of a chunk is cell interior (class 1).

        Returns
        -------
        (h, w) float32 array in [0, 1].
        """
        image = GreyImage(self.stack, chunk.z, self.target.record["statistics"])
        rows, columns = self.target.place(chunk)
        shape = rows.stop - rows.start, columns.stop - columns.start
        tiles = predict_tiles(
            image,
            self._predictor_for(chunk.z, image),
            replace(self.plan.tiles, shape=shape),
            origin=(rows.start, columns.start),
        )
        probability = np.empty(shape, np.float32)
        for r, c, scores in tiles:
            probability[r, c] = softmax(scores)[1]
        return np.clip(probability, 0, 1, out=probability)

    def _predictor_for(self, z: int, image: GreyImage) -> Predictor:
        """Predictor with the statistics of an image; the last one is kept."""
        if self._of_image[0] != z:
            self._of_image = z, self.predictor.fixed_for(image)
        return self._of_image[1]


@contextmanager
def _out_of_memory_is_one_line() -> Iterator[None]:
    """Say what to do where a GPU has less room than the first process of a prediction found."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = first_line(error)
        raise InputError(f"{reason} Other programs take it; finished chunks stay") from error


def _recorded_tiles(target: ChunkedImage, predictor: Predictor) -> TilePlan:
    """Tiles of a full chunk, as the first process of a prediction planned them."""
    record, shape = target.record, (target.side, target.side)
    return TilePlan(
        shape,
        tuple(record["tile"]),
        predictor.depth,
        predictor.traits,
        record["crops"],
        record["batch"],
    )
