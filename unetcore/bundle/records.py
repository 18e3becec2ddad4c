"""What is on record of trainings, in one small file: what tables and claims are made of.

No map and no model is in it, and nothing that shows a pixel of an image. Its files, put where the
workflow would have made them, let it make the tables again, and train only what is not among them.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from unetcore.bundle.archive import PREDICTION, RECORDS, SEAM, Archive, writing
from unetcore.data.files import write_atomically
from unetcore.differences import differences
from unetcore.errors import InputError

RUN = "run.json"
METRICS = "metrics.json"
SETTINGS = "experiments.json"

# Each is made from those before it, and Snakemake repeats what is older than what it was made from.
RECORD_NAMES = (*RECORDS, PREDICTION, METRICS, SEAM)

KINDS = ("runs", "predictions", "seams")
MADE_OF_RECORDS = ("tables/*.*", "studies/*.*", "figures/*/loss_curves.svg")
FEWEST_PARTS = 5  # of a path: kind, experiment, fold, seed or method, file

Records = dict[PurePosixPath, bytes]  # content by path below the folder of results


@dataclass(frozen=True)
class Placed:
    """What came of placing records.

    Attributes
    ----------
    files : that were written, in the order in which one is made from another.
    left_out : by experiment, why none of its records was taken.
    kept : folders, as "em/fold-0/seed-1", of trainings that were made here, and stay.
    removed : files of an earlier call that are no longer asked for, and what was made of them.
    """

    files: list[Path]
    left_out: dict[str, str]
    kept: list[str]
    removed: list[Path]


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

    Returns
    -------
    dict, the same with a section "data".

    Raises
    ------
    InputError : a stack that cannot be read.
    """
    # Snakemake reads this module with the rules, and may stand where nothing reads images.
    from unetcore.data.io import pixel_digest, read_images, read_labels

    digests = {
        images_of.parent.name: {
            "images": pixel_digest(read_images(images_of)),
            "labels": pixel_digest(read_labels(labels_of)),
            "frames": _digest(frames_of.read_bytes()),
        }
        for images_of, labels_of, frames_of in zip(images, labels, frames, strict=True)
    }
    return {name: {**own, "data": digests[own["dataset"]]} for name, own in settings.items()}


def pack_records(
    path: Path, folder: Path, files: Iterable[Path], experiments: Mapping[str, Mapping]
) -> int:
    """Write what is on record of some trainings; the same records make the same bytes.

    Parameters
    ----------
    path : file to be made or replaced.
    folder : of the workflow's results.
    files : records below it, each called as one of `RECORD_NAMES`; each is written once.
    experiments : settings of each, with the digests of its data.

    Returns
    -------
    Number of records.

    Raises
    ------
    InputError : a training was made by other settings than its experiment's.
    ValueError : a file of another name, or of an experiment without settings.
    """
    inside = dict.fromkeys(PurePosixPath(Path(file).relative_to(folder)) for file in files)
    if unknown := [name for name in inside if name.name not in RECORD_NAMES]:
        raise ValueError(f"{unknown[0]}: not one of the records {', '.join(RECORD_NAMES)}")
    names = dict.fromkeys(map(_experiment, inside))
    if missing := [name for name in names if name not in experiments]:
        raise ValueError(f"no settings of experiment {missing[0]!r}")
    records = {name: (Path(folder) / name).read_bytes() for name in inside}
    _check_settings(records, experiments)
    with writing(path) as archive:
        archive.add(SETTINGS, json.dumps({name: experiments[name] for name in names}, indent=1))
        for name, content in records.items():
            archive.add(str(name), content)
    return len(records)


def read_experiments(path: Path) -> dict[str, dict]:
    """Experiments on record, with the settings and digests that `pack_records` was given.

    Raises
    ------
    InputError : no such file, or a damaged one.
    """
    return Archive(path).read_record(SETTINGS)


def place_records(
    path: Path, folder: Path, experiments: Mapping[str, Mapping], manifest: Path
) -> Placed:
    """Put records where the workflow would have made them, so that it takes them for its own.

    A training that was made here stays as it is. What an earlier call placed is written anew, with
    new times: from an archive that has changed, or removed where it is no longer asked for.

    Parameters
    ----------
    path : file of `pack_records`.
    folder : of the workflow's results.
    experiments : what the configuration asks for now, as for `pack_records`. One that the archive
        has otherwise is left out.
    manifest : what was placed, for the next call and for `settings_since`; made or replaced.

    Returns
    -------
    Placed.

    Raises
    ------
    InputError : no such file, a damaged one, or none of its experiments is asked for; in the last
        case what an earlier call placed is removed before.
    """
    recorded = read_experiments(path)
    records = _records(path, recorded)
    left_out = _left_out(recorded, experiments)
    wanted = {name: data for name, data in records.items() if _experiment(name) not in left_out}
    placed_before = _read_manifest(manifest).get("files", {})
    kept = _made_here(wanted, folder, placed_before)
    ours = {name: data for name, data in wanted.items() if _training(name) not in kept}
    removed = _remove(folder, placed_before, ours)
    files = []
    for name in sorted(ours, key=lambda name: (RECORD_NAMES.index(name.name), name)):
        write_atomically(Path(folder) / name, ours[name])
        files.append(Path(folder) / name)
    _write_manifest(
        manifest, recorded, ours
    )  # last: a call that is cut short is made good by the next
    if not wanted:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:2])
        raise InputError(f"{path}: nothing in it is what the configuration asks for ({reasons})")
    return Placed(files, left_out, sorted(kept), removed)


def settings_since(manifest: Path, experiments: Mapping[str, Mapping]) -> dict[str, str]:
    """How experiments differ now from the records of them that were placed.

    Parameters
    ----------
    manifest : of `place_records`; nothing was placed where it is missing.
    experiments : settings now, without the digests of data.

    Returns
    -------
    dict of str, differences in words by experiment, of those that have any.
    """
    found = {}
    for name, settings in _read_manifest(manifest).get("experiments", {}).items():
        then = {key: value for key, value in settings.items() if key != "data"}
        if name in experiments and (words := differences(then, _plain(experiments[name]))):
            found[name] = words
    return found


def _check_settings(records: Records, experiments: Mapping[str, Mapping]) -> None:
    """Refuse trainings whose record says other settings than their experiment's.

    A record without a setting is older than it: by its default, the same network came out.
    """
    for name, content in records.items():
        if name.name == RUN:
            made = json.loads(content)
            asked = experiments[_experiment(name)]
            for section in ("training", "augmentation"):
                there = made.get(section, {})
                now = {k: v for k, v in asked.get(section, {}).items() if k in there}
                if words := differences({key: there[key] for key in now}, _plain(now)):
                    raise InputError(f"{name}: made by other settings ({section}: {words})")


def _records(path: Path, experiments: Collection[str]) -> Records:
    """Content of each record; none that has no settings, or could lie outside the results."""
    contents = Archive(path).read_all()
    records = {PurePosixPath(name): data for name, data in contents.items() if name != SETTINGS}
    for name in records:
        is_known = len(name.parts) >= FEWEST_PARTS and name.name in RECORD_NAMES
        if not is_known or name.parts[0] not in KINDS or ".." in name.parts:
            raise InputError(f"{path}: {name} is no record of a training")
        if _experiment(name) not in experiments:
            raise InputError(f"{path}: {name}: no settings of its experiment in {SETTINGS}")
    return records


def _left_out(recorded: Mapping[str, Mapping], asked: Mapping[str, Mapping]) -> dict[str, str]:
    """Why the records of an experiment cannot stand for what is asked for, if they cannot."""
    reasons = {}
    for name, settings in recorded.items():
        if name not in asked:
            reasons[name] = "the configuration has no such experiment"
        elif words := differences(settings, _plain(asked[name])):
            reasons[name] = f"made otherwise than the configuration says ({words})"
    return reasons


def _made_here(records: Records, folder: Path, placed_before: Mapping[str, str]) -> set[str]:
    """Trainings whose first file, or of a threshold whose scores, nobody has placed."""
    trained = {_training(name) for name in records if name.name == RUN}
    found = set()
    for name, content in records.items():
        if name.name == (RUN if _training(name) in trained else METRICS):
            there = _digest_of_file(Path(folder) / name)
            if there not in (None, _digest(content), placed_before.get(str(name))):
                found.add(_training(name))
    return found


def _remove(folder: Path, placed_before: Mapping[str, str], wanted: Records) -> list[Path]:
    """Remove what an earlier call placed, is as it was then, and is not wanted any more.

    Tables and curves that may be made of it go, too: Snakemake makes no file again because of
    another that is gone.
    """
    gone = [
        Path(folder) / name
        for name, digest in placed_before.items()
        if PurePosixPath(name) not in wanted and _digest_of_file(Path(folder) / name) == digest
    ]
    made_of_them = [path for pattern in MADE_OF_RECORDS for path in Path(folder).glob(pattern)]
    removed = [*gone, *made_of_them] if gone else []
    for path in removed:
        path.unlink()
    return removed


def _read_manifest(manifest: Path) -> dict:
    """Settings by experiment and digests by file of what was placed, empty for nothing."""
    return json.loads(Path(manifest).read_text("utf-8")) if Path(manifest).exists() else {}


def _write_manifest(manifest: Path, recorded: Mapping[str, Mapping], ours: Records) -> None:
    """Note what is placed, and by which settings it was made."""
    names = dict.fromkeys(map(_experiment, ours))
    noted = {
        "experiments": {name: recorded[name] for name in names},
        "files": {str(name): _digest(content) for name, content in ours.items()},
    }
    write_atomically(Path(manifest), json.dumps(noted, indent=1).encode())


def _experiment(name: PurePosixPath) -> str:
    """Experiment that a record is of."""
    return name.parts[1]


def _training(name: PurePosixPath) -> str:
    """Folder of the training that a record is of, below those of runs, predictions and seams."""
    return "/".join(name.parts[1:4])


def _plain(settings: Mapping) -> dict:
    """Settings as they are read back from JSON."""
    return json.loads(json.dumps(settings))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of_file(path: Path) -> str | None:
    """Digest of a file, None where there is none."""
    return _digest(path.read_bytes()) if path.exists() else None
