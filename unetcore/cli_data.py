"""People's own images on the command line: `unet new`, `unet validate`, and what verbs share."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from unetcore import cli_options as options
from unetcore.data import entry as entries
from unetcore.data.annotated import (
    AnnotatedImages,
    Pair,
    read_annotated,
    read_pairs,
    scale_of,
)
from unetcore.data.entry import DataSettings
from unetcore.data.example import write_example
from unetcore.data.files import replacing, write_atomically
from unetcore.data.guess import guess_settings
from unetcore.data.label_map import CELL, LabelMap
from unetcore.data.samples import Sample, find_samples, read_samples, write_samples
from unetcore.data.sizes import in_words
from unetcore.errors import InputError
from unetcore.geometry import largest_tile_for
from unetcore.recipes import FAST
from unetcore.terminal import be_quiet, command, count, facts_of, is_quiet, say, show_annotated
from unetcore.thresholds import smallest_object

LEAST_SIDE = 64  # px of an image with its mirror images, from which one tile can be cut
SHEET, ENTRY = "samples.csv", "dataset.yaml"


@dataclass(frozen=True)
class OwnData:
    """Which files are meant, and how they are to be read.

    Attributes
    ----------
    paths : as they were given, to be given again.
    samples : images and labels.
    settings : those of the entry of the configuration, if there is one, and the options.
    words : options, to be given again.
    files : sample sheet and entry that were read.
    """

    paths: tuple[Path, ...]
    samples: list[Sample]
    settings: DataSettings
    words: tuple[str, ...]
    files: tuple[Path, ...]

    def read(self) -> AnnotatedImages:
        """Read the files; see `unetcore.data.annotated.read_annotated`."""
        return read_annotated(self.samples, self.settings)

    @property
    def is_guessed(self) -> bool:
        """Whether nobody said what the labels are."""
        return self.settings.labels_are is None


def own_data(
    images: Path,
    labels: Path | None,
    *,
    labels_are: str | None,
    label_map: str | None,
    ignore_label: int | None,
    pixel_size: float | None,
    allow_empty: bool | None,
    trust_pairs: bool | None,
) -> OwnData:
    """Find images and labels by what was given on the command line.

    Options go before what an entry of the configuration says.

    Raises
    ------
    InputError, ExceptionGroup : see `find_samples`, `read_entry`, `LabelMap`.
    """
    file = images if images.suffix.lower() in entries.SUFFIXES else _entry_beside(images, labels)
    if file is not None:
        if labels is not None:
            raise InputError(f"{labels}: {images} says where the labels are")
        entry = entries.read_entry(file)
        sheet = images if images.suffix.lower() == ".csv" else file.parent / entry.samples
        samples, settings, read = read_samples(sheet), entry.settings, (file, sheet)
    else:
        samples, settings, read = find_samples(images, labels), DataSettings(), (images,)
    given = {
        "labels_are": labels_are,
        "pixel_size_um": pixel_size,
        "allow_empty": allow_empty,
        "trust_pairs": trust_pairs,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    meanings = settings.label_map if label_map is None else LabelMap.parse(label_map)
    said = {
        "--labels-are": labels_are,
        "--label-map": label_map,
        "--ignore-label": ignore_label,
        "--pixel-size": pixel_size,
    }
    words = [str(word) for option in said.items() if option[1] is not None for word in option]
    words += ["--allow-empty"] * bool(allow_empty) + ["--trust-pairs"] * bool(trust_pairs)
    return OwnData(
        (images,) if labels is None else (images, labels),
        samples,
        replace(settings, label_map=meanings.with_ignored(ignore_label), **changes),
        tuple(words),
        read,
    )


def _entry_beside(images: Path, labels: Path | None) -> Path | None:
    """What `unet new` has written for a folder or a sample sheet, if it has."""
    if labels is not None:
        return None
    file = (images if images.is_dir() else images.parent) / ENTRY
    is_meant = images.is_dir() or images.suffix.lower() == ".csv"
    if not (is_meant and file.is_file()):
        return None
    say(f"Read as {file} says.\n")
    return file


def new(
    folder: options.Folder,
    name: options.Name = None,
    labels_are: options.LabelsAre = None,
    label_map: options.LabelMapText = None,
    ignore_label: options.IgnoreLabel = None,
    pixel_size: options.WantedPixelSize = None,
    force: options.Force = False,
    example: options.Example = False,
    as_json: options.FactsAsJson = False,
) -> None:
    """Describe a folder of images and labels.

    All other commands go by it. Writes FOLDER/samples.csv, which image has which labels, and
    FOLDER/dataset.yaml, how they are read. Both can be edited. What the labels are is told by them
    and written down: in a mask whose marks look like lines around regions, the regions are the
    cells.
    """
    if folder.is_file():
        raise InputError(f"{folder}: a file, need the folder of images and labels")
    if name is not None:
        entries.refuse_name(name)
    if example:
        write_example(folder)
    sheet, file = folder / SHEET, folder / ENTRY
    for path in (sheet, file):
        if path.exists() and not force:
            raise InputError(f"{path}: is there already; --force replaces it")
    samples = find_samples(folder)
    given = DataSettings(labels_are, LabelMap.given(label_map, ignore_label), pixel_size)
    pairs = read_pairs(samples)
    settings = guess_settings(pairs, given)
    called = entries.name_of(folder) if name is None else name
    entry = entries.Entry(called, folder.resolve().name, Path(SHEET), settings)
    n_slices = sum(len(pair.raw) for pair in pairs if pair.sample.split == "train")
    text = entries.entry_text(entry, file, samples, n_slices, _numbers(pairs, settings))
    write_samples(sheet, samples)
    write_atomically(file, text.encode())
    if as_json:
        found = {"samples": str(sheet), "dataset": str(file), "images": len(samples)}
        found |= {"labels_are": settings.labels_are, "label_map": str(settings.label_map)}
        typer.echo(json.dumps(found, indent=1))
        return
    say(f"{sheet}: {count(len(samples), 'image')} with labels")
    say(f"{file}: {_in_words(settings)}")
    _say_next("Look whether that is right by", command("validate", file))


def validate(
    images: options.Images,
    labels: options.OwnLabels = None,
    labels_are: options.LabelsAre = None,
    label_map: options.LabelMapText = None,
    ignore_label: options.IgnoreLabel = None,
    pixel_size: options.WantedPixelSize = None,
    allow_empty: options.AllowEmpty = None,
    trust_pairs: options.TrustPairs = None,
    picture: options.Sheet = Path("images-and-labels.png"),
    as_json: options.FactsAsJson = False,
) -> None:
    """Check images and labels before training, and draw them.

    Every problem is one line, and the exit code 2.
    """
    from unetcore.figures.contact_sheet import contact_sheet
    from unetcore.figures.style import save

    be_quiet(is_quiet() or as_json)
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
    _refuse_picture(picture, data.samples)
    annotated = data.read()
    refuse_too_small(annotated)
    drawn = contact_sheet(annotated.names, annotated.images, annotated.labels)
    with replacing(picture) as temporary:
        save(drawn, temporary)
    if as_json:
        typer.echo(json.dumps(facts_of(annotated) | {"picture": str(picture)}, indent=1))
        return
    show_annotated(annotated, data.is_guessed)
    say(f"\n{picture}: are the cells marked?")
    _say_next("If so, train a network by", command("train", *data.paths, "-o", "run", *data.words))


def refuse_too_small(annotated: AnnotatedImages) -> None:
    """Refuse images that no tile of a network fits into.

    Raises
    ------
    InputError : not even the largest of them is large enough.
    """
    try:
        largest_tile_for(annotated.largest_shape, FAST.network["depth"])
    except InputError as error:
        sizes = in_words(annotated.largest_shape)
        raise InputError(
            f"{annotated.names[0]}: no image is more than {sizes} px, need {LEAST_SIDE} a side"
        ) from error


def _refuse_picture(picture: Path, samples: Sequence[Sample]) -> None:
    """Refuse a picture that is none, or in the place of an image."""
    if picture.suffix.lower() != ".png":
        raise InputError(f"--picture {picture}: need a name like NAME.png")
    files = {path.resolve() for sample in samples for path in (sample.image, sample.labels)}
    if picture.resolve() in files:
        raise InputError(f"--picture {picture}: is one of the images, take another name")


def _numbers(pairs: Sequence[Pair], settings: DataSettings) -> entries.Numbers:
    """Numbers of the recipe `fast` for images and cells of these sizes."""
    kind = settings.labels_are
    labels = [settings.label_map.apply(pair.raw, kind, pair.sample.labels) for pair in pairs]
    sides = [
        [round(side * scale_of(pair, settings)) for side in pair.raw.shape[1:]] for pair in pairs
    ]
    largest = tuple(map(max, zip(*sides, strict=True)))
    tile = min(FAST.training["output_tile"], largest_tile_for(largest, FAST.network["depth"]))
    return entries.Numbers(
        width=FAST.network["width"],
        steps=FAST.training["steps"],
        output_tile=tile,
        smallest_object=smallest_object([page for stack in labels for page in stack], kind),
    )


def _in_words(settings: DataSettings) -> str:
    """What the settings say of the labels."""
    meanings = settings.label_map.meanings
    if settings.labels_are == "instances":
        return "instances, a number per cell"
    cells = next((value for value, meaning in meanings.items() if meaning == CELL), None)
    around = " (what else is marked looks like membranes)" if cells == 0 else ""
    return f"a mask, {settings.label_map}{around}"


def _say_next(what: str, words: str) -> None:
    say(f"\n{what}:\n  {words}")
