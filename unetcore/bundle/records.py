"""What is on record of trainings, in one small file: what tables, claims and curves are made of.

No map and no model is in it, and nothing that shows a pixel of an image. Its files, put where the
workflow would have made them, let it make the tables again, and train only what is not among them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from unetcore.bundle.archive import PREDICTION, RECORDS, SEAM, Archive, writing
from unetcore.data.files import write_atomically
from unetcore.data.io import pixel_digest, read_images, read_labels
from unetcore.differences import differences
from unetcore.errors import InputError

METRICS = "metrics.json"
EXPERIMENTS = "experiments.json"
RUN = RECORDS[-1]

# Each is made from those before it, and Snakemake repeats what is older than what it was made from.
IN_ORDER = (*RECORDS, PREDICTION, METRICS, SEAM)

KINDS = ("runs", "predictions", "seams")
SHORTEST = 5  # parts of a path: kind, experiment, fold, seed or method, file


@dataclass(frozen=True)
class Placed:
    """What came of placing records.

    Attributes
    ----------
    files : that are in place now, or were before.
    left_out : by experiment, why none of its records was taken.
    kept : folders, as "em/fold-0/seed-1", of trainings that were made here, and stay.
    """

    files: list[Path]
    left_out: dict[str, str]
    kept: list[str]


def with_data(
    settings: Mapping[str, Mapping],
    images: Sequence[Path],
    labels: Sequence[Path],
    frames: Sequence[Path],
) -> dict[str, dict]:
    """Settings of experiments with the digests of their data.

    Parameters
    ----------
    settings : by experiment, the name of its dataset among them.
    images, labels, frames : canonical files of each dataset, in a folder of its name.

    Raises
    ------
    InputError : a stack that cannot be read.
    """
    digests = {
        images_of.parent.name: {
            "images": pixel_digest(read_images(images_of)),
            "labels": pixel_digest(read_labels(labels_of)),
            "frames": hashlib.sha256(frames_of.read_bytes()).hexdigest(),
        }
        for images_of, labels_of, frames_of in zip(images, labels, frames, strict=True)
    }
    return {name: {**own, "data": digests[own["dataset"]]} for name, own in settings.items()}


def experiment_of(path: Path | PurePosixPath) -> str:
    """Experiment that a record is of, by its path below the folder of results.

    Examples
    --------
    >>> experiment_of(Path("predictions/em/fold-0/seed-1/u-net+d4/metrics.json"))
    'em'
    """
    return PurePosixPath(path).parts[1]


def pack_records(
    path: Path,
    folder: Path,
    files: Iterable[Path],
    experiments: Mapping[str, Mapping],
) -> int:
    """Write what is on record of some trainings; the same records make the same bytes.

    Parameters
    ----------
    path : file to be made or replaced.
    folder : of the workflow's results.
    files : records below it, each called as one of `IN_ORDER`; each is written once.
    experiments : all that decides what comes of each, its data by their digests.

    Returns
    -------
    Number of records.

    Raises
    ------
    ValueError : a file of another name, or of an experiment without settings.
    """
    inside = list(dict.fromkeys(Path(file).relative_to(folder) for file in files))
    names = dict.fromkeys(map(experiment_of, inside))
    if missing := [name for name in names if name not in experiments]:
        raise ValueError(f"no settings of experiment {missing[0]!r}")
    if unknown := [file for file in inside if file.name not in IN_ORDER]:
        raise ValueError(f"{unknown[0]}: not one of the records {', '.join(IN_ORDER)}")
    with writing(path) as archive:
        chosen = {name: experiments[name] for name in names}
        archive.add(EXPERIMENTS, json.dumps(chosen, indent=1))
        for file in inside:
            archive.add(file.as_posix(), (Path(folder) / file).read_bytes())
    return len(inside)


def read_experiments(path: Path) -> dict[str, dict]:
    """Experiments on record, and all that decided what came of them.

    Raises
    ------
    InputError : no such file, or a damaged one.
    """
    return Archive(path).read_record(EXPERIMENTS)


def place_records(path: Path, folder: Path, experiments: Mapping[str, Mapping]) -> Placed:
    """Put records where the workflow would have made them, so that it takes them for its own.

    Experiments that the configuration does not have, or has otherwise, are left out. A training
    that was made here stays, with all that is there of it, and so does any file that is there.

    Parameters
    ----------
    path : file of `pack_records`.
    folder : of the workflow's results.
    experiments : what the configuration asks for now, as for `pack_records`.

    Raises
    ------
    InputError : no such file, a damaged one, or none of its experiments is asked for.
    """
    records = _records(path)
    left_out = _left_out(read_experiments(path), experiments)
    wanted = {name: data for name, data in records.items() if experiment_of(name) not in left_out}
    if not wanted:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:2])
        raise InputError(f"{path}: nothing in it is what the configuration asks for ({reasons})")
    made_here = _made_here(wanted, folder)
    placed = []
    for name in sorted(wanted, key=lambda name: (IN_ORDER.index(name.name), name)):
        if _training(name) not in made_here:
            placed.append(Path(folder) / name)
            if not placed[-1].exists():
                write_atomically(placed[-1], wanted[name])
    return Placed(placed, left_out, sorted(made_here))


def _records(path: Path) -> dict[PurePosixPath, bytes]:
    """Content of each record by its path; none that could lie elsewhere than below the results."""
    contents = {PurePosixPath(name): data for name, data in Archive(path).read_all().items()}
    contents.pop(PurePosixPath(EXPERIMENTS), None)
    for name in contents:
        is_known = name.parts[0] in KINDS and name.name in IN_ORDER and len(name.parts) >= SHORTEST
        if not is_known or ".." in name.parts:
            raise InputError(f"{path}: {name} is no record of a training")
    return contents


def _left_out(recorded: Mapping[str, Mapping], asked: Mapping[str, Mapping]) -> dict[str, str]:
    """Why the records of an experiment cannot stand for what is asked for, if they cannot."""
    reasons = {}
    for name, settings in recorded.items():
        if name not in asked:
            reasons[name] = "the configuration has no such experiment"
        elif found := differences(settings, json.loads(json.dumps(asked[name]))):
            reasons[name] = f"made otherwise than the configuration says ({found})"
    return reasons


def _made_here(records: Mapping[PurePosixPath, bytes], folder: Path) -> set[str]:
    """Folders of trainings that are there and are not those of the records."""
    there = {name: Path(folder) / name for name in records if name.name == RUN}
    return {
        _training(name)
        for name, path in there.items()
        if path.exists() and path.read_bytes() != records[name]
    }


def _training(name: PurePosixPath) -> str:
    """Folder of the training that a record is of, below those of runs, predictions and seams."""
    return "/".join(name.parts[1:4])
