"""A data set of one's own as an entry of the configuration, for command line and workflow."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Real
from pathlib import Path

import yaml

from unetcore.data.label_map import LabelMap
from unetcore.data.samples import Sample
from unetcore.errors import InputError, first_line, naming
from unetcore.weight_settings import LABEL_KINDS

SUFFIXES = (".yaml", ".yml")
REQUIRED = ("title", "samples", "labels_are", "label_map")
OPTIONAL = ("pixel_size_um", "allow_empty", "trust_pairs")
MOST_FOLDS = 5
OF_MASKS = "[warping_error, rand_error, pixel_error, v_rand, v_info]"
OF_INSTANCES = "[seg, iou]"
TEXT = """\
# Written by `unet new`. What it says of the files can be changed here:
#   unet validate {file}
#   unet train {file} -o run
# It is laid over the workflow's configuration for a cross-validation with tables and a report:
#   snakemake own --cores all --configfile {file}   (in the folder of the workflow)

datasets:
  {name}:
    title: {title}
    samples: {samples}
    labels_are: {labels_are} # mask: {{0: background, 255: cell}}; instances: a number per cell
    label_map: {label_map} # value: background, cell or ignore
    pixel_size_um: {pixel_size_um} # images are brought to it; null leaves them as they are

experiments:
  {name}:
    title: {title}
    dataset: {name}
    recipe: fast
    split: {split} # {why}
    folds: {folds}
    seeds: [0]
    averaging: [none]
    network: {{width: {width}}}
    training: {{steps: {steps}, output_tile: {output_tile}}} # px
    postprocessing: {{threshold: 0.5, smallest_object: {smallest_object}}} # px
    evaluation: {{metrics: {metrics}}}
"""


@dataclass(frozen=True)
class DataSettings:
    """How the files of a data set are to be read.

    Attributes
    ----------
    labels_are : "mask" or "instances"; None lets the labels tell.
    label_map : what their values mean.
    pixel_size_um : side of a pixel in micrometres to which all images are brought; None leaves
        them as they are.
    allow_empty : whether labels without a cell are meant.
    trust_pairs : whether labels that seem to be of another image are taken as they are.

    Raises
    ------
    InputError : unknown kind of labels, or a pixel size that is not above 0.
    """

    labels_are: str | None = None
    label_map: LabelMap = field(default_factory=LabelMap)
    pixel_size_um: float | None = None
    allow_empty: bool = False
    trust_pairs: bool = False

    def __post_init__(self):
        if self.labels_are not in (None, *LABEL_KINDS):
            known = ", ".join(LABEL_KINDS)
            raise InputError(f"labels of kind {self.labels_are!r}: need one of {known}")
        size = self.pixel_size_um
        if size is not None and not (isinstance(size, Real) and 0 < size < math.inf):
            raise InputError(f"pixel_size_um {self.pixel_size_um!r}: need a number above 0")


@dataclass(frozen=True)
class Entry:
    """A data set of one's own.

    Attributes
    ----------
    name : by which experiments ask for it.
    title : the same for people.
    samples : its sample sheet, named from the folder of the configuration file.
    settings : how its files are to be read.
    """

    name: str
    title: str
    samples: Path
    settings: DataSettings


def read_entry(path: Path) -> Entry:
    """Read the one data set of a configuration file.

    Raises
    ------
    InputError : no such file, no YAML, none or several data sets, or as `entry_of`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({first_line(error)})") from error
    found = config.get("datasets") if isinstance(config, dict) else None
    if not isinstance(found, dict) or len(found) != 1:
        n = len(found) if isinstance(found, dict) else 0
        raise InputError(f"{path}: {n} entries below datasets, expected one")
    (name, values), *_ = found.items()
    with naming(path):
        return entry_of(str(name), values)


def entry_of(name: str, values: Mapping) -> Entry:
    """Data set by its entry in the configuration.

    Raises
    ------
    InputError : a key is missing or unknown, or a value is not as `DataSettings` wants it.
    """
    where = f"datasets.{name}"
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected keys and values")
    if unknown := sorted(values.keys() - {*REQUIRED, *OPTIONAL}):
        raise InputError(f"{where}: unknown key {unknown[0]!r}")
    if missing := [key for key in REQUIRED if key not in values]:
        raise InputError(f"{where}: key {missing[0]!r} is missing")
    label_map = values["label_map"] or {}
    if not isinstance(label_map, dict):
        raise InputError(f"{where}.label_map: expected VALUE: MEANING, as in {{0: background}}")
    try:
        settings = DataSettings(
            values["labels_are"],
            LabelMap(label_map),
            **{key: values[key] for key in OPTIONAL if key in values},
        )
    except (InputError, TypeError) as error:
        raise InputError(f"{where}: {error}") from error
    return Entry(name, str(values["title"]), Path(values["samples"]), settings)


@dataclass(frozen=True)
class Numbers:
    """Numbers of an experiment that an entry spells out, so that they can be changed.

    Attributes
    ----------
    width, steps : of the network and its training.
    output_tile : px, at most what the images hold.
    smallest_object : px, up to which nothing is a cell.
    """

    width: int
    steps: int
    output_tile: int
    smallest_object: int


def entry_text(
    entry: Entry, file: Path, samples: Sequence[Sample], n_slices: int, numbers: Numbers
) -> str:
    """Configuration file with a data set, and an experiment that cross-validates on it.

    Parameters
    ----------
    file : name of the file.
    samples, n_slices : of the data set.
    numbers : of the experiment.
    """
    settings = entry.settings
    split, folds, why = _split(samples, n_slices)
    return TEXT.format(
        file=file,
        name=entry.name,
        title=_quoted(entry.title),
        samples=_quoted(str(entry.samples)),
        labels_are=settings.labels_are,
        label_map=yaml.safe_dump(
            dict(settings.label_map.meanings), default_flow_style=True, width=10_000
        ).strip(),
        pixel_size_um="null" if settings.pixel_size_um is None else settings.pixel_size_um,
        split=split,
        why=why,
        folds=folds,
        **asdict(numbers),
        metrics=OF_MASKS if settings.labels_are == "mask" else OF_INSTANCES,
    )


def name_of(folder: Path) -> str:
    """Name for the data set of a folder: small letters, digits and hyphens.

    Examples
    --------
    >>> name_of(Path("Meine Zellen (Müller)"))
    'meine-zellen-muller'
    """
    plain = unicodedata.normalize("NFKD", folder.resolve().name)
    letters = plain.encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", letters).strip("-") or "my-images"


def refuse_name(name: str) -> None:
    """Refuse what is no name of a data set.

    Raises
    ------
    InputError : says what would be one.
    """
    if not re.fullmatch("[a-z0-9][a-z0-9-]*", name):
        raise InputError(
            f"--name {name!r}: need small letters, digits and hyphens, as in {name_of(Path(name))}"
        )


def sequence_name(number: int) -> str:
    """Name of a stack of a data set by its place among all: folds are named by numbers."""
    return f"{number:02d}"


def _split(samples, n_slices) -> tuple[str, str, str]:
    """Scheme of the folds, their names, and why."""
    training = [sample for sample in samples if sample.split == "train"]
    if len(training) < len(samples):
        return "{by: sequence}", "[official]", "trained on split train, tested on split test"
    if n_slices > len(training) > 1:
        names = ", ".join(f'"{sequence_name(k)}"' for k in range(len(training))[:MOST_FOLDS])
        return "{by: sequence}", f"[{names}]", "each stack is tested by the others"
    n = min(MOST_FOLDS, n_slices)
    names = ", ".join(f'"{k}"' for k in range(n))
    return f"{{blocks: {n}}}", f"[{names}]", "cross-validation on blocks of images"


def _quoted(text: str) -> str:
    """Text as YAML, in quotes where it needs them."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10_000).strip()
