"""A prediction from the files it needs to the image it makes: for command line and workflow."""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetcore.checkpoint import load_model
from unetcore.data.channels import other_channels
from unetcore.data.io import IMAGE_TYPES
from unetcore.data.ome_zarr import open_image
from unetcore.data.pixel_size import Scale, in_micrometres, scale_factor, scale_of
from unetcore.data.stacks import Stack, open_stack
from unetcore.errors import InputError
from unetcore.predict import Predictor
from unetcore.volumes.plan import CHUNK, part_of, plan_volume
from unetcore.volumes.prediction import VolumePrediction, start_prediction

logger = logging.getLogger(__name__)

HOW = "--pixel-size UM (in the workflow pixel_size_um)"
AS_A_WHOLE = (".png", ".jpg", ".jpeg")  # suffixes of pictures that no part can be read of


def load_weights(path: Path, *, precision: str, device: str) -> tuple[Predictor, Mapping]:
    """Predictor of a model file with weights, and what the file says of it."""
    network, description = load_model(path)
    return Predictor(network, precision, device=device), description


@dataclass(frozen=True)
class Request:
    """What is to be predicted, by what, and into which folder.

    Attributes
    ----------
    image : stack, see `unetcore.data.stacks.open_stack`.
    model : file of a trained network.
    out : folder of the OME-Zarr image to be made or continued.
    device : "cpu", "gpu" or "auto".
    fill_missing : whether chunks that a Zarr image does not have are its fill value.
    pixel_size : of the image in um, None if it says so itself.
    load : reads the model, like `load_weights`; for other kinds of files than that takes.
    """

    image: Path
    model: Path
    out: Path
    device: str = "auto"
    fill_missing: bool = False
    pixel_size: float | None = None
    load: Callable[..., tuple[Any, Mapping]] = load_weights


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
    InputError : as `plan_volume`, `start_prediction`, where a file cannot be read, and where image
        and model do not fit together.
    """
    predictor, description = request.load(request.model, precision=precision, device=request.device)
    _refuse_pictures(request.image)
    stack = open_stack(request.image, fill_missing=request.fill_missing, in_channels=True)
    normalisation = _normalisation(request.model, predictor, description)
    _refuse_unfit(stack, predictor, normalisation)
    scale = _scale(stack, request.pixel_size, description.get("pixel_size_um"))
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
        scale=scale,
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
    fill_missing = record["fill_missing"]
    stack = open_stack(request.image, fill_missing=fill_missing, look=False, in_channels=True)
    predictor, _ = request.load(request.model, precision=record["precision"], device=request.device)
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


def _normalisation(model: Path, predictor: Any, description: Mapping) -> str:
    """Grey values that a network was trained on, if it is one that says what is inside."""
    if predictor.n_classes < len(("background", "interior")):
        raise InputError(f"{model}: a network of {predictor.n_classes} class(es), need at least 2")
    if predictor.traits.whole:
        raise InputError(
            f"{model}: a fixed graph that takes the statistics of its maps from each tile, so "
            "chunks would not fit together: give the folder of the training, a .safetensors or a "
            ".zip"
        )
    try:
        return description["training"]["normalisation"]
    except KeyError as error:
        raise InputError(f"{model}: does not say how grey values were normalised") from error


def _refuse_pictures(image: Path) -> None:
    """Refuse files that are decoded as a whole, also in a folder, where they would be left out."""
    files = sorted(image.iterdir()) if image.is_dir() else [image]
    for file in files:
        if file.suffix.lower() in AS_A_WHOLE and not file.name.startswith("."):
            raise InputError(
                f"{file}: chunk by chunk TIFF and OME-Zarr are read, give OUT.tif or the name of "
                "a folder"
            )


def _refuse_unfit(stack: Stack, predictor: Any, normalisation: str) -> None:
    """Refuse images of other channels than the network takes, and numbers that are no grey values.

    Without normalisation the number type says what is white; else any real numbers will do.
    """
    given, taken = stack.n_channels, predictor.channels
    if given != taken:
        raise InputError(f"{stack.path}: {other_channels(given, taken, len(stack))}")
    kind, name = stack.dtype.kind, stack.dtype.name
    if kind not in "biuf":
        raise InputError(f"{stack.path}: values of type {name}, expected real numbers")
    if normalisation == "unit" and kind != "f" and name not in IMAGE_TYPES:
        expected = ", ".join(IMAGE_TYPES)
        raise InputError(f"{stack.path}: values of type {name}, expected one of {expected}")


def _scale(stack: Stack, given: float | None, wanted: float | None) -> Scale:
    """Size of a voxel, if it is that of the model; `given` in um stands in place of the file's."""
    size = stack.scale.pixel_size if given is None else given
    if scale_factor(size, wanted, str(stack.path), how=HOW) != 1:
        raise InputError(
            f"{stack.path}: pixels of {size:g} um, and the model is for {wanted:g} um: chunk by "
            "chunk nothing is rescaled, give OUT.tif or the name of a folder, or bring the image "
            f"to {wanted:g} um (Fiji: Image > Scale)"
        )
    if given is None:
        return stack.scale
    spacing = in_micrometres(stack.scale.voxel[0], stack.scale.unit)
    return scale_of(given, spacing, stack.scale.frame_interval)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
