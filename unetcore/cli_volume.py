"""`unet predict` into an OME-Zarr image: chunk by chunk, in one call or in several at a time."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from tqdm import tqdm

from unetcore import __version__
from unetcore.cli_predict import cut_options, label_map_option
from unetcore.errors import InputError, Interrupted
from unetcore.memory import keep_freed_memory
from unetcore.terminal import command, count, say


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
    as_json: bool = False,
) -> None:
    """Predict chunks that are not there yet, and finish the image when all are.

    Parameters
    ----------
    model : what `unetcore.loading.load_predictor` takes.
    image, out : images, OME-Zarr to be made or continued.
    how : arguments of `unetcore.volumes.start`; None takes their defaults.
    part : share of the chunks, as in "2/8"; None: all.
    pixel_size : of the images in um, None if they say so themselves.
    as_json : whether what was made is printed as JSON, and not in words.

    Raises
    ------
    InputError : a name or a setting that does not fit, or the model is for another pixel size, as
        nothing is rescaled here.
    """
    from unetcore.loading import load_predictor, model_file
    from unetcore.volumes import Request, predict_part, start

    number, n_parts = _part(part)
    keep_freed_memory()
    loaded = load_predictor(model, precision=how["precision"], device=device, by_tiles=True)

    def load(*_, **__):
        return loaded.predictor, loaded.description

    request = Request(image, model_file(model), out, device, fill_missing, pixel_size, load)
    given = {key: value for key, value in how.items() if value is not None}
    prediction = start(request, **given, code=__version__)
    with _interruption_is_one_line(), _progress() as report:
        n_predicted = predict_part(prediction, number, n_parts, report)
    target = prediction.target
    n_missing = len(target.missing())
    if not n_missing:
        target.finish()
    facts = _facts(prediction, n_predicted, n_missing)
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    left = f", {n_missing} are missing" if n_missing else ", complete"
    say(f"{out}: {count(n_predicted, 'chunk')} predicted of {facts['chunks']}{left}")
    if n_missing:
        say("\nThe others are for other jobs, or for the same command without --part.")
        return
    for line in _next(image, out, loaded):
        say(line)


@contextmanager
def _interruption_is_one_line() -> Iterator[None]:
    """Say how it goes on after a signal, and end with the exit code of that."""
    try:
        yield
    except Interrupted as stop:
        typer.echo(f"{stop}. The same command continues.", err=True)
        raise typer.Exit(stop.exit_code) from None


def _facts(prediction: Any, n_predicted: int, n_missing: int) -> dict:
    """What was made, as plain JSON values."""
    target = prediction.target
    return {
        "out": str(target.path),
        "axes": prediction.stack.axes,
        "shape": list(target.sides),
        "resolutions": target.n_levels,
        "chunk": target.side,
        "chunks": prediction.plan.n_chunks,
        "predicted": n_predicted,
        "missing": n_missing,
    }


def _next(image: Path, out: Path, model: Any) -> list[str]:
    """Say which commands make sense now."""
    page, cut = out.with_suffix(".html"), cut_options(model.postprocessing)
    return [
        "\nLook at it, and compare it with labels, by:",
        f"  {command('view', image, out, '-o', page, *cut)}",
        f"  {command('evaluate', 'LABELS.tif', out, *label_map_option(model))}",
    ]


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
