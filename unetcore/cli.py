"""The command line `unet`: the package on one's own images."""

import io
import json
import logging
import sys
from typing import Annotated

import typer
from tqdm import tqdm

from unetcore import __version__
from unetcore import cli_options as options
from unetcore.cli_data import new, own_data, refuse_too_small, validate
from unetcore.cli_errors import IS_FIRST, OneLinePerProblem
from unetcore.cli_evaluate import evaluate
from unetcore.cli_export import export
from unetcore.cli_predict import predict_pictures
from unetcore.cli_view import view as view_files
from unetcore.cli_volume import in_bytes, predict_volume, refuse_options
from unetcore.data.annotated import read_label_stack
from unetcore.data.files import refuse_overwriting
from unetcore.data.io import write_stack
from unetcore.data.label_map import LabelMap
from unetcore.data.pictures import picture_files
from unetcore.duration import duration
from unetcore.errors import Interrupted
from unetcore.labels import IGNORED
from unetcore.memory import keep_freed_memory
from unetcore.recipes import FAST, RECIPES, weight_map_config
from unetcore.terminal import (
    be_quiet,
    command,
    count,
    is_quiet,
    progress,
    say,
    show_annotated,
)
from unetcore.view import MAX_SIDE
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
        "unet predict run new-images/ -o results",
        "unet evaluate new-labels/ results/",
    )
)
def start(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but what is wrong; of any command.")
    ] = False,
) -> None:
    """U-Net (2015) on your own images: train, predict, evaluate."""
    be_quiet(quiet)
    package = logging.getLogger("unetcore")
    package.setLevel(logging.WARNING if quiet else logging.INFO)
    package.handlers = [_Lines()]


app.command(
    epilog=_examples(
        "unet new my-cells/",
        "unet new try-it/ --example",
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
    pixel_size: options.WantedPixelSize = None,
    allow_empty: options.AllowEmpty = None,
    trust_pairs: options.TrustPairs = None,
    as_json: options.FactsAsJson = False,
) -> None:
    """Train a network on images with labels.

    By default the recipe is not the paper's: AdamW and a narrow network are good within minutes,
    where the paper's wants a GPU and hours. RUN_DIR gets `model.safetensors`, `history.csv` and
    `run.json`. The same command again continues a training that was interrupted.
    """
    from unetcore.devices import choose_device
    from unetcore.geometry import largest_tile_for
    from unetcore.runs import Run

    be_quiet(is_quiet() or as_json)
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
    refuse_too_small(annotated)
    show_annotated(annotated, data.is_guessed)
    chosen = RECIPES[recipe].changed(
        steps=steps,
        learning_rate=learning_rate,
        width=width,
        batch=batch,
        validate_every=FAST.training["validate_every"],
        largest_tile=largest_tile_for(annotated.largest_shape, FAST.network["depth"]),
    )
    run = Run(out, annotated, chosen, seed, held_out, device, tensorboard)
    if run.is_finished:
        say(f"\n{run.folder.model} is of this training, complete: nothing to do.")
    else:
        _train(run)
    say("\nPredict other images by:")
    say(f"  {command('predict', out, 'IMAGES', '-o', 'results')}")
    if as_json:
        typer.echo(run.folder.description.read_text())


@app.command(
    epilog=_examples(
        "unet predict run new.tif -o probability.tif",
        "unet predict run pictures/ -o results --threshold 0.6 --border 1",
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
    pixel_size: options.PixelSize = None,
    threshold: options.Threshold = None,
    smallest_object: options.SmallestObject = None,
    fill_holes: options.FillHoles = None,
    border: options.Border = None,
    segmentation: options.SegmentationOut = None,
    chunk: options.Chunk = None,
    part: options.Part = None,
    fill_missing: options.FillMissing = False,
    as_json: options.FactsAsJson = False,
) -> None:
    """Predict images by a trained network.

    Writes into OUT.tif the probability, 0 to 1, that each pixel is cell interior, with the axes and
    the pixel size of IMAGE, as Fiji reads them.

    If OUT is the name of a folder, it gets of every image the probability, a mask, instances (one
    number per cell), measurements of every cell and an overlay to look at, and a summary.

    Any image size will do: tiles are seamless and context is mirrored at the border.

    Images that do not fit the memory are read and written by chunks where OUT is a folder
    `OUT.zarr`. The same command goes on after an interruption, without finished chunks.
    """
    cells = {
        "threshold": threshold,
        "smallest_object": smallest_object,
        "fill_holes": fill_holes,
        "border": border,
    }
    if out.suffix == ZARR:
        whole = {
            "--averaging": averaging != "none",
            "--tile": tile,
            "--segmentation": segmentation,
        }
        whole |= {f"--{name.replace('_', '-')}": value is not None for name, value in cells.items()}
        refuse_options(whole, f"is for TIFF files, which are predicted as a whole; {out} is not")
        how = {"side": chunk, "memory": in_bytes(memory), "precision": precision}
        predict_volume(
            model,
            image,
            out,
            device,
            how,
            part=part,
            fill_missing=fill_missing,
            pixel_size=pixel_size,
            as_json=as_json,
        )
        return
    by_chunks = {"--chunk": chunk, "--part": part, "--fill-missing": fill_missing}
    refuse_options(by_chunks, f"is for what is predicted by chunks, into OUT.zarr; {out} is not")
    from unetcore.devices import choose_device

    choose_device(device)  # if there is no GPU, say so before any work
    predict_pictures(
        model,
        image,
        out,
        loading={"precision": precision, "memory": in_bytes(memory), "device": device},
        how={"averaging": averaging, "tile": tile},
        postprocessing=cells,
        pixel_size=pixel_size,
        segmentation=segmentation,
        as_json=as_json,
    )


app.command(
    epilog=_examples(
        "unet evaluate new-labels/ results/",
        "unet evaluate my-cells/dataset.yaml results/ --json > metrics.json",
        "unet evaluate labels.tif probability.tif --threads 4",
        "unet evaluate cells.tif segmentation.tif --segmentation",
    )
)(evaluate)


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
    label_map: options.LabelMapText = None,
    ignore_label: options.IgnoreLabel = None,
    segmentation: options.ViewedCells = None,
    threshold: options.FirstThreshold = FAST.postprocessing["threshold"],
    smallest_object: options.SmallestShown = FAST.postprocessing["smallest_object"],
    fill_holes: options.FillHolesShown = FAST.postprocessing["fill_holes"],
    border: options.BorderShown = FAST.postprocessing["border"],
    slices: options.SomeSlices = None,
    max_side: options.MaxSide = MAX_SIDE,
    title: options.Heading = None,
    threads: options.Threads = 1,
    as_json: options.FactsAsJson = False,
) -> None:
    """Write a page to look at a prediction in a browser.

    It is one HTML file that opens anywhere. Slices, thresholds and objects live; with labels also
    the metrics by threshold, and where cells are split or merged.
    """
    view_files(
        image,
        probability,
        out,
        labels=labels,
        label_map=LabelMap.given(label_map, ignore_label),
        segmentation=segmentation,
        slices=slices,
        threads=threads,
        as_json=as_json,
        title=title or probability.name,
        threshold=threshold,
        smallest_object=smallest_object,
        fill_holes=fill_holes,
        border=border,
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
    label_map: options.LabelMapText = None,
    ignore_label: options.IgnoreLabel = None,
    labels_are: options.LabelsAre = None,
    as_json: options.FactsAsJson = False,
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
        ignore_label=IGNORED,
    )
    refuse_overwriting(out, picture_files(labels))
    kind, stack = read_label_stack(labels, LabelMap.given(label_map, ignore_label), labels_are)
    _, maps = weight_maps(stack, kind, config)
    write_stack(out, maps)
    if as_json:
        found = {"out": str(out), "maps": len(maps), "labels_are": kind}
        found |= {"lowest": float(maps.min()), "highest": float(maps.max())}
        typer.echo(json.dumps(found, indent=1))
        return
    pages = count(len(maps), "weight map")
    say(f"{out}: {pages} of {kind}, weights {maps.min():.2f} to {maps.max():.2f}")


app.command(
    epilog=_examples(
        "unet export run -o network.zip --licence CC-BY-4.0 --author 'A. Person'",
        "unet export run -o network.onnx",
        "unet export run -o network.pt --head valid",
    )
)(export)


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
    described = json.loads(run.folder.description.read_text())
    cut = described["postprocessing"]
    say(
        f"Cells are cut out at threshold {cut['threshold']}, those of more than "
        f"{cut['smallest_object']} px; chosen on {described['threshold_chosen_on']}."
    )


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
