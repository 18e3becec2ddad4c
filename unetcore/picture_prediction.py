"""Prediction of pictures: from grey values of a file to its probability and cells."""

from collections.abc import Iterator, Mapping

import numpy as np

from unetcore.data.channels import other_channels
from unetcore.data.intensity import normalise
from unetcore.data.io import grey_values
from unetcore.data.pictures import Picture
from unetcore.data.pixel_size import scale_factor
from unetcore.data.rescaling import rescaled, restored
from unetcore.errors import InputError
from unetcore.instances import instances
from unetcore.loading import LoadedModel
from unetcore.predict import predict_probability


def refuse_unfit(picture: Picture, model: LoadedModel) -> None:
    """Refuse a picture that the model cannot predict.

    Raises
    ------
    InputError : it has another number of channels, its pixel size is needed and unknown, or its
        values do not say what is white where the model must know.
    """
    given, taken = picture.pixels.shape[1], model.predictor.channels
    if given != taken:
        said = other_channels(given, taken, len(picture.pixels))
        raise InputError(f"{picture.path}: {said}{_hint(picture, taken)}")
    scale_factor(picture.pixel_size, model.pixel_size, str(picture.path))
    if model.normalisation == "unit":
        grey_values(picture.pixels, "unit", str(picture.path))


def predict_picture(
    picture: Picture, model: LoadedModel, *, averaging: str = "none", tile: int | None = None
) -> Iterator[np.ndarray]:
    """Probability that each pixel is cell interior, slice by slice.

    Where the model has a pixel size, a slice is first brought to that, normalised as in training,
    and what comes out is brought back.

    Parameters
    ----------
    picture : as `refuse_unfit` lets through.
    averaging, tile : as of `unetcore.predict.predict_probability`; the tile is of the image as the
        network sees it.

    Yields
    ------
    (H, W) float32 array in [0, 1].
    """
    factor = scale_factor(picture.pixel_size, model.pixel_size, str(picture.path))
    for page in picture.pixels:
        grey = rescaled(grey_values(page, model.normalisation, str(picture.path)), factor)
        (seen,) = normalise(grey[None], model.normalisation, str(picture.path))
        found = predict_probability(seen, model.predictor, averaging=averaging, tile=tile)
        yield np.clip(restored(found, page.shape[-2:]), 0, 1)


def cells_of(probability: np.ndarray, settings: Mapping) -> np.ndarray:
    """Cells of every slice, (Z, H, W); see `unetcore.instances.instances` for the settings."""
    return np.stack([instances(page, **settings) for page in probability])


def postprocessing_for(picture: Picture, model: LoadedModel, given: Mapping) -> dict:
    """Settings of `cells_of` in pixels of a picture.

    Parameters
    ----------
    given : settings by name that were asked for, in pixels of the picture; None for those that
        were not. Those are the model's, whose pixels may be of another size.
    """
    factor = scale_factor(picture.pixel_size, model.pixel_size, str(picture.path))
    settings = model.postprocessing
    settings["smallest_object"] = round(settings["smallest_object"] / factor**2)
    settings["border"] = round(settings["border"] / factor)
    return settings | {name: value for name, value in given.items() if value is not None}


def _hint(picture: Picture, taken: int) -> str:
    """What may help where all channels are one."""
    pixels = picture.pixels
    if taken == 1 and (pixels[:, :1] == pixels).all():
        return ": they are all the same, save the image as grey values"
    return ""
