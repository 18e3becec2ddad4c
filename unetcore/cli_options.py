"""Arguments and options of the command line: their types, bounds and the words of their help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from unetcore.recipes import FAST, RECIPES
from unetcore.settings import LARGEST_SEED
from unetcore.weight_settings import LATER_GAP

LabelKind = Literal["mask", "instances"]
WeightMapForm = Literal["ronneberger2015", "falk2019"]
ClassBalance = Literal["inverse-frequency", "rarest-one", "none"]
RecipeName = Literal["fast", "paper"]
WhereToCompute = Literal["auto", "cpu", "gpu"]
Versions = Literal["none", "rot7", "d4", "mirror4"]
FloatFormat = Literal["auto", "float32", "bfloat16"]
HeadName = Literal["padded", "valid"]


def _weight(name: str, what: str):
    """Option of a number of the weight map; None takes the recipe's."""
    return typer.Option(help=what, show_default=str(FAST.weight_map[name]))


def _of_recipe(section: str, name: str, what: str, least: int):
    """Option of a number of a recipe; None takes the recipe's."""
    numbers = [f"{recipe.name}: {getattr(recipe, section)[name]}" for recipe in RECIPES.values()]
    return typer.Option(min=least, help=what, show_default="; ".join(numbers))


# Of several commands.
Images = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGES",
        help="An image, a folder of images, or what holds images and labels: a folder, a sample "
        "sheet (.csv), or what `unet new` wrote (.yaml).",
    ),
]
OwnLabels = Annotated[
    Path | None,
    typer.Argument(
        metavar="[LABELS]",
        help="Labels of the image, or a folder of labels: images of labels, or regions of Fiji "
        "(.zip, .roi). Pairs have the same name.",
        show_default=False,
    ),
]
Labels = Annotated[Path, typer.Argument(metavar="LABELS", help="Labels: an image or a folder.")]
LabelsAre = Annotated[
    LabelKind | None,
    typer.Option(
        help="A mask (0 = membrane or background, one other value = cell), or instances (0 = "
        "background, one number per cell). Default: a mask if there are at most two values.",
        show_default=False,
    ),
]
IgnoreLabel = Annotated[
    int | None,
    typer.Option(
        metavar="LABEL",
        help="Pixels of this label are neither cell nor background: weight 0.",
        show_default=False,
    ),
]
LabelMapText = Annotated[
    str | None,
    typer.Option(
        "--label-map",
        metavar="MAP",
        help="What values mean, cell, background or ignore, as in 0=cell,255=background or "
        "0=ignore,1=background,2=cell.",
        show_default="0 is background, all else cell",
    ),
]
WantedPixelSize = Annotated[
    float | None,
    typer.Option(
        metavar="UM",
        help="Bring all images to this side of a pixel in micrometres.",
        show_default="as they are",
    ),
]
AllowEmpty = Annotated[
    bool | None,
    typer.Option("--allow-empty", help="Labels without a cell are meant.", show_default=False),
]
TrustPairs = Annotated[
    bool | None,
    typer.Option(
        "--trust-pairs",
        help="Labels are right, even where they seem to be of another image.",
        show_default=False,
    ),
]
Device = Annotated[
    WhereToCompute, typer.Option(help="Where to compute; auto takes a GPU if there is one.")
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="File to write.")]
Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="Folder that `unet train` made, or a file that `unet export` made of it.",
    ),
]

# Of `new` and `validate`.
Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Folder with images/ and labels/, or with files like a.tif and a_labels.tif.",
    ),
]
Name = Annotated[
    str | None, typer.Option(help="Of the data set.", show_default="that of the folder")
]
Example = Annotated[
    bool,
    typer.Option("--example", help="First make the folder, of generated images to try it on."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier call wrote.")]
Sheet = Annotated[
    Path,
    typer.Option("--picture", metavar="PNG", help="Picture of images and labels, to be looked at."),
]
FactsAsJson = Annotated[
    bool, typer.Option("--json", help="Print what was found as JSON, and nothing else.")
]

# Of `train`.
NewRunDir = Annotated[
    Path, typer.Option("--out", "-o", metavar="RUN_DIR", help="Folder of this training.")
]
RecipeChoice = Annotated[
    RecipeName,
    typer.Option("--recipe", help="fast: good within minutes; paper: as in 2015, days on a CPU."),
]
Steps = Annotated[
    int | None,
    _of_recipe("training", "steps", "Weight updates; twice as many take twice as long.", 1),
]
LearningRate = Annotated[
    float | None,
    _of_recipe("training", "learning_rate", "Largest; lower it where nothing is learnt.", 0),
]
Width = Annotated[
    int | None,
    _of_recipe("network", "width", "Channels of the first level; twice is 4 times the work.", 1),
]
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="Another seed gives another network.")
]
Batch = Annotated[
    int | None,
    _of_recipe("training", "batch", "Tiles of an update, shared among torchrun's processes.", 1),
]
HeldOut = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Watch the last N images instead of training on them."),
]
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Write curves and a held-out image for `tensorboard --logdir RUN_DIR`.",
    ),
]

# Of `predict`.
Image = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGE",
        help="A picture (TIFF, ImageJ, OME-TIFF, PNG, JPEG or OME-Zarr, of any axes and as many "
        "channels as the model takes), or a folder of them.",
    ),
]
Prediction = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="OUT",
        help="OUT.tif: the probability. A folder's name: all results of every image. OUT.zarr: the "
        "probability as OME-Zarr, made chunk by chunk.",
    ),
]
Averaging = Annotated[
    Versions, typer.Option(help="Average 7 rotations, the 8 symmetries, or 4 mirror images.")
]
Tile = Annotated[
    int | None,
    typer.Option(help="Output tile in px, one of 4 + 16 k.", show_default="planned"),
]
Memory = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="MB",
        help="Memory that a planned tile may take, beside images and weights; with OUT.zarr all "
        "that the process may take beside libraries and weights.",
        show_default="half of what is free on a GPU, else 2 GiB",
    ),
]
Precision = Annotated[
    FloatFormat, typer.Option(help="bfloat16 is faster where the hardware computes in it.")
]
SegmentationOut = Annotated[
    Path | None,
    typer.Option(metavar="OUT", help="Beside OUT.tif, also write separate cells, one number each."),
]
PixelSize = Annotated[
    float | None,
    typer.Option(
        min=1e-6,
        metavar="UM",
        help="Side of a pixel in um; the image is rescaled to that of the model.",
        show_default="what the file says",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Pixels of a larger probability are cell interior.",
        show_default="the model's",
    ),
]
SmallestObject = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="PX",
        help="Cells of so many px and less are left out.",
        show_default=f"the model's, else {FAST.postprocessing['smallest_object']}",
    ),
]
FillHoles = Annotated[
    bool | None,
    typer.Option(help="Make holes of a cell its own.", show_default="the model's, else fill"),
]
Border = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="PX",
        help="Leave out cells that lie wholly within so many px of the border.",
        show_default="the model's, else 0",
    ),
]
Chunk = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="PX",
        help="Side of the chunks of OUT.zarr, a multiple of 16.",
        show_default="1024",
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        metavar="K/N",
        help="Predict the share of job K of N of OUT.zarr; jobs may run at the same time.",
        show_default="all",
    ),
]
FillMissing = Annotated[
    bool,
    typer.Option(
        "--fill-missing", help="Take chunks that a Zarr IMAGE does not have for its fill value."
    ),
]

# Of `evaluate`.
Reference = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS",
        help="Of a folder of results: a folder of labels (names as those of the images), a sample "
        "sheet (.csv) or what `unet new` wrote (.yaml). Of a file: an image of labels, a folder of "
        "them, or regions of Fiji.",
    ),
]
Probability = Annotated[
    Path,
    typer.Argument(
        metavar="PROBABILITY",
        help="What `unet predict` wrote, of these images: the folder of all results, or one file.",
    ),
]
IsSegmentation = Annotated[
    bool,
    typer.Option(
        "--segmentation",
        help="The second file is a segmentation, one number per cell: compute SEG and IoU. Of a "
        "mask, on either side, the parts that hang together, also by corners, are the cells.",
    ),
]
TableOut = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="CSV", help="Of a folder of results: also write the table here."
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print values, sweeps and the places of splits and mergers as JSON.",
    ),
]
Unscaled = Annotated[
    bool,
    typer.Option(
        "--unscaled",
        help="Take an 8-bit PROBABILITY as it is, as the official program does: all above 0 is "
        "foreground at every threshold below 1. Default: divide it by 255.",
    ),
]
FillMissingLabels = Annotated[
    bool,
    typer.Option(
        "--fill-missing", help="Take chunks that Zarr LABELS do not have for their fill value."
    ),
]
Threads = Annotated[
    int, typer.Option(min=1, help="Slices judged at a time; the result is the same for any.")
]

# Of `view`.
ViewedImage = Annotated[
    Path,
    typer.Argument(metavar="IMAGE", help="An image or stack, or a folder of images of one size."),
]
ViewedProbability = Annotated[
    Path, typer.Argument(metavar="PROBABILITY", help="What `unet predict` made of them.")
]
ViewedLabels = Annotated[
    Path | None,
    typer.Option("--labels", metavar="LABELS", help="Reference: its outlines, and metrics by it."),
]
ViewedCells = Annotated[
    Path | None,
    typer.Option("--segmentation", metavar="CELLS", help="Cells by `unet predict --segmentation`."),
]
Page = Annotated[Path, typer.Option("--out", "-o", metavar="OUT.html", help="Page to write.")]
FirstThreshold = Annotated[
    float, typer.Option(min=0, max=1, help="Where the threshold's slider is at the beginning.")
]
SmallestShown = Annotated[
    int, typer.Option(min=0, help="Objects of this many px and less are left out, until changed.")
]
FillHolesShown = Annotated[bool, typer.Option(help="Whether holes of objects become their own.")]
BorderShown = Annotated[
    int,
    typer.Option(
        min=0, metavar="PX", help="Leave out objects wholly within so many px of the border."
    ),
]
SomeSlices = Annotated[
    str | None,
    typer.Option(
        metavar="FIRST-LAST",
        help="Slices to show, counted from 1; metrics are of all.",
        show_default="as many as 25 MB hold, evenly spread",
    ),
]
MaxSide = Annotated[
    int, typer.Option(min=64, metavar="PX", help="Larger images are reduced by a whole factor.")
]
Heading = Annotated[
    str | None,
    typer.Option("--title", help="Heading of the page.", show_default="name of PROBABILITY"),
]

# Of `weights`.
Form = Annotated[
    WeightMapForm,
    typer.Option(help="Equation 2 of the paper, or the weights of the authors' later code."),
]
W0 = Annotated[float | None, _weight("w0", "Equation 2: height of the border term.")]
Sigma = Annotated[float | None, _weight("sigma", "Equation 2: width of the border term in px.")]
Balance = Annotated[
    ClassBalance | None,
    _weight("balance", "Equation 2: class weights of mean 1, the rarer class at 1, or all at 1."),
]
Gap = Annotated[
    int | None,
    typer.Option(
        help="Background put between touching instances, in px.",
        show_default=f"{FAST.weight_map['gap']}; falk2019: {LATER_GAP}",
    ),
]
Background = Annotated[float | None, _weight("background", "falk2019: weight far from cells.")]
BackgroundSigma = Annotated[
    float | None,
    _weight("background_sigma", "falk2019: width of the rise towards a cell in px."),
]
Separation = Annotated[
    float | None, _weight("separation", "falk2019: height of the term between cells.")
]
SeparationSigma = Annotated[float | None, _weight("separation_sigma", "falk2019: its width in px.")]

# Of `export`.
Exported = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="OUT",
        help="File to write: .zip (bioimage.io), .onnx, .pt, .safetensors or .md.",
    ),
]
HeadChoice = Annotated[
    HeadName | None,
    typer.Option(
        "--head",
        help="Of .pt and .onnx. padded: images of any size; valid: tiles of 188 + 16 k px, whose "
        "outer 92 px are lost.",
        show_default="padded",
    ),
]
Title = Annotated[
    str | None, typer.Option(help="Name of the model.", show_default="U-Net and the recipe")
]
Licence = Annotated[
    str | None,
    typer.Option(
        metavar="SPDX", help="What others may do with it, as CC-BY-4.0 or MIT.", show_default="none"
    ),
]
Author = Annotated[
    list[str] | None,
    typer.Option("--author", metavar="NAME", help="Who made it; may be repeated.", show_default=""),
]
