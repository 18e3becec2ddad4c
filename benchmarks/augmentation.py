"""Elastic deformation (paper 3.1), alone and in the loop of a training."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks import peers
from benchmarks.network import INPUT
from benchmarks.settings import AUGMENTATION, NETWORK, TRAINING
from benchmarks.timing import Row, compare, medians, smaller_is_better
from unetcore import geometry
from unetcore.augment import TileAugmenter, TileDraw
from unetcore.train import TrainingData, train

STEPS = 12


def elastic() -> list[Row]:
    """Deformation field and resampling of one 572 tile with classes and weights, on one thread.

    As in a training: what does not change from tile to tile is done before, where a program lets
    one. Ours then has the coefficients of the image's spline; scipy finds them in every call.
    """
    rng = np.random.default_rng(0)
    grid = AUGMENTATION.grid
    vectors = rng.normal(0, AUGMENTATION.displacement_std, (2, grid, grid))
    image, weights = rng.random((2, INPUT, INPUT), dtype=np.float32)
    classes = rng.integers(2, size=(INPUT, INPUT), dtype=np.uint8)
    centre = ((INPUT - 1) / 2,) * 2
    drawn = TileDraw(0, centre, 0.0, False, vectors, grey_shift=0.0, grey_scale=1.0)
    augmenter = _augmenter(image, classes, weights)
    halo = geometry.halo()
    monai = peers.monai_deformation(INPUT, grid)
    others = {
        "scipy zoom and map_coordinates": lambda: peers.scipy_deformation(
            image, classes, weights, vectors, halo
        ),
        "MONAI Rand2DElastic": lambda: monai(image, classes, weights),
        "OpenCV remap, positions in 1/32 px": lambda: peers.opencv_deformation(
            image, classes, weights, vectors, halo
        ),
    }
    return compare(
        "elastic deformation, 572 tile, one thread",
        _on_one_thread(lambda: augmenter.cut(drawn)),
        {name: _on_one_thread(function) for name, function in others.items()},
        repeats=15,
    )


def training_step() -> list[Row]:
    """Drawing and cutting a tile against the whole step that it is for, on all threads."""
    rng = np.random.default_rng(0)
    data = training_data(rng)
    augmenter = _augmenter(data.images[0], data.classes[0], data.weights[0])
    step = step_seconds(data)
    (augmentation,) = medians([lambda: augmenter(rng)], repeats=15)
    return [
        smaller_is_better(
            "augmentation in a training step, width 16",
            1000 * augmentation,
            1000 * step,
            unit="ms",
            peer_name="the whole step",
        )
    ]


def training_data(rng: np.random.Generator) -> TrainingData:
    """Slice of noise with classes and weights."""
    image, weights = rng.random((2, 512, 512), dtype=np.float32)
    classes = rng.integers(2, size=(512, 512), dtype=np.uint8)
    return TrainingData(image[None], classes[None], weights[None])


def step_seconds(data: TrainingData) -> float:
    """Median time of a training step at width 16."""
    _, history = train(
        data,
        network=replace(NETWORK, width=16),
        augmentation=AUGMENTATION,
        training=replace(TRAINING, steps=STEPS, log_every=1),
        seed=0,
    )
    return float(np.median([1 / row.tiles_per_second for row in history[1:]]))


def _augmenter(image, classes, weights) -> TileAugmenter:
    return TileAugmenter(
        image[None, None],
        classes[None],
        weights[None],
        input_size=INPUT,
        halo=geometry.halo(),
        config=AUGMENTATION,
    )


def _on_one_thread(function: Callable) -> Callable:
    """Let libraries use one thread, as scipy does."""

    def limited():
        with peers.one_thread():
            return function()

    return limited
