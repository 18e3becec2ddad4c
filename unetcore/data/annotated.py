"""Images and labels that people bring, checked before anything is trained."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from skimage.transform import resize

from unetcore.data.colours import WrongColours, or_slices
from unetcore.data.entry import DataSettings
from unetcore.data.intensity import normalise
from unetcore.data.io import grey_values
from unetcore.data.label_map import LabelMap
from unetcore.data.pictures import Picture, picture_files, read_head, read_picture
from unetcore.data.pixel_size import scale_factor
from unetcore.data.rescaling import rescaled
from unetcore.data.rois import SUFFIXES as OF_ROIS
from unetcore.data.rois import read_rois
from unetcore.data.samples import Sample
from unetcore.data.sizes import in_words, refuse_other_sizes
from unetcore.data.swapped import looks_like_grey_values, misplaced_labels
from unetcore.errors import InputError
from unetcore.geometry import mirror_index
from unetcore.labels import IGNORED, known_labels, named_integers

RGB = ("red", "green", "blue")
ONE_NUMBER = (
    "expected one number per pixel: save them as an 8- or 16-bit grey image (Fiji: Image > Lookup "
    "Tables > Grays)"
)
ARE_SLICES = "may be slices: save them as those (Fiji: Image > Hyperstacks > Re-order Hyperstack)"
IN_ONE_PIECE = (*OF_ROIS, ".png", ".jpg", ".jpeg")  # files that are read as a whole


@dataclass(frozen=True)
class AnnotatedImages:
    """Images with a label for every pixel; those that are held out come last.

    Attributes
    ----------
    names : of the images; slices of a stack have its name and their number.
    samples : names of the stacks that they are of.
    images : (C, H, W) array each, of the file's numbers, or float32 where images were brought to
        another size. Sizes may differ.
    labels : (H, W) uint16 array each: 0 = background, `IGNORED` = not known, else cell.
    channels : their names, None where nobody names them.
    n_held_out : number of images, the last ones, that the sample sheet keeps from training.
    kind : what the labels are, "mask" or "instances".
    settings : by which they were read.
    """

    names: tuple[str, ...]
    samples: tuple[str, ...]
    images: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]
    channels: tuple[str, ...] | None
    n_held_out: int
    kind: str
    settings: DataSettings

    @property
    def n_channels(self) -> int:
        """Channels of every image."""
        return len(self.images[0])

    @property
    def largest_shape(self) -> tuple[int, int]:
        """Largest height and largest width in px of all images."""
        heights, widths = zip(*(labels.shape for labels in self.labels), strict=True)
        return max(heights), max(widths)

    def ignored_share(self) -> float:
        """Share of all pixels that are ignored."""
        n_ignored = sum(np.count_nonzero(labels == IGNORED) for labels in self.labels)
        return n_ignored / sum(labels.size for labels in self.labels)

    def stacked(self, normalisation: str) -> tuple[np.ndarray, np.ndarray]:
        """Images as a network sees them, and labels, each as one array.

        Images are normalised one by one. Smaller ones are continued by mirroring, as in prediction,
        to the size of the largest, and what is added is ignored.

        Parameters
        ----------
        normalisation : see `unetcore.data.intensity.normalise`.

        Returns
        -------
        (N, C, H, W) float32 array; (N, H, W) uint16 array.

        Raises
        ------
        InputError : as `normalise`.
        """
        named = zip(self.images, self.names, strict=True)
        grey = [(grey_values(image, normalisation, name), name) for image, name in named]
        return self.mirrored([normalise(g[None], normalisation, name)[0] for g, name in grey])

    def mirrored(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels at the size of the largest, each as one array; see `stacked`.

        Parameters
        ----------
        images : (C, H, W) array each, of the sizes of `self.images` and one number type.
        """
        shapes, shape = [labels.shape for labels in self.labels], self.largest_shape
        stack = np.empty((len(shapes), self.n_channels, *shape), images[0].dtype)
        labels = np.full((len(shapes), *shape), IGNORED, np.uint16)
        for k, (height, width) in enumerate(shapes):
            rows, columns = mirror_index(0, shape[0], height), mirror_index(0, shape[1], width)
            stack[k] = images[k][:, rows[:, None], columns]
            labels[k, :height, :width] = self.labels[k]
        return stack, labels


def read_annotated(
    samples: Sequence[Sample], settings: DataSettings | None = None
) -> AnnotatedImages:
    """Read images and labels that belong together, or say all that is wrong with them.

    Parameters
    ----------
    samples : see `unetcore.data.samples.find_samples`.
    settings : how they are to be read; None: as they tell themselves.

    Raises
    ------
    ExceptionGroup : of one InputError for every problem that was found.
    """
    settings = settings or DataSettings()
    problems = _Problems()
    pairs = read_pairs(sorted(samples, key=lambda sample: sample.split == "test"))  # stable
    kind = settings.labels_are or kind_of(pairs, settings.label_map)
    slices = [
        piece for pair in pairs for piece in problems.attempt(_slices, pair, kind, settings) or ()
    ]
    problems.raise_any()
    annotated = AnnotatedImages(
        names=tuple(piece.name for piece in slices),
        samples=tuple(piece.sample for piece in slices),
        images=tuple(piece.image for piece in slices),
        labels=tuple(piece.labels for piece in slices),
        channels=RGB if all("S" in pair.picture.axes for pair in pairs) else None,
        n_held_out=sum(piece.held_out for piece in slices),
        kind=kind,
        settings=settings,
    )
    problems.attempt(_refuse_one_class, annotated.labels, "labels")
    if not settings.trust_pairs:
        _refuse_misplaced(annotated, problems)
    problems.raise_any()
    return annotated


@dataclass(frozen=True)
class Pair:
    """An image and its labels as their files have them, (Z, C, H, W) and (Z, H, W)."""

    sample: Sample
    picture: Picture
    raw: np.ndarray


def read_pairs(samples: Sequence[Sample]) -> list[Pair]:
    """Read images and labels that belong together, or say all that is wrong with their files.

    Raises
    ------
    ExceptionGroup : of one InputError for every problem that was found.
    """
    problems = _Problems()
    pairs = [pair for sample in samples if (pair := problems.attempt(_read_pair, sample))]
    problems.raise_any()
    _refuse_other_channels(pairs, problems)
    return pairs


def read_labels_of(path: Path, picture: Picture) -> np.ndarray:
    """Labels of an image, as their file has them.

    Parameters
    ----------
    path : image of labels, or Fiji's regions (`.roi`, `.zip`).
    picture : the image.

    Returns
    -------
    (Z, H, W) array of numbers.

    Raises
    ------
    InputError : the file cannot be read, is in colour or was compressed with loss, or is of
        another size than the image.
    """
    path = Path(path)
    n_slices, n_channels, *size = picture.pixels.shape
    if path.suffix.lower() in OF_ROIS:
        return read_rois(path, (n_slices, *size), picture.sides, picture.counted)
    stack = _read_label_image(path)
    if len(stack) != n_slices:
        hint = f", whose {n_channels} channels {ARE_SLICES}" if n_channels == len(stack) else ""
        raise InputError(
            f"{path}: {len(stack)} label pages for the {n_slices} slices of {picture.path}{hint}"
        )
    if list(stack.shape[1:]) != size:
        raise InputError(
            f"{path}: labels of {in_words(stack.shape[1:])} px for an image of "
            f"{in_words(size)} px, {picture.path}"
        )
    return stack


def _read_label_image(path: Path) -> np.ndarray:
    """Labels (Z, H, W) of an image file, as they are.

    Programs leave out the chunks of a Zarr where no cell is, so those are background.
    """
    try:
        labels = read_picture(path, fill_missing=True)
    except WrongColours as error:
        raise InputError(f"{path}: {error.found}, {ONE_NUMBER}") from error
    if labels.kind == "jpeg":
        raise InputError(f"{path}: labels as JPEG, which changes them: save them as TIFF or PNG")
    if (n_channels := labels.pixels.shape[1]) > 1:
        if n_channels == len(RGB):
            hint = or_slices(n_channels) if labels.axes.startswith("S") else ""
            raise InputError(f"{path}: labels in colour (3 channels){hint}, {ONE_NUMBER}")
        raise InputError(f"{path}: labels of {n_channels} channels, which {ARE_SLICES}")
    return labels.pixels[:, 0]


def read_reference(
    path: Path,
    shape: tuple[int, int, int],
    label_map: LabelMap,
    kind: str | None = None,
    image: Path | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels that a prediction is compared with, and which pixels are ignored.

    Parameters
    ----------
    path : image of labels, folder of them, or Fiji's regions.
    shape : (N, H, W) of the prediction, which regions are drawn on.
    label_map : what values mean.
    kind : "mask" or "instances"; None: a mask if the map names its cells.
    image : file of the image or the prediction, which says how many times and depths there are.

    Returns
    -------
    labels : (N, H, W) whole numbers, 0 where ignored.
    ignored : (N, H, W) bools, None where nothing is ignored.
    """
    if Path(path).suffix.lower() in OF_ROIS:
        return read_rois(path, shape, *_counted(image, shape[0])), None
    kind = kind or ("mask" if label_map.names_cells else "instances")
    _, labels = read_label_stack(path, label_map, kind)
    ignored = labels == IGNORED
    return known_labels(labels), ignored if ignored.any() else None


def _counted(image: Path | None, n_slices: int) -> tuple[dict[str, int], str] | tuple[()]:
    """How the slices of an image count, see `read_rois`; nothing if it does not say."""
    if image is None or n_slices == 1 or picture_files(image) != [image]:
        return ()
    head = read_head(image)
    counts = [head.sides[letter] for letter in head.axes if letter in "TZ"]
    return (head.sides, head.counted) if math.prod(counts) == n_slices else ()


def read_label_stack(path: Path, label_map: LabelMap, kind: str | None) -> tuple[str, np.ndarray]:
    """Labels by themselves: one image, or all of a folder that have the same size.

    Parameters
    ----------
    path : image of labels, or a folder of them.
    label_map : what their values mean.
    kind : "mask" or "instances"; None lets them tell.

    Returns
    -------
    kind; (N, H, W) uint16 array, see `LabelMap.apply`.

    Raises
    ------
    InputError : a file cannot be read, sizes differ, or there is not both cell and background.
    """
    path = Path(path)
    files = picture_files(path)
    stacks = [_read_label_image(file) for file in files]
    refuse_other_sizes(files, [stack.shape[1:] for stack in stacks])
    raw = np.concatenate(stacks)
    kind = kind or label_map.kind_of(raw)
    labels = label_map.apply(raw, kind, path)
    _refuse_one_class([labels], path)
    return kind, labels


class _Problems:
    """Collects what is wrong, so that all of it is said at once."""

    def __init__(self):
        self.found: list[InputError] = []

    def attempt(self, function: Callable, *arguments) -> Any:
        """Call a function; None if it refuses what it is given."""
        try:
            return function(*arguments)
        except InputError as error:
            self.found.append(error)
            return None

    def raise_any(self) -> None:
        if self.found:
            raise ExceptionGroup("images and labels that cannot be used", self.found)


@dataclass(frozen=True)
class _Slice:
    name: str
    sample: str
    image: np.ndarray
    labels: np.ndarray
    held_out: bool


def _read_pair(sample: Sample) -> Pair:
    picture = read_picture(sample.image)
    raw = named_integers(read_labels_of(sample.labels, picture), sample.labels)
    if len(np.unique(picture.pixels)) == 2 and len(np.unique(raw)) > 2:
        raise InputError(
            f"{sample.image}: two values only, and {sample.labels} has more: are images and labels "
            "swapped?"
        )
    return Pair(sample, picture, raw)


def _refuse_other_channels(pairs, problems) -> None:
    first = pairs[0]
    expected = first.picture.pixels.shape[1]
    for pair in pairs[1:]:
        if (found := pair.picture.pixels.shape[1]) != expected:
            problems.found.append(
                InputError(
                    f"{pair.sample.image}: {found} channels, {first.sample.image.name} has "
                    f"{expected}"
                )
            )
    problems.raise_any()


def kind_of(pairs: Sequence[Pair], label_map: LabelMap) -> str:
    """Kind of labels, "mask" or "instances", that all files together tell."""
    if any(pair.sample.labels.suffix.lower() in OF_ROIS for pair in pairs):
        return "instances"
    values = np.concatenate([np.unique(pair.raw) for pair in pairs])
    return label_map.kind_of(values)


def _slices(pair: Pair, kind: str, settings: DataSettings) -> list[_Slice]:
    """Slices of an image, of the size that is wanted."""
    sample, path = pair.sample, pair.sample.labels
    labels = settings.label_map.apply(pair.raw, kind, path)
    _refuse_meaningless(labels, kind, sample, settings)
    factor = scale_of(pair, settings)
    n_slices = len(labels)
    names = [sample.id] if n_slices == 1 else [f"{sample.id}-{z:02d}" for z in range(n_slices)]
    return [
        _made(name, sample, _rescaled(image, factor), page)
        for name, image, page in zip(names, pair.picture.pixels, labels, strict=True)
    ]


def _made(name: str, sample: Sample, image: np.ndarray, labels: np.ndarray) -> _Slice:
    """Slice of an image, with labels of its size."""
    labels = _resized_labels(labels, image.shape[-2:])
    return _Slice(name, sample.id, image, labels, sample.split == "test")


def _refuse_meaningless(labels, kind, sample, settings) -> None:
    """Refuse labels that tell nothing, or that are none."""
    known = labels != IGNORED
    if not known.any():
        raise InputError(f"{sample.labels}: every pixel is ignored")
    if len(classes := np.unique(labels[known] > 0)) < 2 and not settings.allow_empty:
        what = "cell, none background" if classes[0] else "background, none cell"
        raise InputError(
            f"{sample.labels}: every pixel is {what}: label it, or say that it is meant "
            "(--allow-empty)"
        )
    if kind == "instances" and all(map(looks_like_grey_values, labels)):
        raise InputError(
            f"{sample.labels}: numbers in many pieces each, as grey values are, expected one per "
            "cell: are images and labels swapped?"
        )


def _refuse_one_class(labels: Sequence[np.ndarray], name: Path | str) -> None:
    """Refuse labels that show only cells, or only background."""
    values = np.unique(np.concatenate([np.unique(page) for page in labels]))
    known = values[values != IGNORED]
    if not ((known == 0).any() and (known > 0).any()):
        what = ("cell" if known.any() else "background") if known.size else "ignored"
        raise InputError(f"{name}: every pixel is {what}, expected background and cells")


def _refuse_misplaced(annotated: AnnotatedImages, problems: _Problems) -> None:
    for i, j in misplaced_labels(annotated.images, annotated.labels):
        one, other = annotated.names[i], annotated.names[j]
        problems.found.append(
            InputError(
                f"{one}: its labels do not fit it, those of {other} do: put them right, or say "
                "that they are (--trust-pairs)"
            )
        )


def scale_of(pair: Pair, settings: DataSettings) -> float:
    """How many times longer the sides of an image become, see `unetcore.data.rescaling`."""
    own = pair.sample.pixel_size_um or pair.picture.pixel_size
    wanted, how = settings.pixel_size_um, "pixel_size_um in the sample sheet"
    return scale_factor(own, wanted, str(pair.sample.image), how=how)


def _rescaled(image: np.ndarray, factor: float) -> np.ndarray:
    """Image (C, H, W) on another pixel size; as it is where the factor is 1."""
    return image if factor == 1 else rescaled(grey_values(image, "slice", "image"), factor)


def _resized_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels (H, W) of another size, each pixel that of the nearest."""
    if labels.shape == size:
        return labels
    return resize(
        labels, size, order=0, mode="edge", anti_aliasing=False, preserve_range=True
    ).astype(labels.dtype)
