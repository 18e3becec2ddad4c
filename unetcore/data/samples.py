"""Which image has which labels: sample sheets, and folders by the names of their files."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unetcore.data.files import is_folder, write_atomically
from unetcore.errors import InputError

SPLITS = ("train", "test")
COLUMNS = ("id", "image", "labels", "split")
OPTIONAL = ("pixel_size_um",)
IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".zarr")
LABEL_SUFFIXES = (*IMAGE_SUFFIXES, ".zip", ".roi")
FOLDERS_OF_IMAGES = ("images", "image", "imgs", "raw")
FOLDERS_OF_LABELS = (
    *("labels", "label", "masks", "mask", "seg", "segmentation", "segmentations"),
    *("annotations", "gt", "rois"),
)
FOLDERS_OF_SPLITS = {"train": "train", "test": "test", "val": "test", "validation": "test"}
OF_LABELS = r"labels?|masks?|seg|segmentation|annotations?|rois?|roiset|gt"
OF_IMAGES = r"images?|img|raw|volume"


@dataclass(frozen=True)
class Sample:
    """An image and its labels; one row of a sample sheet.

    Attributes
    ----------
    id : name that is unique in the sheet.
    image, labels : files.
    split : "train", or "test" for one that is not trained on.
    pixel_size_um : side of a pixel in micrometres, where the file does not say; else None.
    """

    id: str
    image: Path
    labels: Path
    split: str = "train"
    pixel_size_um: float | None = None


def find_samples(images: Path, labels: Path | None = None) -> list[Sample]:
    """Find images and labels that belong together.

    Parameters
    ----------
    images : one image; a folder of images; and without `labels` a sample sheet (`.csv`), or a
        folder with both: `images/` beside `labels/` (or `masks/`), or files whose names tell, such
        as `a.tif` and `a_labels.tif`. Such folders may stand in `train/` and `test/` (or `val/`).
    labels : the labels of one image, or a folder of them. A pair has the same name, up to words
        like "labels" or "mask". Where no name has a partner and there are as many labels as
        images, they are taken in the order of their names.

    Returns
    -------
    list of `Sample`, in the order of the sheet or of the images' names.

    Raises
    ------
    InputError : there is no such path, or nothing in it.
    ExceptionGroup : of one InputError for each image without labels, and the reverse.
    """
    images = Path(images)
    if not images.exists():
        raise InputError(f"{images}: no such file or folder")
    if labels is None:
        return _samples_of_one_path(images)
    labels = Path(labels)
    if not labels.exists():
        raise InputError(f"{labels}: no such file or folder")
    if is_folder(images) != is_folder(labels):
        one, other = ("folder", "file") if is_folder(images) else ("file", "folder")
        raise InputError(f"{images} is a {one} and {labels} a {other}: need two of a kind")
    if not is_folder(images):
        return [Sample(_stem(images), images, labels)]
    return _pairs(_files(images, IMAGE_SUFFIXES), _files(labels, LABEL_SUFFIXES), images, labels)


def read_samples(path: Path) -> list[Sample]:
    """Read a sample sheet.

    Parameters
    ----------
    path : CSV file, parted by commas, semicolons or tabs, with the columns id, image, labels,
        split, and if wanted pixel_size_um. Files are named from the folder of the sheet. An empty
        split is "train".

    Raises
    ------
    InputError : no such file, other columns, or no row.
    ExceptionGroup : of one InputError for each row that breaks a rule, with its line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        text = path.read_text("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text), delimiter=delimiter_of(text))
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    found = tuple(reader.fieldnames or ())
    if missing := [column for column in COLUMNS if column not in found]:
        raise InputError(f"{path}: no column {missing[0]!r}, expected {','.join(COLUMNS)}")
    if unknown := [column for column in found if column not in COLUMNS + OPTIONAL]:
        raise InputError(f"{path}: unknown column {unknown[0]!r}, expected {','.join(COLUMNS)}")
    if not rows:
        raise InputError(f"{path}: no row below the header")
    samples, problems, lines = [], [], {}
    for line, row in enumerate(rows, start=2):
        try:
            sample = _sample(row, path.parent, f"{path}: line {line}")
            if sample.id in lines:
                raise InputError(
                    f"{path}: line {line}: id {sample.id!r} is that of line {lines[sample.id]}"
                )
        except InputError as error:
            problems.append(error)
            continue
        lines[sample.id] = line
        samples.append(sample)
    if problems:
        raise ExceptionGroup("rows that cannot be used", problems)
    return samples


def labels_by_key(path: Path) -> dict[str, Path]:
    """Labels by themselves, by the key of their images, see `key_of_image`.

    Parameters
    ----------
    path : file of labels, or a folder. Of two files of one key, as `a.tif` and `a_labels.tif`, the
        one whose name tells is meant.

    Raises
    ------
    InputError : there is no such path, no labels are in it, or two mean the same image.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    files = _files(path, LABEL_SUFFIXES) if is_folder(path) else [path]
    if not files:
        raise InputError(f"{path}: no labels in this folder (none of {', '.join(LABEL_SUFFIXES)})")
    told = [file for file in files if _says_labels(file)]
    others = [file for file in files if file not in told]
    return _by_key(others, _key_of_labels) | _by_key(told, _key_of_labels)


def holds_images_and_labels(folder: Path) -> bool:
    """Whether a folder has folders of both in it, or one of what is trained on."""
    inside = [entry.name.lower() for entry in Path(folder).iterdir() if is_folder(entry)]
    both = FOLDERS_OF_IMAGES, FOLDERS_OF_LABELS
    return "train" in inside or all(any(name in inside for name in names) for names in both)


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write a sample sheet, whole or not at all; files in its folder are named from there."""
    path = Path(path)
    sized = any(sample.pixel_size_um for sample in samples)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, *(OPTIONAL if sized else ())))
    for sample in samples:
        files = [_named_from(path.parent, file) for file in (sample.image, sample.labels)]
        size = [sample.pixel_size_um or ""] if sized else []
        writer.writerow((sample.id, *files, sample.split, *size))
    write_atomically(path, text.getvalue().encode())


def delimiter_of(text: str) -> str:
    """What parts columns of a CSV file: a comma, or what spreadsheets of some countries write."""
    header = text.partition("\n")[0]
    return next((sign for sign in (",", ";", "\t") if sign in header), ",")


def _sample(row: dict, folder: Path, where: str) -> Sample:
    """One row, checked value by value."""
    if None in row or None in row.values():
        raise InputError(f"{where}: expected as many values as columns")
    values = {column: value.strip() for column, value in row.items()}
    for column in ("id", "image", "labels"):
        if not values[column]:
            raise InputError(f"{where}: no {column}")
    if (split := values["split"] or "train") not in SPLITS:
        raise InputError(f"{where}: split {split!r}, expected {' or '.join(SPLITS)}")
    files = [folder / values[column] for column in ("image", "labels")]
    for file in files:
        if not file.exists():
            raise InputError(f"{where}: {file}: no such file")
    return Sample(values["id"], *files, split, _size(values.get("pixel_size_um"), where))


def _size(text: str | None, where: str) -> float | None:
    if not text:
        return None
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise InputError(f"{where}: pixel_size_um {text!r}, expected a number above 0")
    return size


def _samples_of_one_path(path: Path) -> list[Sample]:
    if path.suffix.lower() == ".csv":
        return read_samples(path)
    if not is_folder(path):
        raise InputError(f"{path}: no labels given with it, and it is no sample sheet (.csv)")
    inside = {entry.name.lower(): entry for entry in path.iterdir() if is_folder(entry)}
    images = next((inside[name] for name in FOLDERS_OF_IMAGES if name in inside), None)
    labels = next((inside[name] for name in FOLDERS_OF_LABELS if name in inside), None)
    if images and labels:
        return find_samples(images, labels)
    if "train" in inside and not (images or labels):
        return _samples_of_splits(
            {name: inside[name] for name in FOLDERS_OF_SPLITS if name in inside}
        )
    if images or labels:
        raise InputError(
            f"{path}: has the folder {(images or labels).name}/ and no "
            f"{'labels' if images else 'images'}/ beside it"
        )
    files = _files(path, LABEL_SUFFIXES)
    are_labels = [file for file in files if _says_labels(file)]
    are_images = [file for file in files if file not in are_labels]
    if not are_labels:
        raise InputError(
            f"{path}: no labels in it: name them as their images with _labels added, or put images "
            "into images/ and labels into labels/"
        )
    return _pairs(are_images, are_labels, path, path)


def _samples_of_splits(folders: Mapping[str, Path]) -> list[Sample]:
    """Samples of folders whose names say what is trained on; ids say where the others are."""
    found = []
    for name, folder in folders.items():
        before = "" if name == "train" else f"{name}-"
        found += [
            replace(sample, id=before + sample.id, split=FOLDERS_OF_SPLITS[name])
            for sample in find_samples(folder)
        ]
    return found


def _pairs(
    images: Sequence[Path], labels: Sequence[Path], image_folder: Path, label_folder: Path
) -> list[Sample]:
    """Pair files by their names."""
    for folder, files, what in (
        (image_folder, images, "image"),
        (label_folder, labels, "labels"),
    ):
        if not files:
            raise InputError(
                f"{folder}: no {what} in this folder (none of {', '.join(IMAGE_SUFFIXES)})"
            )
    of_image, of_labels = _by_key(images, key_of_image), _by_key(labels, _key_of_labels)
    if not of_image.keys() & of_labels.keys() and len(images) == len(labels):
        pairs = list(zip(images, labels, strict=True))
    else:
        _refuse_alone(of_image, of_labels, label_folder, image_folder)
        pairs = [(of_image[key], of_labels[key]) for key in of_image]
    return [Sample(_stem(image), image, label) for image, label in pairs]


def _refuse_alone(of_image, of_labels, label_folder, image_folder) -> None:
    """Refuse images without labels, and labels without an image."""
    problems = [
        InputError(f"{file}: no labels of this name in {label_folder}")
        for key, file in of_image.items()
        if key not in of_labels
    ]
    problems += [
        InputError(f"{file}: no image of this name in {image_folder}")
        for key, file in of_labels.items()
        if key not in of_image
    ]
    if problems:
        raise ExceptionGroup("files without a partner", problems)


def _by_key(files: Iterable[Path], key_of: Callable[[Path], str]) -> dict[str, Path]:
    """Files by their name without the words that tell images from labels."""
    found: dict[str, Path] = {}
    for file in files:
        key = key_of(file)
        if key in found:
            raise InputError(f"{file}: means the same image as {found[key].name}")
        found[key] = file
    return found


def key_of_image(image: Path) -> str:
    """By what an image is paired with its labels: its name without words like "image".

    Examples
    --------
    >>> key_of_image(Path("day 1/Image_7.ome.tif"))
    '7'
    """
    return _without(OF_IMAGES, _stem(image)).lower()


def _key_of_labels(labels: Path) -> str:
    """Name without words like "labels", and then like that of the image."""
    return _without(OF_IMAGES, _without(OF_LABELS, _stem(labels))).lower()


def _without(words: str, name: str) -> str:
    return re.sub(rf"(^|[-_ .])({words})$|^({words})[-_ .]", "", name, flags=re.IGNORECASE)


def _says_labels(file: Path) -> bool:
    """Whether a name holds a word like "labels" at its end or its beginning, or is of regions."""
    said = rf"[-_ .]({OF_LABELS})$|^({OF_LABELS})[-_ .]"
    return _is_roi(file) or bool(re.search(said, _stem(file), re.IGNORECASE))


def _stem(path: Path) -> str:
    """Name without suffix, also without that of OME."""
    stem = path.stem if path.suffix else path.name
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def _is_roi(file: Path) -> bool:
    return file.suffix.lower() in (".zip", ".roi")


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files of these kinds in the order of their names, without hidden ones."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in suffixes and not entry.name.startswith(".")
    )


def _named_from(folder: Path, file: Path) -> str:
    """Path of a file as a sheet in a folder names it."""
    file, folder = file.resolve(), folder.resolve()
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)
