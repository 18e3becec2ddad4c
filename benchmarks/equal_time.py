"""One fold of the EM stack, learnt by us and by MONAI in the same CPU time, on one thread each.

What stands here, and what it imports from `unetcore`, decides the numbers of `benchmarks.quality`;
results of other code are not mixed with them. MONAI is imported where it is used.
"""

import datetime
import json
import logging
import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from unetcore.augment import AugmentConfig, TileAugmenter
from unetcore.data.canonical import read_archive
from unetcore.data.catalog import Dataset, read_catalog
from unetcore.data.files import write_atomically
from unetcore.data.frames import split_frames
from unetcore.data.intensity import normalise
from unetcore.data.io import to_unit_range
from unetcore.devices import autocast, resolve_precision
from unetcore.errors import InputError
from unetcore.evaluate import OF_MEMBRANES, evaluate, measured_on
from unetcore.memory import keep_freed_memory
from unetcore.predict import Predictor, predict_probability
from unetcore.provenance import hardware, source_digest
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.train import TrainingData, train
from unetcore.weight_settings import WeightMapConfig
from unetcore.weights import weight_maps

logger = logging.getLogger(__name__)

CATALOG = Path(__file__).resolve().parents[1] / "resources/datasets.yaml"
DATASET = "isbi2012"
SPLIT = {"blocks": 5}  # contiguous: neighbouring sections look alike
CPU = torch.device("cpu")

# Ours is given its number of steps beforehand, by a trial. It aims a little below the budget. Where
# its pace, known after a share of the steps, would exceed the budget by more than the limit, it is
# begun anew with fewer.
AIM, LIMIT = 0.98, 1.02
TRIAL_STEPS = 15
SETTLED = 0.1

MONAI_TILE = 512  # px
MONAI_RATE = 1e-3


@dataclass(frozen=True)
class Contest:
    """What both methods are given.

    Attributes
    ----------
    archive : the official archive.
    fold : name of the block of slices that is held out.
    budget : CPU seconds of the training, tiles and augmentation included.
    seed : of weights, tiles and drop-out.
    recipe : ours, as the sections of config.yaml.
    """

    archive: Path
    fold: str
    budget: float
    seed: int
    recipe: Mapping[str, Mapping]

    def settings(self) -> dict:
        """All that decides the numbers of a fold: those of other settings are another contest's."""
        try:
            monai = version("monai")
        except PackageNotFoundError as error:
            raise InputError(
                "MONAI is not installed here: `make bench-quality` makes an environment that has it"
            ) from error
        return {
            "budget": self.budget,
            "seed": self.seed,
            "recipe": {name: dict(section) for name, section in self.recipe.items()},
            "code": source_digest(
                "unetcore.train", "unetcore.predict", "unetcore.evaluate", Path(__file__)
            ),
            "hardware": hardware(),
            "precision": resolve_precision("auto", CPU),
            "Python": platform.python_version(),
            "torch": torch.__version__,
            "MONAI": monai,
        }


@dataclass(frozen=True)
class Fold:
    """Slices to learn from, and those that are held out.

    Attributes
    ----------
    training : slices, classes and weights as the recipe wants them.
    images : (N, H, W) float32 array, held-out slices, normalised.
    labels : (N, H, W) array, their masks.
    frames : N names of the held-out slices.
    measured_on : which slices these are, in words that are the same for all folds.
    """

    training: TrainingData
    images: np.ndarray
    labels: np.ndarray
    frames: list[str]
    measured_on: str


@dataclass(frozen=True)
class Learnt:
    """What a method made of a fold.

    Attributes
    ----------
    probability : (N, H, W) float32 array of cell interior, on the held-out slices.
    steps : weight updates.
    cpu_seconds : of the training, from arrays in memory to a network.
    """

    probability: np.ndarray
    steps: int
    cpu_seconds: float


def dataset() -> Dataset:
    """Entry of the catalogue."""
    return read_catalog(CATALOG)[DATASET]


def read_fold(contest: Contest) -> Fold:
    """Slices of a fold; a pixel is cell interior where its label is above 0."""
    about = dataset()
    images, labels, frames = read_archive(
        contest.archive,
        about.layout,
        members=about.members,
        pixels=about.pixels,
        partial=about.partial,
    )
    chosen, tested = split_frames(frames, SPLIT, contest.fold)
    grey = normalise(
        to_unit_range(images, contest.archive), contest.recipe["training"]["normalisation"]
    )
    inside, held = ([frame.index for frame in part] for part in (chosen, tested))
    weighting = WeightMapConfig(**contest.recipe["weight_map"])
    classes, weights = weight_maps(labels[inside], about.label_kind, weighting)
    return Fold(
        TrainingData(grey[inside], classes, weights),
        grey[held],
        labels[held],
        [frame.id for frame in tested],
        measured_on(frames, SPLIT, contest.fold),
    )


@dataclass(frozen=True)
class Pace:
    """CPU seconds of the parts of our training.

    Attributes
    ----------
    start : before the first step.
    step : each step.
    """

    start: float
    step: float

    def steps(self, budget: float) -> int:
        """Steps that a budget of CPU seconds suffices for, at least one."""
        return max(1, math.floor((budget - self.start) / self.step))

    @classmethod
    def of(cls, stamps: list[float]) -> "Pace":
        """Pace by the CPU time at the start and after each step; the first one also starts."""
        first, *seconds = [after - before for before, after in pairwise(stamps)]
        step = statistics.median(seconds)
        return cls(start=max(0.0, first - step), step=step)


class _TooSlow(Exception):
    """The budget will not suffice for the steps, but for so many."""

    def __init__(self, affordable: int):
        super().__init__(affordable)
        self.affordable = affordable


def learn_ours(
    fold: Fold, contest: Contest, clock: Callable[[], float] = time.process_time
) -> Learnt:
    """Train by our recipe for as many steps as the budget allows, and predict by tiles."""
    for _ in range(2):  # the first compiles and allocates
        pace = _trial(fold, contest, clock)
    steps = pace.steps(AIM * contest.budget)
    while True:
        logger.info("fold %s, ours: %d steps", contest.fold, steps)
        started = clock()
        try:
            report = _stop_if_slow(started, steps, contest, clock)
            network = _train(fold, contest, report, steps=steps)
            break
        except _TooSlow as known:
            steps = max(1, min(steps - 1, known.affordable))
            logger.info("fold %s, ours: too slow, begun anew", contest.fold)
    used = clock() - started
    predictor = Predictor(network, "auto", device="cpu")
    return Learnt(
        np.stack([predict_probability(image, predictor) for image in fold.images]), steps, used
    )


def _stop_if_slow(started, steps, contest, clock):
    """Callback of a training: raise `_TooSlow` where its pace would exceed the budget."""

    def check(row):
        used = clock() - started
        slow = used / row.step * steps > LIMIT * contest.budget
        if slow and row.step >= SETTLED * steps:
            raise _TooSlow(math.floor(AIM * contest.budget / used * row.step))

    return check


def _trial(fold, contest, clock) -> Pace:
    """Measure a short training."""
    stamps = [clock()]
    _train(
        fold,
        contest,
        report=lambda row: stamps.append(clock()),
        steps=TRIAL_STEPS,
        log_every=1,
    )
    return Pace.of(stamps)


def _train(fold, contest, report, **changes):
    recipe = contest.recipe
    network, _ = train(
        fold.training,
        network=NetworkConfig(**recipe["network"]),
        augmentation=AugmentConfig(**recipe["augmentation"]),
        training=TrainConfig(**{**recipe["training"], **changes}),
        seed=contest.seed,
        device="cpu",
        report=report,
    )
    return network


def learn_monai(
    fold: Fold, contest: Contest, clock: Callable[[], float] = time.process_time
) -> Learnt:
    """Train MONAI's network until the budget is used up, and predict whole slices.

    Its users' settings, and what makes it stronger within a fixed time: our augmentation, bfloat16
    where ours has it, memory in channels-last order, and a rate that falls by a cosine with the
    share of the budget that is used.
    """
    cast = autocast("auto", CPU)
    with torch.random.fork_rng([]):
        torch.manual_seed(contest.seed)
        network, loss = monai_network()
    network = network.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.Adam(network.parameters(), MONAI_RATE, fused=True)

    def gradient(augmenter, step):
        image, classes, _ = augmenter(np.random.default_rng([contest.seed, step, 0]))
        with cast():
            scores = network(image.contiguous(memory_format=torch.channels_last))
        optimiser.zero_grad(set_to_none=True)
        loss(scores.float(), classes[:, None]).backward()

    gradient(_whole_tiles(fold.training, contest), 0)  # compiles and allocates
    started, steps = clock(), 0
    augmenter = _whole_tiles(fold.training, contest)
    while (used := clock() - started) < contest.budget:
        share_used = used / contest.budget
        optimiser.param_groups[0]["lr"] = MONAI_RATE * 0.5 * (1 + math.cos(math.pi * share_used))
        gradient(augmenter, steps)
        optimiser.step()
        steps += 1
    network.eval()
    return Learnt(np.stack([_predict(network, cast, image) for image in fold.images]), steps, used)


def monai_network() -> tuple[torch.nn.Module, torch.nn.Module]:
    """MONAI's U-Net at its own width, with equal padding and instance norm, and its loss."""
    from monai.losses import DiceCELoss
    from monai.networks.nets import BasicUNet

    network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=2)
    return network, DiceCELoss(include_background=True, to_onehot_y=True, softmax=True)


def _whole_tiles(data: TrainingData, contest: Contest) -> TileAugmenter:
    """Tiles whose every pixel has a class, as a padded network takes them."""
    return TileAugmenter(
        data.with_channels,
        data.classes,
        data.weights,
        input_size=MONAI_TILE,
        halo=0,
        config=AugmentConfig(**contest.recipe["augmentation"]),
    )


@torch.inference_mode()
def _predict(network, cast, image):
    """Probability (H, W) of cell interior."""
    batch = torch.as_tensor(image)[None, None].contiguous(memory_format=torch.channels_last)
    with cast():
        scores = network(batch)
    return scores.float().softmax(1)[0, 1].numpy()


METHODS = {"ours": learn_ours, "monai": learn_monai}


def log_to_terminal() -> None:
    """Say what the benchmark does; of the package, only warnings."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("benchmarks").setLevel(logging.INFO)


def compete(method: str, contest: Contest, path: Path) -> None:
    """Learn a fold by one method, judge it, and write what came of it; for a process of its own."""
    log_to_terminal()
    torch.set_num_threads(1)
    keep_freed_memory()
    settings, started = contest.settings(), time.monotonic()
    fold = read_fold(contest)
    learnt = METHODS[method](fold, contest)
    judged = evaluate(OF_MEMBRANES, fold.labels, learnt.probability)
    record = {
        "fold": contest.fold,
        "method": method,
        "frames": fold.frames,
        "measured_on": fold.measured_on,
        "values": {name: judged[name]["value"] for name in OF_MEMBRANES},
        "thresholds": {name: judged[name]["threshold"] for name in OF_MEMBRANES},
        "steps": learnt.steps,
        "cpu_seconds": round(learnt.cpu_seconds, 2),
        "date": datetime.date.today().isoformat(),
        "settings": settings,
    }
    write_atomically(path, json.dumps(record, indent=1).encode())
    logger.info(
        "fold %s, %s: %d steps in %.0f CPU seconds, done after %.0f s: %s",
        *(contest.fold, method, learnt.steps, learnt.cpu_seconds, time.monotonic() - started),
        ", ".join(f"{name} {value:.5f}" for name, value in record["values"].items()),
    )
