"""The command line `unet`: the package on one's own images."""

import io
import json
import logging
import sys
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from unetcore import __version__
from unetcore import cli_options as options
from unetcore.cli_data import new, own_data, validate
from unetcore.cli_errors import IS_FIRST, OneLinePerProblem
from unetcore.cli_export import export
from unetcore.cli_volume import in_bytes, predict_volume, refuse_options
from unetcore.data.annotated import read_label_stack
from unetcore.data.io import check_pair, open_known, open_labels, open_probability, write_stack
from unetcore.data.label_map import IGNORED, LabelMap
from unetcore.data.stacks import open_stack
from unetcore.duration import duration
from unetcore.errors import InputError, Interrupted
from unetcore.memory import keep_freed_memory
from unetcore.recipes import FAST, RECIPES, weight_map_config
from unetcore.terminal import command, count, metrics_table, progress, say, show_annotated
from unetcore.weights import weight_maps

# Modules that need torch, which takes more than a second to import, are imported where needed.

INTERRUPTED = 130  # exit code
WORTH_A_TRIAL = 50  # steps, whose time is measured before they begin
ZARR = ".zarr"


class _Lines(logging.Handler):
    """Shows the package's messages on stderr, above a progress bar if there is one."""

    def emit(self, record):
        tqdm.write(self.format(record), file=sys.stderr)


app = typer.Typer(
    cls=OneLinePerProblem,
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
        "unet new my-cells/",
        "unet validate my-cells/dataset.yaml",
        "unet train my-cells/dataset.yaml -o run",
        "unet predict run new.tif -o probability.tif",
        "unet evaluate new-labels.tif probability.tif",
    )
)
def start(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but what is wrong.")
    ] = False,
) -> None:
    """U-Net (2015) on your own images: train, predict, evaluate."""
    package = logging.getLogger("unetcore")
    package.setLevel(logging.WARNING if quiet else logging.INFO)
    package.handlers = [_Lines()]


app.command(
    epilog=_examples(
        "unet new my-cells/",
        "unet new my-cells/ --label-map 0=ignore,1=background,2=cell",
        "unet new my-cells/ --labels-are instances --pixel-size 0.5",
    )
)(new)
app.command(
    epilog=_examples(
        "unet validate my-cells/dataset.yaml",
        "unet validate images.tif labels.tif",
        "unet validate frames/ cells/ --labels-are instances --ignore-label 255",
    )
)(validate)


@app.command(
    epilog=_examples(
        "unet train my-cells/dataset.yaml -o run",
        "unet train frames/ cells/ -o run --labels-are instances --steps 5000 --width 32",
        "unet train images.tif labels.tif -o run --recipe paper --device gpu",
    )
)
def train(
    images: options.Images,
    out: options.NewRunDir,
    labels: options.OwnLabels = None,
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
    label_map: options.LabelMapText = None,
    ignore_label: options.IgnoreLabel = None,
    pixel_size: options.PixelSize = None,
    allow_empty: options.AllowEmpty = None,
    trust_pairs: options.TrustPairs = None,
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
    data = own_data(
        images,
        labels,
        labels_are=labels_are,
        label_map=label_map,
        ignore_label=ignore_label,
        pixel_size=pixel_size,
        allow_empty=allow_empty,
        trust_pairs=trust_pairs,
    )
    annotated = data.read()
    show_annotated(annotated, data.is_guessed)
    chosen = RECIPES[recipe].changed(
        steps=steps,
        learning_rate=learning_rate,
        width=width,
        batch=batch,
        validate_every=FAST.training["validate_every"],
        largest_tile=largest_tile_for(annotated.smallest_shape, FAST.network["depth"]),
    )
    run = Run(out, annotated, chosen, seed, held_out, device, tensorboard)
    if run.is_finished:
        say(f"\n{run.folder.model} is of this training, complete: nothing to do.")
    else:
        _train(run)
    say("\nPredict other images by:")
    say(f"  {command('predict', out, 'IMAGE.tif', '-o', 'probability.tif')}")


@app.command(
    epilog=_examples(
        "unet predict run new.tif -o probability.tif",
        "unet predict run frames/ -o probability.tif --averaging d4 --segmentation cells.tif",
        "unet predict run slide.ome.zarr -o probability.zarr --memory 1000",
    )
)
def predict(
    model: options.Model,
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
        predict_volume(model, image, out, device, how, part=part, fill_missing=fill_missing)
        return
    by_chunks = {"--chunk": chunk, "--part": part, "--fill-missing": fill_missing}
    refuse_options(by_chunks, f"is for what is predicted by chunks, into OUT.zarr; {out} is not")
    from unetcore.data.intensity import normalise
    from unetcore.devices import choose_device
    from unetcore.exported import load_predictor
    from unetcore.instances import instances
    from unetcore.predict import predict_probability

    choose_device(device)  # if there is no GPU, say so before any work
    keep_freed_memory()
    predictor, description = load_predictor(model, precision, in_bytes(memory), device)
    slices = normalise(read_grey(image), description["training"]["normalisation"])
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
    label_map: options.LabelMapText = None,
    ignore_label: options.IgnoreLabel = None,
) -> None:
    """Compare a prediction with labels.

    Of a probability: warping, Rand and pixel error (2012), V_rand and V_info (later), each at its
    best threshold. Of a segmentation: SEG and IoU of the cell tracking challenge. What is ignored
    counts nowhere.
    """
    from unetcore.evaluate import OF_CELLS, OF_MEMBRANES, evaluate
    from unetcore.metrics import Slices

    if segmentation and (unscaled or threads > 1):
        raise InputError("--unscaled and --threads are for a probability, not for --segmentation")
    kind = "instances" if segmentation else "mask"
    reference, ignored = open_known(
        labels, _label_map(label_map, ignore_label), kind, fill_missing=fill_missing
    )
    read = open_labels if segmentation else open_stack if unscaled else open_probability
    found = read(probability)
    check_pair(found, reference, images_name=probability, labels_name=labels)
    reference, found = Slices(reference, labels), Slices(found, probability)
    if segmentation:
        values = evaluate(OF_CELLS, reference, None, segmentation=found, ignored=ignored)
    else:
        values = evaluate(OF_MEMBRANES, reference, found, ignored=ignored, threads=threads)
    typer.echo(json.dumps(values, indent=1) if as_json else metrics_table(values))


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
    label_map: options.LabelMapText = None,
    ignore_label: options.IgnoreLabel = None,
    labels_are: options.LabelsAre = None,
) -> None:
    """Write the loss weight of every pixel.

    Equation 2 of the paper: class balance plus a border term that is high in the narrow gaps
    between cells. In a mask every connected component is a cell. The result is a float32 TIFF of
    as many pages.
    """
    kind, stack = read_label_stack(labels, _label_map(label_map, ignore_label), labels_are)
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
        ignore_label=IGNORED,
    )
    _, maps = weight_maps(stack, kind, config)
    write_stack(out, maps)
    pages = count(len(maps), "weight map")
    typer.echo(f"{out}: {pages} of {kind}, weights {maps.min():.2f} to {maps.max():.2f}")


app.command(
    epilog=_examples(
        "unet export run -o network.zip --licence CC-BY-4.0 --author 'A. Person'",
        "unet export run -o network.onnx",
        "unet export run -o network.pt --head valid",
    )
)(export)


def _label_map(text: str | None, ignore_label: int | None) -> LabelMap:
    """Meaning of values as options give it."""
    meanings = LabelMap() if text is None else LabelMap.parse(text)
    return meanings.with_ignored(ignore_label)


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
    say(f"{run.folder.model}: loss {last.loss:.4f} after {duration(last.seconds)}")


def _announced(run):
    """Train, and show how far it is."""
    training, done = run.settings.training, run.folder.steps_done()
    left = training.steps - done
    what = f"the {left:,} left of " if done else ""
    time = f", about {duration(left * run.seconds_per_update())}" if left >= WORTH_A_TRIAL else ""
    say(
        f"\nRecipe {run.recipe.name}, width {run.settings.network.width}: "
        f"{what}{training.steps:,} steps{time}."
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
