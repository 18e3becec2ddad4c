"""Trainings and predictions of a bundle, where it was taken to: what ``python BUNDLE`` does."""

import argparse
import gc
import json
import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from unetcore.augment import AugmentConfig
from unetcore.bundle.archive import MAP, PLAN, PREDICTION, SEAM, Archive, PackedDataset, as_file
from unetcore.bundle.maps import ROUNDING, to_levels
from unetcore.bundle.plan import Training
from unetcore.bundle.results import WorkFolder, pack_results
from unetcore.checkpoint import load_model
from unetcore.data.files import write_atomically
from unetcore.data.frames import split_frames
from unetcore.devices import DEVICES, choose_device, repeatable
from unetcore.errors import InputError, Interrupted
from unetcore.fold_prediction import predict_frames, predict_seams, seam_record
from unetcore.fold_training import Held, train_fold
from unetcore.gpu_probe import take_gpus
from unetcore.launch import launch
from unetcore.locks import FolderLock
from unetcore.memory import keep_freed_memory
from unetcore.produce import Settings
from unetcore.script import configure_logging, one_line_errors
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.stopping import StopRequest

logger = logging.getLogger(__name__)

HOUR = 3600  # seconds
NOT_WATCHED = {"validate_every": 0}  # scores need packages that are not here


@dataclass(frozen=True)
class Place:
    """Where and how a bundle computes.

    Attributes
    ----------
    device : "cpu", "gpu" or "auto".
    processes : that train one network together.
    threads : of torch in all of them.
    """

    device: str
    processes: int
    threads: int


def main(bundle: str | Path, argv: Sequence[str] | None = None) -> None:
    """Do what is left of a bundle's trainings and predictions; ends the process on an error.

    Parameters
    ----------
    bundle : file that `unetcore.bundle.pack` made.
    argv : command line arguments; None takes those of the process.
    """
    options = _parser().parse_args(argv)
    configure_logging()
    with one_line_errors():
        run_bundle(
            Path(bundle).absolute(),
            options.out,
            options.work or options.out.with_name(f"{options.out.stem}-work"),
            Place(options.device, options.processes, options.threads),
            experiments=options.experiments,
            models=options.models,
            hours=options.hours,
        )


def _parser():
    parser = argparse.ArgumentParser(
        prog="python BUNDLE", description="Train and predict; call it again to go on."
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="zip file to write, of what is complete")
    add(
        "--work", type=Path, help="folder of the unfinished; OUT without .zip, and -work, if absent"
    )
    add("--device", choices=DEVICES, default="auto", help="where to compute (auto)")
    add("--experiments", nargs="+", default=(), help="names of those to make (all)")
    add("--models", action="store_true", help="whether OUT holds the models too")
    add("--hours", type=float, help="time after which to stop, until the next call")
    add("--processes", type=int, default=1, help="that train one network together (1)")
    add("--threads", type=int, default=torch.get_num_threads(), help="of torch (those of torch)")
    return parser


def run_bundle(
    bundle: Path,
    out: Path,
    work: Path,
    place: Place,
    *,
    experiments: Sequence[str] = (),
    models: bool = False,
    hours: float | None = None,
) -> None:
    """Do what is left of a bundle's trainings and predictions, one after the other.

    Before the first, and whenever one is complete, the file of the complete ones is written anew.

    Parameters
    ----------
    bundle : file that `unetcore.bundle.pack` made.
    out : file for what is complete.
    work : folder that keeps what is done, and the states of the unfinished training.
    place : where and how to compute.
    experiments : names of those to make; none for all.
    models : whether `out` holds the models too.
    hours : time after which to stop as SIGTERM stops it; None for no limit.

    Raises
    ------
    InputError : a damaged bundle, an unknown experiment, no such device, no time at all, a folder
        of another bundle or in use, or at the end, that the loss of some trainings was no longer
        finite.
    Interrupted : a signal came, or the time is over; the next call goes on.
    """
    archive = Archive(bundle)
    plan = archive.read_plan()
    trainings = plan.trainings(experiments)
    if hours is not None and hours <= 0:
        raise InputError(f"{hours:g} hours: need more than 0")
    _prepare(place)
    folder, failed = WorkFolder(work, plan), []
    with _held(folder), StopRequest() as stop, _time_limit(hours):
        _pack(out, folder, models)
        for number, training in enumerate(trainings, start=1):
            if folder.is_complete(training):
                continue
            logger.info("training %d of %d: %s", number, len(trainings), training)
            try:
                _complete(archive, folder, training, place, stop)
            except FloatingPointError as error:
                logger.error("%s: %s", training, error)
                failed.append(training)
            else:
                _pack(out, folder, models)
    if failed:
        names = ", ".join(map(str, failed))
        raise InputError(f"{len(failed)} of {len(trainings)} trainings failed: {names}")


def _prepare(place: Place) -> None:
    """Do what is done once in a process; if there is no GPU, say so before any work."""
    torch.set_num_threads(place.threads)
    take_gpus(place.processes, place.device)  # before CUDA is looked at
    repeatable(choose_device(place.device))  # no job may depend on what ran before it
    keep_freed_memory()


@contextmanager
def _held(folder: WorkFolder) -> Iterator[None]:
    """Hold the folder against other processes, and refuse that of another bundle."""
    lock = FolderLock(folder.path)
    lock.acquire()
    try:
        path, text = folder.path / PLAN, folder.plan.to_json()
        if path.exists() and path.read_text("utf-8") != text:
            raise InputError(f"{folder.path}: belongs to another bundle: choose another --work")
        write_atomically(path, text.encode())
        yield
    finally:
        lock.release()


@contextmanager
def _time_limit(hours: float | None) -> Iterator[None]:
    """Ask this process to stop after so many hours, as a scheduler would."""
    timer = threading.Timer((hours or 0) * HOUR, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    if hours is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _pack(out, folder, models):
    """Write the file of all that is complete, and say how much that is."""
    trainings = folder.plan.trainings()
    complete = [training for training in trainings if folder.is_complete(training)]
    pack_results(out, folder, complete, models=models)
    logger.info("%s: %d of %d trainings", out, len(complete), len(trainings))


def _complete(archive, folder, training, place, stop):
    """Do what is left to do for a training."""
    if not folder.is_trained(training):
        _heed(stop, training)
        _train(archive, folder, training, place)
        _free_memory()
    shutil.rmtree(folder.states(training), ignore_errors=True)  # the training is on record
    for method in folder.missing(training):
        _heed(stop, training)
        _predict(archive, folder, training, method, place)
    if folder.lacks_seams(training):
        _heed(stop, training)
        _predict_seams(archive, folder, training, place)


def _free_memory():
    """Give back what a training held of a GPU: predictions plan their tiles by what is free."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _heed(stop: StopRequest, training: Training) -> None:
    """End where a signal came that no training has noticed."""
    if stop.signal is not None:
        raise Interrupted(stop.signal, f"stopped at {training}: the same command goes on")


def _train(archive: Archive, folder: WorkFolder, training: Training, place: Place) -> None:
    """Train a network as the workflow's script does."""
    plan = folder.plan
    own = plan.experiments[training.experiment]
    config = TrainConfig(**own["training"], **own["watch"] | NOT_WATCHED)
    network, augmentation = NetworkConfig(**own["network"]), AugmentConfig(**own["augmentation"])
    code = plan.codes["training"]
    arguments = {
        "dataset": PackedDataset(archive, training.experiment),
        "settings": Settings(network, augmentation, config, training.seed, code, place.device),
        "products": folder.products(training),
        "name": str(training),
        "states": folder.states(training),
        "board": None,
        "split": own["split"],
        "fold": training.fold,
        "held": Held((), {}),
    }
    threads = max(1, place.threads // place.processes)
    launch(train_fold, arguments, place.processes, threads=threads)


def _predict(archive, folder, training, method, place):
    """Predict the test frames of a training's fold, and keep the maps in 16 bits."""
    plan = folder.plan
    own = plan.experiments[training.experiment]
    _, tested = split_frames(plan.frames(training.experiment), own["split"], training.fold)
    maps, record = predict_frames(
        PackedDataset(archive, training.experiment).read_grey([frame.index for frame in tested]),
        tested,
        load_model(folder.products(training).model),
        averaging=own["methods"][method],
        prediction=own["prediction"],
        device=place.device,
        code=plan.codes["prediction"],
    )
    there = folder.prediction(training, method)
    write_atomically(there / MAP, as_file(to_levels(maps)))
    record |= {"probability_rounding": ROUNDING}
    write_atomically(there / PREDICTION, json.dumps(record).encode())


def _predict_seams(archive, folder, training, place):
    """Predict the first frame in three ways, unrounded: their differences are shown."""
    maps, differences = predict_seams(
        PackedDataset(archive, training.experiment).read_grey([0]),
        load_model(folder.products(training).model),
        tile=folder.plan.experiments[training.experiment]["training"]["output_tile"],
        device=place.device,
    )
    there = folder.seams(training)
    write_atomically(there / MAP, as_file(maps))
    run = json.loads(folder.products(training).provenance.read_text())
    record = seam_record(folder.plan.names(training), differences, run)
    write_atomically(there / SEAM, record.encode())
