"""A prediction from the files it needs to the image it makes: for command line and workflow."""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from unetcore.checkpoint import load_model
from unetcore.data.io import IMAGE_TYPES
from unetcore.data.ome_zarr import open_image
from unetcore.data.stacks import Stack, open_stack
from unetcore.errors import InputError
from unetcore.predict import Predictor
from unetcore.volumes.plan import CHUNK, part_of, plan_volume
from unetcore.volumes.prediction import VolumePrediction, start_prediction

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is to be predicted, by what, and into which folder.

    Attributes
    ----------
    image : stack, see `unetcore.data.stacks.open_stack`.
    model : file of `unetcore.checkpoint.save_model`.
    out : folder of the OME-Zarr image to be made or continued.
    device : "cpu", "gpu" or "auto".
    fill_missing : whether chunks that a Zarr image does not have are its fill value.
    """

    image: Path
    model: Path
    out: Path
    device: str = "auto"
    fill_missing: bool = False


def start(
    request: Request,
    *,
    side: int = CHUNK,
    memory: int | None = None,
    precision: str = "auto",
    code: str = "",
    start_anew: bool = False,
) -> VolumePrediction:
    """Make the image that takes the result, or find the one to be continued.

    What it takes is logged, and refused if there is not so much memory.

    Parameters
    ----------
    side, memory : of a chunk in px, and in bytes, see `unetcore.volumes.plan_volume`.
    precision : "auto", "float32" or "bfloat16".
    code : digest of the code, which decides the result like a setting.
    start_anew : whether the result of other settings is replaced, and not refused.

    Raises
    ------
    InputError : as `plan_volume`, `start_prediction`, and where a file cannot be read.
    """
    stack = open_stack(request.image, fill_missing=request.fill_missing)
    _refuse_no_grey(stack)
    network, description = load_model(request.model)
    normalisation = _normalisation(request.model, network, description)
    predictor = Predictor(network, precision, device=request.device)
    target = start_prediction(
        stack,
        predictor,
        plan_volume(stack, predictor, side=side, memory=memory),
        request.out,
        normalisation=normalisation,
        made_by={
            "model": _digest(request.model),
            "code": code,
            "fill_missing": request.fill_missing,
        },
        start_anew=start_anew,
    )
    return VolumePrediction(stack, predictor, target)


def go_on(request: Request) -> VolumePrediction:
    """Find the image that `start` has made; tiles and precision are those of then.

    Files of the image to be predicted are looked at where they are read, and not all at once.

    Raises
    ------
    InputError : there is none, the model is another one, or there is not enough memory.
    """
    target = open_image(request.out)
    record = target.record
    stack = open_stack(request.image, fill_missing=record["fill_missing"], look=False)
    network, _ = load_model(request.model)
    predictor = Predictor(network, record["precision"], device=request.device)
    version = {"version": record["image"]["version"]}  # `start` has compared it
    target.refuse_unlike({"model": _digest(request.model), "image": stack.described() | version})
    return VolumePrediction(stack, predictor, target)


def predict_part(
    prediction: VolumePrediction,
    number: int = 1,
    n_parts: int = 1,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Predict the share of one of so many jobs; see `VolumePrediction.run`.

    Parameters
    ----------
    number, n_parts : of the job, counted from 1, and of all jobs.
    report : called with the number of chunks that are done and of all in this part.

    Returns
    -------
    int, number of chunks that were predicted now.
    """
    chunks = part_of(prediction.target.chunks(), number, n_parts)
    return prediction.run(chunks, lambda done: report(done, len(chunks)))


def progress_lines(seconds: float = 10.0) -> Callable[[int, int], None]:
    """Make the `report` of `predict_part` that logs a line now and then, and at the end."""
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > seconds:
            last = time.monotonic()
            logger.info("%d of %d chunks", done, total)

    return report


def _refuse_no_grey(stack: Stack) -> None:
    """Refuse numbers of a type that is no grey value."""
    if stack.dtype.name not in IMAGE_TYPES:
        expected = ", ".join(IMAGE_TYPES)
        raise InputError(f"{stack.path}: values of type {stack.dtype}, expected one of {expected}")


def _normalisation(model: Path, network: nn.Module, description: Mapping) -> str:
    """Grey values that a network was trained on, if it is one that says what is inside."""
    takes, gives = (network.settings[key] for key in ("in_channels", "n_classes"))
    if takes != 1 or gives < 2:
        raise InputError(
            f"{model}: a network of {takes} channel(s) and {gives} class(es), need 1 and at least 2"
        )
    try:
        return description["training"]["normalisation"]
    except KeyError as error:
        raise InputError(f"{model}: does not say how grey values were normalised") from error


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
