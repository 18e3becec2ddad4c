"""One training run in many ways, each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import yaml

from unetcore import resampling
from unetcore.augment import AugmentConfig
from unetcore.checkpoint import load_model, save_model
from unetcore.data.intensity import normalise
from unetcore.data.phantom_em import draw_sections
from unetcore.errors import Interrupted
from unetcore.predict import Predictor, predict_probability
from unetcore.recipes import FAST
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.train import TrainingData, train
from unetcore.weight_settings import WeightMapConfig
from unetcore.weights import weight_maps

ROOT = Path(__file__).resolve().parents[1]

# A CPU with AVX-512 computes as one without: oneDNN, PyTorch, numba, NumPy and its OpenBLAS.
AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
}

PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait leave the cores to other trainings
RECIPES = ("paper", "fast")
WARM_UP = 0.1  # of the steps


@dataclass(frozen=True)
class Sizes:
    """How large the training is that is run in so many ways.

    Attributes
    ----------
    steps : after which the weights are compared, rising; the last is the end of the training.
    interrupted_after : step after which a training is stopped that is resumed.
    side : of the phantom's slices, in px.
    held_out : number of slices of another phantom, which are predicted.
    """

    steps: tuple[int, ...] = (1, 20, 800)
    interrupted_after: int = 400
    width: int = 8
    depth: int = 2
    output_tile: int = 132
    side: int = 256
    held_out: int = 4


REFERENCE = "reference"


@dataclass(frozen=True)
class Way:
    """A way to run a training; what is not said is as in the reference.

    Attributes
    ----------
    against : name of the way, further up, that it is compared with.
    device : "cpu" or "gpu".
    variables : of the environment, set before any library is loaded.
    settings : changes of `unetcore.settings.TrainConfig`.
    stopped : whether the training is stopped in the middle and resumed.
    compiled : whether a CPU cuts tiles by the compiled pass, or by torch as without numba.
    """

    name: str
    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    variables: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    stopped: bool = False
    compiled: bool = True
    against: str = REFERENCE


OTHER_SEED = "another seed, to compare with"
RESUMED = "stopped and resumed"
ON_CPU = (
    Way(REFERENCE),
    Way("again, in another process"),
    Way(RESUMED, stopped=True),
    Way("two threads", threads=2),
    Way("four threads", threads=4),
    Way("tiles cut by torch, without numba", compiled=False),
    Way("instructions of AVX2 only", variables=AVX2),
    Way("bfloat16", settings={"precision": "bfloat16"}),
    Way(
        "bfloat16 on two threads, against one",
        threads=2,
        settings={"precision": "bfloat16"},
        against="bfloat16",
    ),
    Way(OTHER_SEED, seed=1),
)
ON_GPU = (
    Way(REFERENCE, "gpu"),
    Way("again, in another process", "gpu"),
    Way(RESUMED, "gpu", stopped=True),
    Way("kernels that need not repeat", "gpu", settings={"deterministic": False}),
    Way("on the CPU"),
    Way("bfloat16", "gpu", settings={"precision": "bfloat16"}),
    Way(OTHER_SEED, "gpu", seed=1),
)
MUST_AGREE = ("again, in another process", RESUMED)


def settings_of(recipe: str, sizes: Sizes) -> dict[str, dict]:
    """Settings of a recipe, only smaller and shorter, as the sections of config.yaml.

    Parameters
    ----------
    recipe : "paper", the defaults of config.yaml, or "fast".
    """
    training = {
        "steps": sizes.steps[-1],
        "warmup_steps": int(WARM_UP * sizes.steps[-1]),
        "output_tile": sizes.output_tile,
        "precision": "float32",
        "validate_every": 1,
    }
    if recipe == "paper":
        found = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))["defaults"]
    else:
        found = FAST.sections("mask")
    network = {"width": sizes.width, "depth": sizes.depth}
    return found | {
        "network": found["network"] | network,
        "training": found["training"] | training,
    }


def draw_data(path: Path, recipe: str, sizes: Sizes) -> None:
    """Write slices to train on, with classes and weights, and held-out ones with their labels."""
    settings = settings_of(recipe, sizes)
    images, labels = draw_sections(np.random.default_rng(0), 2, sizes.side)
    held_out, held_out_labels = draw_sections(np.random.default_rng(1), sizes.held_out, sizes.side)
    images, held_out = (
        normalise((each / 255).astype(np.float32), settings["training"]["normalisation"])
        for each in (images, held_out)
    )
    classes, weights = weight_maps(labels, "mask", WeightMapConfig(**settings["weight_map"]))
    np.savez(
        path,
        images=images,
        classes=classes,
        weights=weights,
        held_out=held_out,
        held_out_labels=held_out_labels,
    )


@dataclass(frozen=True)
class Job:
    """A training in one way, and a prediction by the network of the reference.

    Attributes
    ----------
    data : file of `draw_data`.
    place : folder for the networks after the steps compared, and for the prediction.
    reference : such a folder, which has its networks already or is the same.
    """

    way: Way
    recipe: str
    sizes: Sizes
    data: Path
    place: Path
    reference: Path


def run(job: Job) -> None:
    """Do a job in a process of its own."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks.ways_to_train", json.dumps(asdict(job), default=str)],
        cwd=ROOT,
        env=os.environ | PATIENT | job.way.variables,
        check=True,
    )


def predict(network, slices: np.ndarray, precision: str, device: str) -> np.ndarray:
    """Probability of a stack, (N, H, W) float32."""
    predictor = Predictor(network, precision, device=device)
    return np.stack([predict_probability(each, predictor) for each in slices])


def _work(job: Job) -> None:
    """Train, keep the network after each step compared, and predict by the reference's."""
    torch.set_num_threads(job.way.threads)
    with np.load(job.data) as file:
        data = TrainingData(file["images"], file["classes"], file["weights"])
        held_out = file["held_out"]
    keeper = _Keeper(job)
    with _cutting(job.way):
        if job.way.stopped:
            with suppress(Interrupted):
                _train(job, data, keeper)
        _train(job, data, keeper)
    network, _ = load_model(job.reference / f"{job.sizes.steps[-1]}.safetensors")
    precision = _training(job).precision
    np.save(job.place / "prediction.npy", predict(network, held_out, precision, job.way.device))


def _cutting(way):
    """Context in which tiles are cut in this way."""
    if way.compiled:
        return nullcontext()
    return mock.patch.object(resampling, "_compiled_pass", return_value=None)  # as without numba


class _Keeper:
    """Writes the network away after some steps; stands in the place of a validation."""

    def __init__(self, job):
        self.job = job

    def __call__(self, network, step):
        sizes, place = self.job.sizes, self.job.place
        if step in sizes.steps:
            place.mkdir(exist_ok=True)
            save_model(place / f"{step}.safetensors", network, {})
        if self.job.way.stopped and step == sizes.interrupted_after:
            os.kill(os.getpid(), signal.SIGTERM)

    def rewind(self, step):
        pass


def _train(job, data, keeper):
    settings = settings_of(job.recipe, job.sizes)
    train(
        data,
        network=NetworkConfig(**settings["network"]),
        augmentation=AugmentConfig(**settings["augmentation"]),
        training=_training(job),
        seed=job.way.seed,
        states=job.place / "states" if job.way.stopped else None,
        device=job.way.device,
        validate=keeper,
    )


def _training(job) -> TrainConfig:
    return TrainConfig(**settings_of(job.recipe, job.sizes)["training"] | job.way.settings)


def _read_job(text: str) -> Job:
    given = json.loads(text)
    given |= {"way": Way(**given["way"]), "sizes": Sizes(**given["sizes"])}
    return Job(**given | {name: Path(given[name]) for name in ("data", "place", "reference")})


if __name__ == "__main__":
    _work(_read_job(sys.argv[1]))
