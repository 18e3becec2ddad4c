"""The list of a dataset's frames, and how it is split into training and test frames."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from unetcore.data.files import replacing
from unetcore.errors import InputError

OFFICIAL = "official"
SPLITS = ("train", "test")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Frame:
    """One image of a dataset: a slice of a stack, or a frame of a movie.

    Parameters
    ----------
    index : page of ``images.tif`` and ``labels.tif``, counted from 0.
    id : name that is unique in the dataset, as ``train-07`` or ``01-067``.
    sequence : stack or movie it belongs to.
    labelled : whether its page of ``labels.tif`` means something.
    partial : whether only some of its cells are annotated. The others look like background.
    split : ``train`` or ``test``, as the data's authors published it.
    """

    index: int
    id: str
    sequence: str
    labelled: bool
    partial: bool
    split: str


COLUMNS = tuple(field.name for field in fields(Frame))


def write_frames(path: Path, frames: Sequence[Frame]) -> None:
    """Write frames as a CSV file with one row each, whole or not at all.

    Parameters
    ----------
    path : file to write; its folder is made where it is missing.
    frames : the frames, in the order of their pages.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for frame in frames:
            row = asdict(frame)
            writer.writerow(
                {
                    **row,
                    "labelled": str(frame.labelled).lower(),
                    "partial": str(frame.partial).lower(),
                }
            )


def read_frames(path: Path) -> list[Frame]:
    """Read the frames of a dataset.

    Parameters
    ----------
    path : CSV file as `write_frames` makes it.

    Returns
    -------
    list of `Frame`, in the order of their pages.

    Raises
    ------
    InputError : no such file, other columns, a value that does not fit, or an id used twice.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            found = ",".join(reader.fieldnames or ())
            raise InputError(f"{path}: columns {found!r}, expected {','.join(COLUMNS)!r}")
        frames = [_frame(row, index, path) for index, row in enumerate(reader)]
    _refuse_doubles([frame.id for frame in frames], path)
    return frames


def fold_names(frames: Sequence[Frame], scheme: Mapping[str, int | str | None]) -> list[str]:
    """Names of the folds that a scheme makes of these frames.

    Parameters
    ----------
    frames : frames of one dataset.
    scheme : ``{"blocks": n}`` or ``{"by": "sequence"}``, see `split_frames`.

    Returns
    -------
    list of str; ``official`` is among them where the dataset has test frames.

    Raises
    ------
    InputError : the scheme is none of the two, or there are fewer frames than blocks.
    """
    names = list(_tested_frames(frames, scheme))
    return [*names, OFFICIAL] if any(frame.split == "test" for frame in frames) else names


def split_frames(
    frames: Sequence[Frame], scheme: Mapping[str, int | str | None], fold: str
) -> tuple[list[Frame], list[Frame]]:
    """Split the frames of a dataset into training and test frames.

    Neighbouring slices look alike, and so do the frames of one movie: a random split would leak
    the test frames into the training. So stacks are cut into contiguous blocks, and movies are
    kept whole.

    Parameters
    ----------
    frames : frames of one dataset, in the order of their pages.
    scheme : how folds are made of the labelled training frames. ``{"blocks": n}``: n contiguous
        blocks, fold ``"0"`` to ``"n-1"`` names the block tested. ``{"by": "sequence"}``: the fold
        is the name of the sequence tested. Either may hold ``"training_frames": n`` too: only so
        many of the frames outside the fold are trained on, evenly spread over them; None for all.
    fold : name of the fold, or ``official`` with any scheme: train on all labelled frames of the
        split ``train`` and test on all frames of the split ``test``, labelled or not.

    Returns
    -------
    training, test : lists of `Frame`, in order, without a common frame. A partial frame is tested
        but never trained on: its cells without annotation would be taught as background.

    Raises
    ------
    InputError : unknown scheme or fold, no frame is left to train on or to test, or there are
        fewer training frames than asked for.

    Examples
    --------
    >>> stack = [Frame(i, f"train-{i:02d}", "train", True, False, "train") for i in range(4)]
    >>> training, test = split_frames(stack, {"blocks": 2}, "0")
    >>> [frame.id for frame in training], [frame.id for frame in test]
    (['train-02', 'train-03'], ['train-00', 'train-01'])
    """
    known = fold_names(frames, scheme)
    if fold not in known:
        raise InputError(f"fold {fold!r} is not among {', '.join(known)}")
    if fold == OFFICIAL:
        test = [frame for frame in frames if frame.split == "test"]
    else:
        test = _tested_frames(frames, scheme)[fold]
    training = [frame for frame in _labelled(frames) if frame not in test and not frame.partial]
    if not training:
        raise InputError(f"fold {fold!r}: no fully labelled frame is left to train on")
    wanted = scheme.get("training_frames")
    return training if wanted is None else _spread(training, wanted, fold), test


def _spread(training: list[Frame], n: int, fold: str) -> list[Frame]:
    """Choose n frames, each the middle one of n parts of equal length."""
    if not 1 <= n <= len(training):
        raise InputError(
            f"training_frames {n}: fold {fold!r} leaves {len(training)} to train on, need 1 to "
            f"{len(training)}"
        )
    return [training[(2 * k + 1) * len(training) // (2 * n)] for k in range(n)]


def _labelled(frames: Sequence[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.split == "train" and frame.labelled]


def _tested_frames(
    frames: Sequence[Frame], scheme: Mapping[str, int | str | None]
) -> dict[str, list[Frame]]:
    """Test frames of every fold of a scheme, by the fold's name."""
    labelled = _labelled(frames)
    match {key: value for key, value in scheme.items() if key != "training_frames"}:
        case {"blocks": int(n), **rest} if not rest:
            return _blocks(labelled, n)
        case {"by": "sequence", **rest} if not rest:
            sequences = dict.fromkeys(frame.sequence for frame in labelled)
            return {name: [f for f in labelled if f.sequence == name] for name in sequences}
    raise InputError(f'folds {dict(scheme)}: expected {{"blocks": n}} or {{"by": "sequence"}}')


def _blocks(labelled: list[Frame], n: int) -> dict[str, list[Frame]]:
    """Cut frames into n contiguous blocks whose lengths differ by one at most."""
    if not 1 < n <= len(labelled):
        raise InputError(
            f"folds of {n} blocks: expected 2 to {len(labelled)}, one labelled frame each"
        )
    cuts = [len(labelled) * block // n for block in range(n + 1)]
    return {str(block): labelled[cuts[block] : cuts[block + 1]] for block in range(n)}


def _frame(row: Mapping[str, str], index: int, path: Path) -> Frame:
    """One row of the file, checked value by value."""
    where = f"{path}: line {index + 2}"  # the header is line 1
    if None in row or None in row.values():
        raise InputError(f"{where}: expected {len(COLUMNS)} values")
    if row["index"] != str(index):
        raise InputError(f"{where}: index {row['index']!r}, expected {index}")
    for column in ("labelled", "partial"):
        if row[column] not in _BOOLEANS:
            raise InputError(f"{where}: {column} {row[column]!r}, expected true or false")
    if row["split"] not in SPLITS:
        raise InputError(f"{where}: split {row['split']!r}, expected {' or '.join(SPLITS)}")
    return Frame(
        index,
        row["id"],
        row["sequence"],
        _BOOLEANS[row["labelled"]],
        _BOOLEANS[row["partial"]],
        row["split"],
    )


def _refuse_doubles(ids: list[str], path: Path) -> None:
    if doubled := sorted({name for name in ids if ids.count(name) > 1}):
        raise InputError(f"{path}: id {doubled[0]!r} is used more than once")
