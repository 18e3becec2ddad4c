"""How far trainings drift apart that are not run in the same way."""

import datetime
import operator
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector

from benchmarks.page import put_between
from benchmarks.timing import Row, smaller_is_better
from benchmarks.ways_to_train import (
    MUST_AGREE,
    ON_CPU,
    ON_GPU,
    RECIPES,
    REFERENCE,
    ROOT,
    Job,
    Sizes,
    Way,
    draw_data,
    predict,
    run,
    settings_of,
)
from unetcore.checkpoint import load_model
from unetcore.devices import choose_device, gpu_name
from unetcore.metrics import pixel_error, rand_error
from unetcore.provenance import hardware
from unetcore.tables.text import markdown_table

PAGE = ROOT / "docs/determinism.md"
AT_ONCE = 4  # trainings, at most


@dataclass(frozen=True)
class Difference:
    """What a way to train changes, against the one that it is compared with.

    Attributes
    ----------
    weights : largest absolute difference of the weights after each of the steps compared.
    same_bytes : whether the files of the models are the same after each of these steps.
    probability : largest absolute difference of the probabilities of the held-out slices.
    flipped : share of their pixels on the other side of the threshold.
    rand_error : what is added to the Rand error of these slices; negative where it is better.
    prediction : largest absolute difference of these probabilities where it is the reference's
        network that is used, and only the prediction that runs in the other way.
    """

    way: str
    weights: tuple[float, ...]
    same_bytes: tuple[bool, ...]
    probability: float
    flipped: float
    rand_error: float
    prediction: float


@dataclass(frozen=True)
class Reference:
    """How good the reference is on the held-out slices.

    Attributes
    ----------
    threshold : of the probability, the best for its pixel error.
    wrong : share of the pixels that are wrong at this threshold.
    rand_error : at the threshold that is best for it.
    """

    threshold: float
    wrong: float
    rand_error: float


def determinism() -> list[Row]:
    """Share of pixels that flip in a short training that is run in another way.

    Against the share that another seed flips; docs/determinism.md has the weights and the Rand
    errors too.
    """
    device = "gpu" if gpu_name(choose_device()) else "cpu"
    parts, rows = [_facts(Sizes())], []
    for recipe in RECIPES:
        ways = ON_GPU if device == "gpu" else ON_CPU
        differences, reference = measure(ways, recipe, Sizes())
        parts += [_head(recipe, reference), table(differences, Sizes())]
        rows += [*_shares(recipe, differences), _promise(recipe, differences)]
    put_between(PAGE, f"measured on a {device}", "\n\n".join(parts))
    return rows


def measure(ways: tuple[Way, ...], recipe: str, sizes: Sizes) -> tuple[list[Difference], Reference]:
    """Train in all ways, each in a process of its own, and compare with the first.

    Parameters
    ----------
    recipe : "paper" or "fast".

    Returns
    -------
    differences of the others, and how good the first is.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        draw_data(data, recipe, sizes)
        places = {way.name: Path(folder) / str(k) for k, way in enumerate(ways)}
        jobs = [Job(way, recipe, sizes, data, places[way.name], places[REFERENCE]) for way in ways]
        run(jobs[0])  # alone: the others predict by its network
        with ThreadPoolExecutor(min(AT_ONCE, os.cpu_count())) as pool:
            list(pool.map(run, jobs[1:]))
        with np.load(data) as file:
            slices, labels = file["held_out"], file["held_out_labels"]
        found = {name: _found(place, sizes, slices, labels) for name, place in places.items()}
    reference = _reference(found[REFERENCE], labels)
    differences = [
        _difference(way.name, found[way.against], found[way.name], reference.threshold)
        for way in ways[1:]
    ]
    return differences, reference


@dataclass(frozen=True)
class _Found:
    """What came of a training.

    Attributes
    ----------
    files : content of the models, after each step compared.
    weights : all weights in one row, after each of these steps.
    probability : of the held-out slices by the last network, computed in the same way for all.
    rand_error : of this probability.
    prediction : of these slices by the reference's network, computed in the way of the training.
    """

    files: list[bytes]
    weights: list[np.ndarray]
    probability: np.ndarray
    rand_error: float
    prediction: np.ndarray


def _found(place, sizes, slices, labels):
    """Read what a process left."""
    paths = [place / f"{step}.safetensors" for step in sizes.steps]
    networks = [load_model(path)[0] for path in paths]
    weights = [parameters_to_vector(n.parameters()).detach().numpy() for n in networks]
    probability = predict(networks[-1], slices, "float32", "cpu")
    return _Found(
        files=[path.read_bytes() for path in paths],
        weights=weights,
        probability=probability,
        rand_error=rand_error(labels, probability).value,
        prediction=np.load(place / "prediction.npy"),
    )


def _reference(found, labels):
    """Judge the reference."""
    threshold = pixel_error(labels, found.probability).threshold
    wrong = (found.probability > threshold) != (labels > 0)
    return Reference(threshold, float(wrong.mean()), found.rand_error)


def _difference(name, expected, found, threshold):
    """Compare what came of two trainings."""
    flipped = (expected.probability > threshold) != (found.probability > threshold)
    return Difference(
        way=name,
        weights=tuple(map(_largest, expected.weights, found.weights)),
        same_bytes=tuple(map(operator.eq, expected.files, found.files)),
        probability=_largest(expected.probability, found.probability),
        flipped=float(flipped.mean()),
        rand_error=found.rand_error - expected.rand_error,
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
        "Rand error",
        "prediction alone",
    )
    body = [
        (
            d.way,
            *(_cell(w, same) for w, same in zip(d.weights, d.same_bytes, strict=True)),
            _cell(d.probability, not d.probability),
            f"{d.flipped:.2%}" if d.flipped else "none",
            f"{d.rand_error:+.4f}" if d.rand_error else "same",
            _cell(d.prediction, not d.prediction),
        )
        for d in differences
    ]
    return markdown_table(header, body)


def _cell(difference, identical):
    return "identical" if identical else f"{difference:.1e}"


def _facts(sizes):
    """Where, when and on what the numbers were taken."""
    return (
        f"{hardware(gpu_name(choose_device()))}, torch {torch.__version__}, NumPy "
        f"{np.__version__}, {datetime.date.today().isoformat()}. Width {sizes.width}, depth "
        f"{sizes.depth}, output tile {sizes.output_tile} px, {sizes.steps[-1]} steps on two slices "
        f"of the EM phantom, {sizes.side} px a side; {sizes.held_out} slices of another phantom "
        f"are predicted. The training that is resumed was told to stop after step "
        f"{sizes.interrupted_after}."
    )


def _head(recipe, reference):
    """What is trained, and how good the reference becomes."""
    training = settings_of(recipe, Sizes())["training"]
    return (
        f"**Recipe {recipe}**, {training['optimiser']} with a rate of "
        f"{training['learning_rate']:g} after {training['warmup_steps']} steps. The reference gets "
        f"{reference.wrong:.1%} of the held-out pixels wrong at its best threshold, "
        f"{reference.threshold:g}; its Rand error is {reference.rand_error:.4f}."
    )


def _shares(recipe, differences):
    """Rows of flipped pixels, against those that another seed flips."""
    *others, seed = differences
    return [
        smaller_is_better(
            f"pixels flipped, {recipe}: {each.way}",
            100 * each.flipped,
            100 * seed.flipped,
            unit="%",
            peer_name="another seed",
        )
        for each in others
    ]


def _promise(recipe, differences):
    """Row that counts the models whose bytes must be the same and are not."""
    broken = sum(
        not same for each in differences if each.way in MUST_AGREE for same in each.same_bytes
    )
    return smaller_is_better(
        f"models that must be identical and are not, {recipe}", broken, 0, unit="models",
        peer_name="none allowed",
    )  # fmt: skip
