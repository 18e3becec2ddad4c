"""The command line `unet`: the package on one's own images."""

import errno
import io
import json
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from tqdm import tqdm
from typer.core import TyperGroup

from unetcore import __version__
from unetcore.data.annotated import (
    AnnotatedImages,
    check_labels,
    kind_of,
    read_annotated,
    read_grey,
    read_stack,
)
from unetcore.data.files import FULL_DISK
from unetcore.data.io import (
    check_pair,
    read_images,
    read_labels,
    read_probability,
    write_stack,
)
from unetcore.errors import InputError, Interrupted
from unetcore.memory import keep_freed_memory
from unetcore.recipes import FAST, weight_map_config, weight_maps
from unetcore.script import BAD_INPUT
from unetcore.terminal import command, count, duration, metrics_table, progress, show_annotated
from unetcore.weights import LATER_GAP, ignored_pixels

# Modules that need torch, which takes more than a second to import, are imported where needed.

logger = logging.getLogger("unetcore.cli")  # also where the module itself is the program

INTERRUPTED = 130  # exit code
IS_FIRST = os.environ.get("RANK", "0") == "0"  # of torchrun's processes one is enough to read
USERS_OS_ERRORS = (  # of outputs that cannot be written
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EROFS,
    *FULL_DISK,
)

LabelKind = Literal["mask", "instances"]
WeightMapForm = Literal["ronneberger2015", "falk2019"]
ClassBalance = Literal["inverse-frequency", "rarest-one", "none"]
Device = Literal["auto", "cpu", "gpu"]
Averaging = Literal["none", "rot7", "d4", "mirror4"]
Precision = Literal["auto", "float32", "bfloat16"]


class _OneLinePerProblem(TyperGroup):
    """Ends with exit code 2 and one line for what a user can act on; bugs keep their traceback."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except (
            typer.BadParameter,
            InputError,
            FloatingPointError,  # a loss of NaN is the settings' or the data's
            OSError,
            ExceptionGroup,
        ) as error:
            lines = _problems(error)
            if not lines:
                raise
            for line in lines if IS_FIRST else ():
                typer.echo(f"error: {line}", err=True)
            if "RANK" in os.environ:
                from unetcore.distributed import tell_torchrun

                tell_torchrun(error)
        raise typer.Exit(BAD_INPUT)


def _problems(error: Exception) -> list[str]:
    """What a user can act on, one line each; none if the error is a bug."""
    if isinstance(error, typer.BadParameter):
        return [error.format_message()]
    if isinstance(error, OSError):
        known = error.errno in USERS_OS_ERRORS
        file = error.filename2 or error.filename or "output"  # the second of two is the target
        return [f"{file}: {error.strerror.lower()}"] if known else []
    if isinstance(error, FloatingPointError):
        return [str(error)]
    errors = error.exceptions if isinstance(error, ExceptionGroup) else [error]
    return [str(e) for e in errors] if all(isinstance(e, InputError) for e in errors) else []


class _Lines(logging.Handler):
    """Shows the package's messages on stderr, above a progress bar if there is one."""

    def emit(self, record):
        tqdm.write(self.format(record), file=sys.stderr)


app = typer.Typer(
    cls=_OneLinePerProblem,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ImagesArgument = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Grey images: a TIFF stack, or a folder of TIFFs.")
]
LabelsArgument = Annotated[
    Path, typer.Argument(metavar="LABELS", help="Labels of the images, in the same order.")
]
LabelsAreOption = Annotated[
    LabelKind | None,
    typer.Option(
        help="A mask (0 = membrane or background, one other value = cell), or instances (0 = "
        "background, one number per cell). Default: a mask if there are at most two values.",
        show_default=False,
    ),
]
IgnoreLabelOption = Annotated[
    int | None,
    typer.Option(
        metavar="LABEL",
        help="Pixels of this label are neither cell nor background: weight 0.",
        show_default=False,
    ),
]
DeviceOption = Annotated[
    Device, typer.Option(help="Where to compute; auto takes a GPU if there is one.")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="File to write.")]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN_DIR", help="Folder that `unet train` made.")
]


def _weight_option(name: str, what: str):
    """Option of a number of the weight map; None takes the recipe's."""
    return typer.Option(help=what, show_default=str(FAST.weight_map[name]))


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
    images: ImagesArgument,
    labels: LabelsArgument,
    labels_are: LabelsAreOption = None,
    ignore_label: IgnoreLabelOption = None,
) -> None:
    """Check images and labels before training."""
    _read_and_show(images, labels, labels_are, ignore_label)
    said = {"--labels-are": labels_are, "--ignore-label": ignore_label}
    options = [word for option in said.items() if option[1] is not None for word in option]
    typer.echo("\nReady. Train a network on them by:")
    typer.echo(f"  {command('train', images, labels, '-o', 'run', *options)}")


@app.command(
    epilog=_examples(
        "unet train images.tif labels.tif -o run",
        "unet train frames/ cells/ -o run --labels-are instances --steps 5000 --width 32",
    )
)
def train(
    images: ImagesArgument,
    labels: LabelsArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN_DIR", help="Folder of this training.")
    ],
    steps: Annotated[
        int, typer.Option(min=1, help="Weight updates; twice as many take twice as long.")
    ] = FAST.training["steps"],
    width: Annotated[
        int,
        typer.Option(
            min=1, help="Channels of the first level (paper: 64); twice is 4 times the work."
        ),
    ] = FAST.network["width"],
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another network.")] = 0,
    batch: Annotated[
        int, typer.Option(min=1, help="Tiles of an update, shared out among torchrun's processes.")
    ] = FAST.training["batch"],
    held_out: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Watch the last N images instead of training on them."
        ),
    ] = 0,
    device: DeviceOption = "auto",
    labels_are: LabelsAreOption = None,
    ignore_label: IgnoreLabelOption = None,
) -> None:
    """Train a network on images with labels.

    The recipe is not the paper's: AdamW and a narrow network are good within minutes, where the
    paper's takes hours. RUN_DIR gets `model.safetensors`, `history.csv` and `run.json`. The same
    command again continues a training that was interrupted.
    """
    from unetcore.devices import choose_device
    from unetcore.geometry import largest_tile_for
    from unetcore.runs import Run

    choose_device(device)  # if there is no GPU, say so before any work
    annotated = _read_and_show(images, labels, labels_are, ignore_label)
    recipe = FAST.changed(
        steps=steps,
        width=width,
        batch=batch,
        ignore_label=ignore_label,
        largest_tile=largest_tile_for(annotated.images.shape[-2:], FAST.network["depth"]),
    )
    run = Run(out, annotated, recipe, seed, held_out, device)
    if run.is_finished:
        typer.echo(f"\n{run.folder.model} is this very training, complete: nothing to do.")
    else:
        _train(run, steps)
    typer.echo("\nPredict other images by:")
    typer.echo(f"  {command('predict', out, 'IMAGE.tif', '-o', 'probability.tif')}")


@app.command(
    epilog=_examples(
        "unet predict run new.tif -o probability.tif",
        "unet predict run frames/ -o probability.tif --averaging d4 --segmentation cells.tif",
    )
)
def predict(
    run_dir: RunArgument,
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="A TIFF image or stack, or a folder of TIFFs.")
    ],
    out: OutOption,
    averaging: Annotated[
        Averaging, typer.Option(help="Average 7 rotations, the 8 symmetries, or 4 mirror images.")
    ] = "none",
    tile: Annotated[
        int | None,
        typer.Option(help="Output tile in px, one of 4 + 16 k.", show_default="planned"),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="MB",
            help="Memory that a planned tile may take, beside images and weights.",
            show_default="half of what is free on a GPU, else 2 GiB",
        ),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="bfloat16 is faster where the hardware computes in it.")
    ] = "auto",
    device: DeviceOption = "auto",
    segmentation: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Also write separate cells, one number each."),
    ] = None,
    smallest_object: Annotated[
        int, typer.Option(min=0, help="Cells of this many px and less are left out of it.")
    ] = FAST.postprocessing["smallest_object"],
) -> None:
    """Predict images by a trained network.

    Writes the probability, 0 to 1, that each pixel is cell interior, as float32 TIFF pages.

    Any image size will do: tiles are seamless and context is mirrored at the border.
    """
    from unetcore.data.intensity import normalise
    from unetcore.devices import choose_device
    from unetcore.instances import instances
    from unetcore.predict import Predictor, predict_probability
    from unetcore.runs import RunFolder

    choose_device(device)  # if there is no GPU, say so before any work
    keep_freed_memory()
    network, description = RunFolder(run_dir).load()
    slices = normalise(read_grey(image), description["training"]["normalisation"])
    predictor = Predictor(network, precision, memory and memory * 1_000_000, device)
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
    labels: LabelsArgument,
    probability: Annotated[
        Path,
        typer.Argument(metavar="PROBABILITY", help="What `unet predict` wrote, of these images."),
    ],
    segmentation: Annotated[
        bool,
        typer.Option(
            "--segmentation",
            help="The second file is a segmentation, one number per cell: compute SEG and IoU.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print values, sweeps and the places of splits and mergers as JSON.",
        ),
    ] = False,
    unscaled: Annotated[
        bool,
        typer.Option(
            "--unscaled",
            help="Take an 8-bit PROBABILITY as it is, as the official program does: all above 0 is "
            "foreground at every threshold below 1. Default: divide it by 255.",
        ),
    ] = False,
    threads: Annotated[
        int, typer.Option(min=1, help="Slices judged at a time; the result is the same for any.")
    ] = 1,
) -> None:
    """Compare a prediction with labels.

    Of a probability: warping, Rand and pixel error (2012), V_rand and V_info (later), each at its
    best threshold. Of a segmentation: SEG and IoU of the cell tracking challenge.
    """
    from unetcore.evaluate import OF_CELLS, OF_MEMBRANES, evaluate
    from unetcore.metrics import Slices

    if segmentation and (unscaled or threads > 1):
        raise InputError("--unscaled and --threads are for a probability, not for --segmentation")
    reference = read_stack(labels, read_labels)
    read = read_labels if segmentation else read_images if unscaled else read_probability
    found = read_stack(probability, read)
    check_pair(found, reference, images_name=probability, labels_name=labels)
    reference, found = Slices(reference, labels), Slices(found, probability)
    if segmentation:
        values = evaluate(OF_CELLS, reference, None, segmentation=found)
    else:
        values = evaluate(OF_MEMBRANES, reference, found, threads=threads)
    typer.echo(json.dumps(values, indent=1) if as_json else metrics_table(values))


@app.command(
    epilog=_examples(
        "unet weights cells.tif -o weights.tif",
        "unet weights cells.tif -o weights.tif --w0 10 --sigma 5",
        "unet weights cells.tif -o weights.tif --form falk2019 --ignore-label 65535",
    )
)
def weights(
    labels: LabelsArgument,
    out: OutOption,
    form: Annotated[
        WeightMapForm,
        typer.Option(help="Equation 2 of the paper, or the weights of the authors' later code."),
    ] = FAST.weight_map["form"],
    w0: Annotated[
        float | None, _weight_option("w0", "Equation 2: height of the border term.")
    ] = None,
    sigma: Annotated[
        float | None, _weight_option("sigma", "Equation 2: width of the border term in px.")
    ] = None,
    balance: Annotated[
        ClassBalance | None,
        _weight_option(
            "balance", "Equation 2: class weights of mean 1, the rarer class at 1, or all at 1."
        ),
    ] = None,
    gap: Annotated[
        int | None,
        typer.Option(
            help="Background put between touching instances, in px.",
            show_default=f"{FAST.weight_map['gap']}; falk2019: {LATER_GAP}",
        ),
    ] = None,
    background: Annotated[
        float | None, _weight_option("background", "falk2019: weight far from cells.")
    ] = None,
    background_sigma: Annotated[
        float | None,
        _weight_option("background_sigma", "falk2019: width of the rise towards a cell in px."),
    ] = None,
    separation: Annotated[
        float | None, _weight_option("separation", "falk2019: height of the term between cells.")
    ] = None,
    separation_sigma: Annotated[
        float | None, _weight_option("separation_sigma", "falk2019: its width in px.")
    ] = None,
    ignore_label: IgnoreLabelOption = None,
    labels_are: LabelsAreOption = None,
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
def export(run_dir: RunArgument, out: OutOption) -> None:
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


def _train(run, steps: int) -> None:
    """Train with an announcement, progress and a farewell."""
    keep_freed_memory()
    try:
        history = _announced(run, steps)
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


def _announced(run, steps: int):
    """Train, after a few steps that tell how long it will take."""
    done = run.folder.steps_done()
    seconds = run.seconds_per_step()
    width = run.settings.network.width
    left = duration(seconds * (steps - done))
    start = f"the {steps - done:,} left of {steps:,}" if done else f"{steps:,}"
    typer.echo(f"\nRecipe {FAST.name}, width {width}: {start} steps take about {left} here.")
    with progress(steps, done, run.settings.training.batch) as report:
        return run.train(report)


def main() -> None:
    """Run the command line of this process."""
    if not IS_FIRST:
        sys.stdout = io.StringIO()
    app(prog_name="unet")


if __name__ == "__main__":
    main()
