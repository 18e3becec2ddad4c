"""How far trainings drift apart that are not run in the same way."""

import dataclasses
import datetime
import json
import operator
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector

from benchmarks.timing import Row, smaller_is_better
from unetcore import resampling
from unetcore.augment import AugmentConfig
from unetcore.checkpoint import load_model, save_model
from unetcore.data.intensity import normalise
from unetcore.data.phantom_em import draw_sections
from unetcore.devices import choose_device, gpu_name
from unetcore.errors import InputError, Interrupted
from unetcore.predict import Predictor, predict_probability
from unetcore.provenance import hardware
from unetcore.recipes import FAST
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.tables.text import markdown_table
from unetcore.train import TrainingData, train
from unetcore.weights import weight_map

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/determinism.md"
AT_ONCE = 4  # trainings, at most
THRESHOLD = 0.5

# The paper's optimiser, at the pipeline's rate and with a rise short enough for so few steps.
OPTIMISERS = {
    "SGD with momentum 0.99 (paper)": {
        "optimiser": "sgd", "momentum": 0.99, "learning_rate": 0.005, "schedule": "step",
    },
    "AdamW (fast recipe)": {},
}  # fmt: skip

# A CPU with AVX-512 computes as one without: oneDNN, PyTorch, numba, NumPy and its OpenBLAS.
AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
}


@dataclass(frozen=True)
class Sizes:
    """How large the training is that is run in so many ways.

    Attributes
    ----------
    steps : after which the weights are compared, rising; the last is the end of the training.
    interrupted_after : step after which a training is stopped that is resumed.
    side : of the phantom's slices, in px.
    """

    steps: tuple[int, ...] = (1, 20, 100)
    interrupted_after: int = 50
    width: int = 16
    depth: int = 4
    output_tile: int = 68
    side: int = 384


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


@dataclass(frozen=True)
class Difference:
    """What a way to train changes, against the one that it is compared with.

    Attributes
    ----------
    weights : largest absolute difference of the weights after each of the steps compared.
    same_bytes : whether the files of the models are the same after each of these steps.
    probability : largest absolute difference of the probabilities of the held-out slice.
    flipped : share of its pixels on the other side of the threshold.
    prediction : largest absolute difference of these probabilities where it is the reference's
        network that is used, and only the prediction that runs in the other way.
    """

    way: str
    weights: tuple[float, ...]
    same_bytes: tuple[bool, ...]
    probability: float
    flipped: float
    prediction: float


def determinism() -> list[Row]:
    """Share of pixels that flip in a short training that is run in another way.

    Against the share that another seed flips; docs/determinism.md has the weights too.
    """
    device = "gpu" if gpu_name(choose_device()) else "cpu"
    tables, rows = [_facts(Sizes())], []
    for optimiser, settings in OPTIMISERS.items():
        differences, error = measure(ON_GPU if device == "gpu" else ON_CPU, settings, Sizes())
        tables += [
            f"**{optimiser}**; share of held-out pixels that the reference gets wrong: {error:.1%}",
            table(differences, Sizes()),
        ]
        rows += [*_shares(optimiser, differences), _promise(optimiser, differences)]
    text = put_between(PAGE.read_text("utf-8"), f"measured on a {device}", "\n\n".join(tables))
    PAGE.write_text(text, encoding="utf-8")
    return rows


def measure(ways: tuple[Way, ...], settings: dict, sizes: Sizes) -> tuple[list[Difference], float]:
    """Train in all ways, each in a process of its own, and compare with the first.

    Parameters
    ----------
    settings : changes of the fast recipe's training.

    Returns
    -------
    differences of the others, and the pixel error of the first on the held-out slice.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        image, labels = _draw(sizes, data)
        places = {way.name: Path(folder) / str(k) for k, way in enumerate(ways)}
        ways = [dataclasses.replace(way, settings=settings | way.settings) for way in ways]
        jobs = [(way, sizes, data, places[way.name], places[REFERENCE]) for way in ways]
        _run(*jobs[0])  # alone: the others predict by its network
        with ThreadPoolExecutor(min(AT_ONCE, os.cpu_count())) as pool:
            list(pool.map(_run, *zip(*jobs[1:], strict=True)))
        found = {name: _found(place, sizes, image) for name, place in places.items()}
    differences = [_difference(way.name, found[way.against], found[way.name]) for way in ways[1:]]
    wrong = (found[REFERENCE].probability >= THRESHOLD) != (labels > 0)
    return differences, float(wrong.mean())


def _draw(sizes, path):
    """Write two slices to train on, with classes and weights; the held-out one and its labels."""
    images, labels = draw_sections(np.random.default_rng(0), 2, sizes.side)
    held_out, held_labels = draw_sections(np.random.default_rng(1), 1, sizes.side)
    images, held_out = (
        normalise((i / 255).astype(np.float32), "slice") for i in (images, held_out)
    )
    np.savez(
        path,
        images=images,
        classes=(labels > 0).astype(np.uint8),
        weights=np.stack([weight_map(each) for each in labels]),
        held_out=held_out[0],
    )
    return held_out[0], held_labels[0]


def _run(way: Way, sizes: Sizes, data: Path, place: Path, reference: Path) -> None:
    """Train in a process of its own; `_work` is what it does."""
    job = {"way": asdict(way), "sizes": asdict(sizes)}
    job |= {"data": str(data), "place": str(place), "reference": str(reference)}
    subprocess.run(
        [sys.executable, "-m", "benchmarks.determinism", json.dumps(job)],
        cwd=ROOT,
        env=os.environ | way.variables,
        check=True,
    )


def _work(way: dict, sizes: dict, data: str, place: str, reference: str) -> None:
    """Train, keep the network after each step compared, and predict by the reference's."""
    way, sizes, place = Way(**way), Sizes(**sizes), Path(place)
    torch.set_num_threads(way.threads)
    with np.load(data) as file:
        images, classes, weights, held_out = (
            file[name] for name in ("images", "classes", "weights", "held_out")
        )
    keeper = _Keeper(place, sizes, way.stopped)
    training = TrainingData(images, classes, weights)
    with _cutting(way):
        if way.stopped:
            with suppress(Interrupted):
                _train(way, sizes, training, keeper)
        _train(way, sizes, training, keeper)
    network, _ = load_model(Path(reference) / f"{sizes.steps[-1]}.safetensors")
    precision = _settings(way, sizes).precision
    probability = predict_probability(held_out, Predictor(network, precision, device=way.device))
    np.save(place / "prediction.npy", probability)


def _cutting(way):
    """Context in which tiles are cut in this way."""
    if way.compiled:
        return nullcontext()
    return mock.patch.object(resampling, "_compiled_pass", return_value=None)  # as without numba


class _Keeper:
    """Writes the network away after some steps; stands in the place of a validation."""

    def __init__(self, place, sizes, stops):
        self.place, self.sizes, self.stops = place, sizes, stops

    def __call__(self, network, step):
        if step in self.sizes.steps:
            self.place.mkdir(exist_ok=True)
            save_model(self.place / f"{step}.safetensors", network, {})
        if self.stops and step == self.sizes.interrupted_after:
            os.kill(os.getpid(), signal.SIGTERM)

    def rewind(self, step):
        pass


def _train(way, sizes, data, keeper):
    train(
        data,
        network=NetworkConfig(**FAST.network | {"width": sizes.width, "depth": sizes.depth}),
        augmentation=AugmentConfig(**FAST.augmentation),
        training=_settings(way, sizes),
        seed=way.seed,
        states=keeper.place / "states" if way.stopped else None,
        device=way.device,
        validate=keeper,
    )


def _settings(way: Way, sizes: Sizes) -> TrainConfig:
    fixed = {
        "steps": sizes.steps[-1],
        "output_tile": sizes.output_tile,
        "warmup_steps": sizes.steps[-1] // 5,
        "precision": "float32",
        "validate_every": 1,
    }
    return TrainConfig(**FAST.training | fixed | way.settings)


@dataclass(frozen=True)
class _Found:
    """What came of a training.

    Attributes
    ----------
    files : content of the models, after each step compared.
    weights : all weights in one row, after each of these steps.
    probability : of the held-out slice by the last network, computed in the same way for all.
    prediction : of that slice by the reference's network, computed in the way of the training.
    """

    files: list[bytes]
    weights: list[np.ndarray]
    probability: np.ndarray
    prediction: np.ndarray


def _found(place, sizes, image):
    """Read what a process left."""
    paths = [place / f"{step}.safetensors" for step in sizes.steps]
    networks = [load_model(path)[0] for path in paths]
    return _Found(
        files=[path.read_bytes() for path in paths],
        weights=[parameters_to_vector(n.parameters()).detach().numpy() for n in networks],
        probability=predict_probability(image, Predictor(networks[-1], "float32", device="cpu")),
        prediction=np.load(place / "prediction.npy"),
    )


def _difference(name, expected, found):
    """Compare what came of two trainings."""
    flipped = (expected.probability >= THRESHOLD) != (found.probability >= THRESHOLD)
    return Difference(
        way=name,
        weights=tuple(map(_largest, expected.weights, found.weights)),
        same_bytes=tuple(map(operator.eq, expected.files, found.files)),
        probability=_largest(expected.probability, found.probability),
        flipped=float(flipped.mean()),
        prediction=_largest(expected.prediction, found.prediction),
    )


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def table(differences: list[Difference], sizes: Sizes) -> str:
    """Differences as a table in Markdown."""
    header = (
        "trained in another way",
        *(f"weights, step {step}" for step in sizes.steps),
        "probability",
        "pixels flipped",
        "prediction alone",
    )
    body = [
        (
            d.way,
            *(_cell(w, same) for w, same in zip(d.weights, d.same_bytes, strict=True)),
            _cell(d.probability, not d.probability),
            f"{d.flipped:.2%}" if d.flipped else "none",
            _cell(d.prediction, not d.prediction),
        )
        for d in differences
    ]
    return markdown_table(header, body)


def _cell(difference, identical):
    return "identical" if identical else f"{difference:.1e}"


def put_between(text: str, name: str, content: str) -> str:
    """Put content between the two marks of a name, in place of what stands there.

    Raises
    ------
    InputError : the marks are not there, once each and in this order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(end) < text.index(begin):
        raise InputError(f"{PAGE.name}: expected {begin} and then {end}, once each")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{content}\n\n{end}{rest.split(end)[1]}"


def _facts(sizes):
    """Where, when and on what the numbers were taken."""
    return (
        f"{hardware(gpu_name(choose_device()))}, torch {torch.__version__}, NumPy "
        f"{np.__version__}, {datetime.date.today().isoformat()}. Width {sizes.width}, depth "
        f"{sizes.depth}, output tile {sizes.output_tile} px, {sizes.steps[-1]} steps on two slices "
        f"of the EM phantom, {sizes.side} px a side; the training that is resumed was stopped "
        f"after step {sizes.interrupted_after}."
    )


def _shares(optimiser, differences):
    """Rows of flipped pixels, against those that another seed flips."""
    *others, seed = differences
    return [
        smaller_is_better(
            f"pixels flipped, {optimiser}: {each.way}",
            100 * each.flipped,
            100 * seed.flipped,
            unit="%",
            peer_name="another seed",
        )
        for each in others
    ]


def _promise(optimiser, differences):
    """Row that counts the models whose bytes must be the same and are not."""
    broken = sum(
        not same for each in differences if each.way in MUST_AGREE for same in each.same_bytes
    )
    return smaller_is_better(
        f"models that must be identical and are not, {optimiser}", broken, 0, unit="models",
        peer_name="none allowed",
    )  # fmt: skip


if __name__ == "__main__":
    _work(**json.loads(sys.argv[1]))
