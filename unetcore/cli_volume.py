"""`unet predict` into an OME-Zarr image: chunk by chunk, in one call or in several at a time."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from tqdm import tqdm

from unetcore import __version__
from unetcore.data.pixel_size import in_micrometres, of_square
from unetcore.data.rescaling import scale_factor
from unetcore.data.stacks import open_stack
from unetcore.errors import InputError, Interrupted
from unetcore.memory import keep_freed_memory
from unetcore.terminal import count, say


def predict_volume(
    model: Path,
    image: Path,
    out: Path,
    device: str,
    how: Mapping[str, Any],
    *,
    part: str | None,
    fill_missing: bool,
    pixel_size: float | None = None,
) -> None:
    """Predict chunks that are not there yet, and finish the image when all are.

    Parameters
    ----------
    model, image, out : folder or model of `unet train`, images, OME-Zarr to be made or continued.
    how : arguments of `unetcore.volumes.start`; None takes their defaults.
    part : share of the chunks, as in "2/8"; None: all.
    pixel_size : of the images in um, None if they say so themselves.

    Raises
    ------
    InputError : the model is for another pixel size, as nothing is rescaled here.
    """
    from unetcore.loading import load_network, model_file
    from unetcore.volumes import Request, predict_part, start

    number, n_parts = _part(part)
    keep_freed_memory()
    _, description = load_network(model)  # says so where the training is unfinished
    _refuse_other_scale(image, pixel_size, description.get("pixel_size_um"))
    request = Request(image, model_file(model), out, device, fill_missing)
    given = {key: value for key, value in how.items() if value is not None}
    prediction = start(request, **given, code=__version__)
    try:
        with _progress() as report:
            n_predicted = predict_part(prediction, number, n_parts, report)
    except Interrupted as stop:
        typer.echo(f"{stop}. The same command continues.", err=True)
        raise typer.Exit(stop.exit_code) from None
    target = prediction.target
    n_missing = len(target.missing())
    if not n_missing:
        target.finish()
    left = f", {n_missing} are missing" if n_missing else ", complete"
    say(f"{out}: {count(n_predicted, 'chunk')} predicted of {prediction.plan.n_chunks}{left}")


def _refuse_other_scale(image: Path, pixel_size: float | None, wanted: float | None) -> None:
    """Refuse images that would have to be rescaled."""
    if wanted is None:
        return
    scale = open_stack(image, look=False).scale
    said = of_square(*(in_micrometres(side, scale.unit) for side in scale.voxel[1:]))
    size = said if pixel_size is None else pixel_size
    if scale_factor(size, wanted, str(image)) != 1:
        raise InputError(
            f"{image}: pixels of {size:g} um, and the model is for {wanted:g} um: chunk by chunk "
            "nothing is rescaled, give OUT.tif or the name of a folder"
        )


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show how many chunks are done: a bar on a terminal, else a line now and then."""
    from unetcore.volumes import progress_lines

    if not sys.stderr.isatty():
        yield progress_lines()
        return
    with tqdm(total=0, desc="predict", unit="chunk", leave=False) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance


def refuse_options(given: Mapping[str, Any], reason: str) -> None:
    """Refuse the first option that was given and does not go with the others.

    Raises
    ------
    InputError : one was given.
    """
    for option, value in given.items():
        if value:
            raise InputError(f"{option} {reason}")


def in_bytes(megabytes: int | None) -> int | None:
    """Bytes of so many MB, None of None."""
    return None if megabytes is None else megabytes * 1_000_000


def _part(text: str | None) -> tuple[int, int]:
    """Number of a job and of all jobs, from "K/N"."""
    if text is None:
        return 1, 1
    if not (found := re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)):
        raise InputError(f"--part {text!r}: need K/N, as in 2/8")
    return int(found[1]), int(found[2])
