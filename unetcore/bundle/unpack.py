"""Results of a bundle, put where the workflow would have made them."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from unetcore.bundle.archive import MAP, MODEL, PREDICTION, RECORDS, SEAM, Archive
from unetcore.bundle.maps import from_levels
from unetcore.bundle.plan import Plan, Training
from unetcore.data.files import write_atomically
from unetcore.data.frames import split_frames
from unetcore.data.io import write_stack
from unetcore.differences import differences
from unetcore.errors import InputError

PROBABILITY = "probability.tif"
OF_THE_MACHINE = ("train_seconds", "hardware", "threads", "processes")  # of run.json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unpacked:
    """What came of taking results back.

    Attributes
    ----------
    placed : files of maps that are in place now.
    missing : trainings of the plan that the results do not hold.
    """

    placed: list[Path]
    missing: list[Training]


def unpack_results(path: Path, plan: Plan, folder: Path) -> Unpacked:
    """Put the results of a bundle where the workflow would have made them.

    Nothing is written before all of the results are known to belong here. What is there already
    from an earlier call stays as it is.

    Parameters
    ----------
    path : file that ``python BUNDLE --out`` wrote.
    plan : what the configuration asks for now.
    folder : of the workflow's results.

    Raises
    ------
    InputError : a damaged file; results of other settings, data or code than the plan's, or that it
        does not ask for; a training that is there already, and is another, or was not predicted in
        all ways that the plan asks for; predictions without their training.
    """
    results = Archive(path)
    made, names = results.read_plan(), results.names()
    found = [t for t in made.trainings() if f"runs/{t.folder}/{RECORDS[-1]}" in names]
    placed, new = [], []
    for training in found:
        _check_belongs(results, made, training, plan)
        if _is_made_twice(results, training, folder):
            placed += _kept(results, training, plan, folder)
            logger.info("%s: is there, by the same settings, and is kept", training)
        else:
            _check_place(results, training, plan, folder)
            new.append(training)
    for training in new:
        _place_run(results, training, folder, names)
        for method in plan.experiments[training.experiment]["methods"]:
            placed.append(_place_prediction(results, training, method, plan, folder))
        if plan.shows_seams(training):
            placed += _place_seams(results, training, folder)
        logger.info("%s: in place", training)
    return Unpacked(placed, [t for t in plan.trainings() if t not in found])


def _check_belongs(results, made, training, plan):
    """Refuse a training that was made otherwise than the plan asks for, or that it does not."""
    where = f"{results.path}: {training}"
    if training not in plan.trainings():
        raise InputError(f"{where}: the configuration asks for no such training of {plan.name}")
    name = training.experiment
    if found := differences(made.decisive(name), plan.decisive(name)):
        raise InputError(f"{where}: made otherwise than the configuration says ({found})")
    there, now = made.experiments[name]["methods"], plan.experiments[name]["methods"]
    if lacking := [method for method in now if there.get(method) != now[method]]:
        raise InputError(f"{where}: holds no prediction {lacking[0]}")
    record = results.read_record(f"runs/{training.folder}/run.json")
    recorded = {key: record.get(key) for key in ("code", "seed")}
    if found := differences(recorded, {"code": plan.codes["training"], "seed": training.seed}):
        raise InputError(f"{where}: its run.json is of another training ({found})")


def _is_made_twice(results, training, folder):
    """Whether another training by the same code, seed and settings is there, of another bundle."""
    inside = f"runs/{training.folder}/{RECORDS[-1]}"
    path = folder / inside
    if not path.exists() or path.read_bytes() == results.read(inside):
        return False
    there, other = json.loads(path.read_text("utf-8")), results.read_record(inside)
    if found := differences(_decisive(there), _decisive(other)):
        raise InputError(
            f"{path}: another training is there ({found}): remove its folders under runs, "
            f"predictions and seams to take that of {results.path}"
        )
    return True


def _decisive(record):
    """What is on record of a training, without what another machine would record otherwise."""
    return {name: value for name, value in record.items() if name not in OF_THE_MACHINE}


def _records(training, plan):
    """Files that are written last, beside the maps that they are about."""
    methods = plan.experiments[training.experiment]["methods"]
    records = [f"predictions/{training.folder}/{method}/{PREDICTION}" for method in methods]
    return [*records, f"seams/{training.folder}/{SEAM}"] if plan.shows_seams(training) else records


def _kept(results, training, plan, folder):
    """Maps of a training that is there; it must have all that the plan asks for."""
    wanted = [folder / inside for inside in _records(training, plan)]
    if lacking := [path for path in wanted if not path.exists()]:
        raise InputError(
            f"{lacking[0]}: the same training is there without it: remove its folders under runs, "
            f"predictions and seams to take that of {results.path}"
        )
    maps = [path.with_name(PROBABILITY) for path in wanted]
    return maps + [path for path in wanted if path.name == SEAM]


def _check_place(results, training, plan, folder):
    """Refuse to put a training beside maps of another."""
    for inside in _records(training, plan):
        path = folder / inside
        if path.exists() and path.read_bytes() != results.read(inside):
            raise InputError(f"{path}: of another training than that of {results.path}: remove it")


def _place_run(results, training, folder, names):
    """Write the files of a training, run.json last; the model if it came along."""
    for name in (MODEL, *RECORDS):
        inside, target = f"runs/{training.folder}/{name}", folder / "runs" / training.folder / name
        if inside in names and not target.exists():
            write_atomically(target, results.read(inside))


def _place_prediction(results, training, method, plan, folder):
    """Write the maps of a prediction in the canonical form, and what is on record of it."""
    inside = f"predictions/{training.folder}/{method}"
    target = folder / inside
    if (target / PREDICTION).exists():
        return target / PROBABILITY
    maps = from_levels(results.read_array(f"{inside}/{MAP}"))
    split = plan.experiments[training.experiment]["split"]
    _, tested = split_frames(plan.frames(training.experiment), split, training.fold)
    if len(maps) != len(tested):
        raise InputError(f"{results.path}: {inside}: {len(maps)} maps of {len(tested)} frames")
    write_stack(target / PROBABILITY, maps)
    write_atomically(target / PREDICTION, results.read(f"{inside}/{PREDICTION}"))
    return target / PROBABILITY


def _place_seams(results, training, folder):
    """Write the maps of the frame that shows seams, and what is on record of it."""
    inside = f"seams/{training.folder}"
    target = folder / inside
    if not (target / SEAM).exists():
        write_stack(target / PROBABILITY, results.read_array(f"{inside}/{MAP}"))
        write_atomically(target / SEAM, results.read(f"{inside}/{SEAM}"))
    return [target / PROBABILITY, target / SEAM]
