"""Evaluation of predicted pictures, which may have different sizes, by labels of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unetcore.data.annotated import read_labels_of
from unetcore.data.entry import DataSettings
from unetcore.data.files import is_folder
from unetcore.data.io import to_unit_range
from unetcore.data.label_map import LabelMap
from unetcore.data.pictures import Picture, name_of, read_grey, read_picture
from unetcore.data.predicted import INSTANCES, PROBABILITY, Predicted
from unetcore.data.rois import SUFFIXES as OF_REGIONS
from unetcore.data.samples import Sample, key_of_image, labels_by_key
from unetcore.data.sizes import in_words
from unetcore.errors import InputError
from unetcore.evaluate import OF_CELLS, OF_MEMBRANES, PLACES, evaluate
from unetcore.exchanged import Sides, sides_of
from unetcore.instances import Parts
from unetcore.labels import IGNORED, known_labels, named_integers, named_whole_numbers
from unetcore.metrics import Slices

OF_TRAINING = " of the training: say by --label-map what values mean here"


@dataclass(frozen=True)
class Judged:
    """Results of an image, and the file of labels that they are judged by."""

    labels: Path
    results: Predicted


@dataclass(frozen=True)
class Meaning:
    """What labels are, and what their values mean.

    Attributes
    ----------
    kind : "mask" or "instances".
    label_map : of the values.
    """

    kind: str
    label_map: LabelMap

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that make sense. Cells that touch are one for those of membranes."""
        return OF_MEMBRANES + OF_CELLS if self.kind == "mask" else OF_CELLS


@dataclass(frozen=True)
class Evaluated:
    """Metrics of one image.

    Attributes
    ----------
    judged : what was compared.
    shape : (N, H, W).
    without_cells : slices whose labels show no cell, from 0; they were left out.
    metrics : as `unetcore.evaluate.evaluate` returns them; None where no slice was left.
    sides : probability in cells and outside.
    """

    judged: Judged
    shape: tuple[int, int, int]
    without_cells: tuple[int, ...]
    metrics: dict | None
    sides: Sides


def pair_by_name(labels: Path, results: Mapping[str, Predicted]) -> list[Judged]:
    """Pair results with labels of the same name, as those of training are paired.

    Parameters
    ----------
    labels : folder of labels, each of which must have a result, and the reverse; or the labels of
        one image.
    results : by names of images.

    Raises
    ------
    InputError : no name has a partner, or two mean the same image.
    ExceptionGroup : of one InputError for each file without a partner.
    """
    of_labels, of_results = labels_by_key(labels), {}
    for name, result in results.items():
        key = key_of_image(Path(f"{name}.tif"))
        if key in of_results:
            other = of_results[key].probability.name
            raise InputError(f"{result.probability}: means the same image as {other}")
        of_results[key] = result
    folder = next(iter(results.values())).probability.parent
    both = [key for key in of_results if key in of_labels]
    if not both:
        some = f"{next(iter(of_labels.values())).name}, {next(iter(results))}{PROBABILITY}"
        raise InputError(
            f"{labels}: no labels have the name of a result in {folder} ({some}): name them as "
            "the images, or say in a sample sheet (.csv) which belong together"
        )
    problems = [
        InputError(f"{file}: no result of this name in {folder}")
        for key, file in of_labels.items()
        if key not in of_results
    ]
    if is_folder(labels):
        problems += [
            InputError(f"{result.probability}: no labels of this name in {labels}")
            for key, result in of_results.items()
            if key not in of_labels
        ]
    if problems:
        raise ExceptionGroup("files without a partner", problems)
    return [Judged(of_labels[key], of_results[key]) for key in both]


def pair_by_sheet(samples: Sequence[Sample], results: Mapping[str, Predicted]) -> list[Judged]:
    """Pair results with the labels that a sample sheet has for their images.

    Parameters
    ----------
    samples : rows of the sheet; of those with the split "test", if there are any, else of all, each
        must have a result.
    results : by names of images; those of other images are left out.

    Raises
    ------
    ExceptionGroup : of one InputError for each row without a result, or with that of another row.
    """
    wanted = [sample for sample in samples if sample.split == "test"] or samples
    folder = next(iter(results.values())).probability.parent
    found: dict[str, Judged] = {}
    problems = []
    for sample in wanted:
        name = name_of(sample.image)
        if name not in results:
            problems.append(InputError(f"{sample.image}: no {name}{PROBABILITY} in {folder}"))
        elif name in found:
            problems.append(InputError(f"{sample.image}: another row has an image of this name"))
        else:
            found[name] = Judged(sample.labels, results[name])
    if problems:
        raise ExceptionGroup("rows without a result", problems)
    return list(found.values())


def meaning_of(
    pairs: Sequence[Judged], settings: DataSettings, of_training: LabelMap | None = None
) -> Meaning:
    """Read all files once, refuse what does not fit, and find out what the labels mean.

    Parameters
    ----------
    pairs : what is to be compared.
    settings : what was said of the labels.
    of_training : what labels meant to the model. It holds where `settings` say neither what labels
        are nor which values are cells, and labels are not instances. None if it is not known.

    Raises
    ------
    ExceptionGroup : of one InputError for every file that cannot be used, or whose values have no
        meaning.
    """
    read = _attempted(pairs, lambda pair: np.unique(_read(pair)[1]))
    values = dict(zip(pairs, read, strict=True))
    has_regions = any(pair.labels.suffix.lower() in OF_REGIONS for pair in pairs)
    meaning = _meaning(
        np.unique(np.concatenate(read)), has_regions, settings, of_training or LabelMap()
    )
    hint = OF_TRAINING if meaning.label_map != settings.label_map else ""
    _attempted(pairs, lambda pair: _refuse_unknown(values[pair], meaning, pair.labels, hint))
    return meaning


def _refuse_unknown(values: np.ndarray, meaning: Meaning, path: Path, hint: str) -> None:
    """Refuse values without a meaning; the hint says where the label map comes from."""
    try:
        meaning.label_map.apply(values, meaning.kind, path)
    except InputError as error:
        raise InputError(f"{error}{hint}") from error


def evaluate_picture(pair: Judged, meaning: Meaning, threads: int = 1) -> Evaluated:
    """Compute the metrics of one image.

    Slices without a labelled cell are left out, as most metrics are undefined there.

    Parameters
    ----------
    pair : results and labels.
    meaning : of the labels. In a mask the parts that hang together, also by corners, are the cells.
    threads : slices that are judged at a time.

    Raises
    ------
    InputError : a file cannot be read, or a value has no meaning.
    """
    probability, labels, found = _read(pair)
    coded = meaning.label_map.apply(labels, meaning.kind, pair.labels)
    cells, ignored = known_labels(coded), coded == IGNORED
    numbers = cells if meaning.label_map.names_cells else np.where(cells > 0, labels, 0)
    sides = sides_of(numbers, probability, ignored)
    telling = [z for z, page in enumerate(cells) if page.any()]
    without = tuple(z for z in range(len(cells)) if z not in telling)
    if not telling:
        return Evaluated(pair, cells.shape, without, None, sides)
    reference = Parts(cells[telling]) if meaning.kind == "mask" else cells[telling]
    frames = [str(z) for z in telling]
    metrics = evaluate(
        meaning.metrics,
        Slices(reference, pair.labels, frames=frames),
        Slices(probability[telling], pair.results.probability, frames=frames),
        segmentation=Slices(found[telling], pair.results.instances, frames=frames),
        ignored=ignored[telling] if ignored.any() else None,
        threads=threads,
    )
    return Evaluated(pair, cells.shape, without, _renumbered(metrics, telling), sides)


def _attempted(pairs: Sequence[Judged], function: Callable) -> list:
    """What a function makes of each pair, or all that it refuses."""
    made, problems = [], []
    for pair in pairs:
        try:
            made.append(function(pair))
        except InputError as error:
            problems.append(error)
    if problems:
        raise ExceptionGroup("results and labels that cannot be compared", problems)
    return made


def _meaning(
    values: np.ndarray, has_regions: bool, settings: DataSettings, of_training: LabelMap
) -> Meaning:
    """Meaning of labels by all their values."""
    label_map, kind = settings.label_map, settings.labels_are
    if has_regions:
        return Meaning(kind or "instances", label_map)
    if kind or label_map.names_cells or not of_training.meanings:
        return Meaning(kind or label_map.kind_of(values), label_map)
    meant = LabelMap({**of_training.meanings, **label_map.meanings})
    kind = meant.kind_of(values)
    return Meaning(kind, label_map if kind == "instances" and meant.names_cells else meant)


def _read(pair: Judged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability, labels and instances, (N, H, W) each."""
    results = pair.results
    if results.instances is None:
        raise InputError(f"{results.probability}: no {results.name}{INSTANCES} beside it")
    picture = read_picture(results.probability)
    probability = _one_channel(picture)
    image = _with_channels(picture, results)
    labels = named_integers(read_labels_of(pair.labels, image), pair.labels)
    found = named_whole_numbers(read_grey(results.instances), results.instances)
    if found.shape != probability.shape:
        sizes = in_words(found.shape), in_words(probability.shape)
        raise InputError(
            f"{results.instances}: {sizes[0]} (slices, height, width), "
            f"{results.probability.name} is {sizes[1]}"
        )
    return to_unit_range(probability, str(results.probability)), labels, found


def _with_channels(probability: Picture, results: Predicted) -> Picture:
    """A probability with the axes of its image, on which regions were drawn."""
    if results.channels is None:
        return probability
    axes, n = results.channels
    sides = {**probability.sides, "C": n}
    if set(axes) != set(sides):
        return probability
    return replace(probability, axes=axes, shape=tuple(sides[axis] for axis in axes))


def _one_channel(picture: Picture) -> np.ndarray:
    if (n_channels := picture.pixels.shape[1]) > 1:
        raise InputError(f"{picture.path}: {n_channels} channels, expected one")
    return picture.pixels[:, 0]


def _renumbered(metrics: dict, slices: Sequence[int]) -> dict:
    """Places with the numbers that their slices have in the file."""
    for found in metrics.values():
        for kind in PLACES:
            for place in found.get(kind, {}).get("largest", ()):
                place["z"] = slices[place["z"]]
    return metrics
