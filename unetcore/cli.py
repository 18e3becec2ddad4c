"""The command line `unet`: the package on one's own images."""

import io
import json
import logging
import sys
from dataclasses import replace
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from unetcore import __version__
from unetcore import cli_options as options
from unetcore.cli_errors import IS_FIRST, OneLinePerProblem
from unetcore.cli_view import view as view_files
from unetcore.cli_volume import in_bytes, predict_volume, refuse_options
from unetcore.data.annotated import (
    AnnotatedImages,
    check_labels,
    kind_of,
    read_annotated,
    read_grey,
    read_stack,
)
from unetcore.data.io import (
    check_pair,
    open_labels,
    open_probability,
    read_labels,
    write_stack,
)
from unetcore.data.stacks import open_stack
from unetcore.duration import duration
from unetcore.errors import InputError, Interrupted
from unetcore.memory import keep_freed_memory
from unetcore.recipes import FAST, RECIPES, weight_map_config
from unetcore.terminal import command, count, metrics_table, progress, show_annotated
from unetcore.view import MAX_SIDE
from unetcore.weights import ignored_pixels, weight_maps

# Modules that need torch, which takes more than a second to import, are imported where needed.

INTERRUPTED = 130  # exit code
ZARR = ".zarr"


class _Lines(logging.Handler):
    """Shows the package's messages on stderr, above a progress bar if there is one."""

    def emit(self, record):
        tqdm.write(self.format(record), file=sys.stderr)


app = typer.Typer(
    cls=OneLinePerProblem,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _examples(*commands: str) -> str:
    """Write examples below the help of a command; the character keeps their lines apart."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"unet {__version__}")
        raise typer.Exit


@app.callback(
    epilog=_examples(
        "unet validate images.tif labels.tif",
        "unet train images.tif labels.tif -o run",
        "unet predict run new.tif -o probability.tif",
        "unet evaluate new-labels.tif probability.tif",
    )
)
def start(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """U-Net (2015) on your own images: train, predict, evaluate."""
    package = logging.getLogger("unetcore")
    package.setLevel(logging.INFO)
    package.handlers = [_Lines()]


@app.command(
    epilog=_examples(
        "unet validate images.tif labels.tif",
        "unet validate frames/ cells/ --labels-are instances",
        "unet validate frames/ cells/ --ignore-label 255",
    )
)
def validate(
    images: options.Images,
    labels: options.Labels,
    labels_are: options.LabelsAre = None,
    ignore_label: options.IgnoreLabel = None,
) -> None:
    """Check images and labels before training."""
    _read_and_show(images, labels, labels_are, ignore_label)
    said = {"--labels-are": labels_are, "--ignore-label": ignore_label}
    words = [word for option in said.items() if option[1] is not None for word in option]
    typer.echo("\nReady. Train a network on them by:")
    typer.echo(f"  {command('train', images, labels, '-o', 'run', *words)}")


@app.command(
    epilog=_examples(
        "unet train images.tif labels.tif -o run",
        "unet train frames/ cells/ -o run --labels-are instances --steps 5000 --width 32",
        "unet train images.tif labels.tif -o run --recipe paper --device gpu",
    )
)
def train(
    images: options.Images,
    labels: options.Labels,
    out: options.NewRunDir,
    recipe: options.RecipeChoice = FAST.name,
    steps: options.Steps = None,
    learning_rate: options.LearningRate = None,
    width: options.Width = None,
    seed: options.Seed = 0,
    batch: options.Batch = None,
    held_out: options.HeldOut = 0,
    tensorboard: options.TensorBoard = False,
    device: options.Device = "auto",
    labels_are: options.LabelsAre = None,
    ignore_label: options.IgnoreLabel = None,
) -> None:
    """Train a network on images with labels.

    By default the recipe is not the paper's: AdamW and a narrow network are good within minutes,
    where the paper's wants a GPU and hours. RUN_DIR gets `model.safetensors`, `history.csv` and
    `run.json`. The same command again continues a training that was interrupted.
    """
    from unetcore.devices import choose_device
    from unetcore.geometry import largest_tile_for
    from unetcore.runs import Run

    choose_device(device)  # if there is no GPU, say so before any work
    annotated = _read_and_show(images, labels, labels_are, ignore_label)
    chosen = RECIPES[recipe].changed(
        steps=steps,
        learning_rate=learning_rate,
        width=width,
        batch=batch,
        validate_every=FAST.training["validate_every"],
        ignore_label=ignore_label,
        largest_tile=largest_tile_for(annotated.images.shape[-2:], FAST.network["depth"]),
    )
    run = Run(out, annotated, chosen, seed, held_out, device, tensorboard)
    if run.is_finished:
        typer.echo(f"\n{run.folder.model} is of this training, complete: nothing to do.")
    else:
        _train(run)
    typer.echo("\nPredict other images by:")
    typer.echo(f"  {command('predict', out, 'IMAGE.tif', '-o', 'probability.tif')}")


@app.command(
    epilog=_examples(
        "unet predict run new.tif -o probability.tif",
        "unet predict run frames/ -o probability.tif --averaging d4 --segmentation cells.tif",
        "unet predict run slide.ome.zarr -o probability.zarr --memory 1000",
    )
)
def predict(
    run_dir: options.RunDir,
    image: options.Image,
    out: options.Prediction,
    averaging: options.Averaging = "none",
    tile: options.Tile = None,
    memory: options.Memory = None,
    precision: options.Precision = "auto",
    device: options.Device = "auto",
    segmentation: options.SegmentationOut = None,
    smallest_object: options.SmallestObject = FAST.postprocessing["smallest_object"],
    chunk: options.Chunk = None,
    part: options.Part = None,
    fill_missing: options.FillMissing = False,
) -> None:
    """Predict images by a trained network.

    Writes the probability, 0 to 1, that each pixel is cell interior, as float32 TIFF pages.

    Any image size will do: tiles are seamless and context is mirrored at the border.

    Images that do not fit the memory are read and written by chunks where OUT is a folder
    `OUT.zarr`. The same command goes on after an interruption, without finished chunks.
    """
    if out.suffix == ZARR:
        whole = {"--averaging": averaging != "none", "--tile": tile, "--segmentation": segmentation}
        refuse_options(whole, f"is for TIFF files, which are predicted as a whole; {out} is not")
        how = {"side": chunk, "memory": in_bytes(memory), "precision": precision}
        predict_volume(run_dir, image, out, device, how, part=part, fill_missing=fill_missing)
        return
    by_chunks = {"--chunk": chunk, "--part": part, "--fill-missing": fill_missing}
    refuse_options(by_chunks, f"is for what is predicted by chunks, into OUT.zarr; {out} is not")
    from unetcore.data.intensity import normalise
    from unetcore.devices import choose_device
    from unetcore.instances import instances
    from unetcore.predict import Predictor, predict_probability
    from unetcore.runs import RunFolder

    choose_device(device)  # if there is no GPU, say so before any work
    keep_freed_memory()
    network, description = RunFolder(run_dir).load()
    slices = normalise(read_grey(image), description["training"]["normalisation"])
    predictor = Predictor(network, precision, in_bytes(memory), device)
    maps = [
        predict_probability(page, predictor, averaging=averaging, tile=tile)
        for page in tqdm(slices, "predict", unit="image", disable=None, leave=False)
    ]
    write_stack(out, np.stack(maps))
    share = 100 * np.mean([page > FAST.postprocessing["threshold"] for page in maps])
    typer.echo(f"{out}: {count(len(maps), 'image')}, {share:.1f} % cell interior")
    if segmentation:
        settings = FAST.postprocessing | {"smallest_object": smallest_object}
        cells = np.stack([instances(page, **settings) for page in maps])
        write_stack(segmentation, cells)
        typer.echo(f"{segmentation}: {count(int(cells.max(axis=(1, 2)).sum()), 'cell')}")


@app.command(
    epilog=_examples(
        "unet evaluate labels.tif probability.tif",
        "unet evaluate labels.tif probability.tif --threads 4 --json > metrics.json",
        "unet evaluate cells.tif segmentation.tif --segmentation",
    )
)
def evaluate(
    labels: options.Labels,
    probability: options.Probability,
    segmentation: options.IsSegmentation = False,
    as_json: options.AsJson = False,
    unscaled: options.Unscaled = False,
    threads: options.Threads = 1,
    fill_missing: options.FillMissingLabels = False,
) -> None:
    """Compare a prediction with labels.

    Of a probability: warping, Rand and pixel error (2012), V_rand and V_info (later), each at its
    best threshold. Of a segmentation: SEG and IoU of the cell tracking challenge.
    """
    from unetcore.evaluate import OF_CELLS, OF_MEMBRANES, evaluate
    from unetcore.metrics import Slices

    if segmentation and (unscaled or threads > 1):
        raise InputError("--unscaled and --threads are for a probability, not for --segmentation")
    reference = open_labels(labels, fill_missing=fill_missing)
    read = open_labels if segmentation else open_stack if unscaled else open_probability
    found = read(probability)
    check_pair(found, reference, images_name=probability, labels_name=labels)
    reference, found = Slices(reference, labels), Slices(found, probability)
    if segmentation:
        values = evaluate(OF_CELLS, reference, None, segmentation=found)
    else:
        values = evaluate(OF_MEMBRANES, reference, found, threads=threads)
    typer.echo(json.dumps(values, indent=1) if as_json else metrics_table(values))


@app.command(
    epilog=_examples(
        "unet view images.tif probability.tif -o view.html",
        "unet view images.tif probability.tif --labels labels.tif -o view.html",
        "unet view stack.tif map.tif --segmentation cells.tif --slices 5-12 -o view.html",
    )
)
def view(
    image: options.ViewedImage,
    probability: options.ViewedProbability,
    out: options.Page,
    labels: options.ViewedLabels = None,
    segmentation: options.ViewedCells = None,
    threshold: options.FirstThreshold = FAST.postprocessing["threshold"],
    smallest_object: options.SmallestShown = FAST.postprocessing["smallest_object"],
    slices: options.SomeSlices = None,
    max_side: options.MaxSide = MAX_SIDE,
    title: options.Title = None,
    threads: options.Threads = 1,
) -> None:
    """Write a page to look at a prediction in a browser: one HTML file, for any place.

    Slices, thresholds and objects live; with labels also the metrics by threshold, and where cells
    are split or merged.
    """
    view_files(
        image,
        probability,
        out,
        labels=labels,
        segmentation=segmentation,
        slices=slices,
        threads=threads,
        title=title or probability.name,
        threshold=threshold,
        smallest_object=smallest_object,
        max_side=max_side,
    )


@app.command(
    epilog=_examples(
        "unet weights cells.tif -o weights.tif",
        "unet weights cells.tif -o weights.tif --w0 10 --sigma 5",
        "unet weights cells.tif -o weights.tif --form falk2019 --ignore-label 65535",
    )
)
def weights(
    labels: options.Labels,
    out: options.Out,
    form: options.Form = FAST.weight_map["form"],
    w0: options.W0 = None,
    sigma: options.Sigma = None,
    balance: options.Balance = None,
    gap: options.Gap = None,
    background: options.Background = None,
    background_sigma: options.BackgroundSigma = None,
    separation: options.Separation = None,
    separation_sigma: options.SeparationSigma = None,
    ignore_label: options.IgnoreLabel = None,
    labels_are: options.LabelsAre = None,
) -> None:
    """Write the loss weight of every pixel.

    Equation 2 of the paper: class balance plus a border term that is high in the narrow gaps
    between cells. In a mask every connected component is a cell. The result is a float32 TIFF of
    as many pages.
    """
    config = weight_map_config(
        FAST,
        form,
        w0=w0,
        sigma=sigma,
        balance=balance,
        gap=gap,
        background=background,
        background_sigma=background_sigma,
        separation=separation,
        separation_sigma=separation_sigma,
        ignore_label=ignore_label,
    )
    stack = read_stack(labels, read_labels)
    known = stack[~ignored_pixels(stack, ignore_label)]
    kind = labels_are or kind_of(known)
    check_labels(known, kind, name=labels)
    _, maps = weight_maps(stack, kind, config)
    write_stack(out, maps)
    pages = count(len(maps), "weight map")
    typer.echo(f"{out}: {pages} of {kind}, weights {maps.min():.2f} to {maps.max():.2f}")


@app.command(
    epilog=_examples(
        "unet export run -o network.zip",
    )
)
def export(run_dir: options.RunDir, out: options.Out) -> None:
    """Pack a trained network for other programs.

    The zip holds the weights, a TorchScript file and a model card.
    """
    from unetcore.export import export_model
    from unetcore.runs import RunFolder

    folder = RunFolder(run_dir)
    folder.load()
    export_model(folder.model, out)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB; its README.md says how to use it")


def _read_and_show(images, labels, labels_are, ignore_label) -> AnnotatedImages:
    annotated = read_annotated(images, labels, labels_are, ignore_label)
    known = replace(annotated, labels=np.where(annotated.ignored, 0, annotated.labels))
    show_annotated(images, labels, known, guessed=labels_are)
    if ignore_label is not None:
        typer.echo(f"        {100 * annotated.ignored.mean():.1f} % ignored, label {ignore_label}")
    return annotated


def _train(run) -> None:
    """Train with an announcement, progress and a farewell."""
    keep_freed_memory()
    try:
        history = _announced(run)
    except Interrupted as stop:
        typer.echo(f"{stop}. The same command continues.", err=True)
        raise typer.Exit(stop.exit_code) from None
    except KeyboardInterrupt:
        every = run.settings.training.checkpoint_every
        typer.echo(
            f"Interrupted. The same command continues; the state is saved every {every} steps.",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    last = history[-1]
    typer.echo(f"{run.folder.model}: loss {last.loss:.4f} after {duration(last.seconds)}")


def _announced(run):
    """Train, and show how far it is."""
    training, done = run.settings.training, run.folder.steps_done()
    what = f"the {training.steps - done:,} left of " if done else ""
    typer.echo(
        f"\nRecipe {run.recipe.name}, width {run.settings.network.width}: "
        f"{what}{training.steps:,} steps."
    )
    with progress(training.steps, done, training.batch) as report:
        return run.train(report)


def main() -> None:
    """Run the command line of this process."""
    if not IS_FIRST:
        sys.stdout = io.StringIO()
    app(prog_name="unet")


if __name__ == "__main__":
    main()
