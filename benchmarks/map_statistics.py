"""Statistics that a network which normalises its maps may predict with, on held-out EM slices.

Needs networks that the workflow has trained, and the slices that it has read:
`python -m benchmarks.map_statistics results/runs/EXPERIMENT/fold-4/seed-*/model.safetensors`
"""

import argparse
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.page import write_measured
from unetcore import geometry
from unetcore.checkpoint import load_model
from unetcore.data.frames import read_frames
from unetcore.data.intensity import normalise
from unetcore.data.io import read_images, read_labels, to_unit_range
from unetcore.errors import InputError
from unetcore.evaluate import OF_MEMBRANES, evaluate
from unetcore.normalised import with_fixed_statistics
from unetcore.predict import Predictor, predict_probability, softmax
from unetcore.provenance import hardware
from unetcore.script import one_line_errors
from unetcore.tables import MEASURES, markdown_table, mean_and_spread
from unetcore.tiling import Tile, input_tile, predict_tiled

PAGE = Path("docs/map-statistics.md")
DATA = Path("results/data/isbi2012")
TILE, OTHER_TILE = 260, 132  # px, output tiles

Probability = Callable[[np.ndarray, int], np.ndarray]  # of an (H, W) slice, by tiles of so many px


@dataclass(frozen=True)
class Slices:
    """What a network has learnt from, and what it has not seen.

    Attributes
    ----------
    learnt : (N, H, W) float32 array, normalised as in training.
    held_out : (M, H, W) float32 array, likewise.
    labels : (M, H, W) array, masks of the latter.
    """

    learnt: np.ndarray
    held_out: np.ndarray
    labels: np.ndarray


def read_slices(folder: Path, description: dict) -> Slices:
    """Slices of a canonical dataset, as the description of a network names them."""
    images = read_images(folder / "images.tif")
    grey = normalise(
        to_unit_range(images, folder / "images.tif"), description["training"]["normalisation"]
    )
    index = {frame.id: frame.index for frame in read_frames(folder / "frames.csv")}
    learnt, held = (
        [index[name] for name in description.get(frames, ())]
        for frames in ("training_frames", "validation_frames")
    )
    if not held:
        raise InputError("no held-out slices are on record: train with validate_every above 0")
    return Slices(grey[learnt], grey[held], read_labels(folder / "labels.tif")[held])


def of_the_image(network, slices: Slices) -> Probability:
    """Statistics of the slice that is predicted, the same for all of its tiles: ours."""
    predictor = Predictor(network, device="cpu")
    return lambda image, tile: predict_probability(image, predictor, tile=tile)


def of_the_training_slices(network, slices: Slices) -> Probability:
    """Statistics of all slices learnt from, the same for every image."""
    sides = [
        geometry.round_up_to_output_tile(side, network.depth) for side in slices.learnt.shape[1:]
    ]
    whole = (
        input_tile(image[None], Tile(0, 0, *sides), geometry.halo(network.depth))
        for image in slices.learnt
    )
    plain = with_fixed_statistics(network, (torch.as_tensor(image)[None] for image in whole))
    predictor = Predictor(plain, device="cpu")
    return lambda image, tile: predict_probability(image, predictor, tile=tile)


def of_each_tile(network, slices: Slices) -> Probability:
    """Statistics of every tile by itself, as instance normalisation is used elsewhere."""

    @torch.inference_mode()
    def scores(tiles):
        one_by_one = [network(torch.as_tensor(tile)[None]).numpy() for tile in tiles]
        return np.concatenate(one_by_one)

    return lambda image, tile: softmax(predict_tiled(image, scores, tile, network.depth))[1]


WAYS = {
    "the image, for all of its tiles (ours)": (of_the_image, TILE),
    f"each tile of {TILE} px": (of_each_tile, TILE),
    f"each tile of {OTHER_TILE} px": (of_each_tile, OTHER_TILE),
    "the training slices, for every image": (of_the_training_slices, TILE),
}


@dataclass(frozen=True)
class Outcome:
    """What a way to predict gives, by one network.

    Attributes
    ----------
    values : by name of the metric.
    seams : largest difference of the probability if it is predicted by tiles of another side.
    """

    values: dict[str, float]
    seams: float


def measure(network, slices: Slices) -> dict[str, Outcome]:
    """Predict the held-out slices in every way."""
    outcomes = {}
    for name, (make, tile) in WAYS.items():
        probability = make(network, slices)
        other_tile = OTHER_TILE if tile == TILE else TILE
        chosen, other = (
            np.stack([probability(image, side) for image in slices.held_out])
            for side in (tile, other_tile)
        )
        judged = evaluate(OF_MEMBRANES, slices.labels, np.clip(chosen, 0, 1))
        values = {metric: judged[metric]["value"] for metric in OF_MEMBRANES}
        outcomes[name] = Outcome(values, float(np.abs(chosen - other).max()))
    return outcomes


def table(measured: Sequence[dict[str, Outcome]]) -> str:
    """One line per way; mean ± standard deviation over networks."""
    header = [
        "statistics of",
        *(f"{MEASURES[metric].title} {MEASURES[metric].arrow}" for metric in OF_MEMBRANES),
        "other tiles",
    ]
    body = []
    for name in WAYS:
        outcomes = [each[name] for each in measured]
        cells = (
            mean_and_spread([o.values[metric] for o in outcomes], MEASURES[metric].decimals)
            for metric in OF_MEMBRANES
        )
        seams = max(outcome.seams for outcome in outcomes)
        body.append((name, *cells, f"{seams:.2g}" if seams else "same"))
    return markdown_table(header, body)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help="model.safetensors of several seeds")
    parser.add_argument("--data", type=Path, default=DATA, help="canonical dataset")
    asked = parser.parse_args(arguments)
    measured, described = [], []
    for path in asked.models:
        network, description = load_model(path)
        if not network.settings["normalised"]:
            raise InputError(f"{path}: normalises nothing, has no statistics")
        slices = read_slices(asked.data, description)
        measured.append(measure(network, slices))
        described.append(f"{path.parts[-4]} fold {path.parts[-3][5:]} {path.parts[-2]}")
    facts = (
        f"{hardware()}, float32, torch {torch.__version__}, {datetime.date.today().isoformat()}. "
        f"Networks: {', '.join(described)}; {len(slices.held_out)} held-out slices, "
        f"{len(slices.learnt)} learnt from."
    )
    write_measured(PAGE, facts, table(measured))


if __name__ == "__main__":
    with one_line_errors():
        main()
