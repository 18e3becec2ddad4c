"""The comparisons; each function gives the rows of one csv file."""

import copy
from collections.abc import Callable

import numpy as np
import torch

from benchmarks import peers
from benchmarks.timing import Row, compare, ratio_row
from unetcore import geometry
from unetcore.augment import TileDraw, coordinates, elastic_basis, resample
from unetcore.data.phantom_em import draw_sections
from unetcore.metrics import rand_error
from unetcore.model import UNet, initialise
from unetcore.predict import Predictor
from unetcore.tiling import plan_tiles, predict_tiled
from unetcore.train import best_device, resolve_precision
from unetcore.weights import border_weight

PAPERS_TILE = 388  # px
GRID = 3
DISPLACEMENT_STD = 10  # px


def tiling() -> list[Row]:
    """Planned tiles against those of the paper, on the same network."""
    rows = []
    for size in (512, 1024, 2048):
        costs = [plan_tiles((size, size), tile).cost for tile in (None, PAPERS_TILE)]
        rows.append(
            ratio_row(
                f"operations, {size} image",
                *costs,
                unit="computed / needed",
                peer_name="tiles of 388",
            )
        )
    image = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    network = _network(16)
    plain = peers.PlainNetwork(copy.deepcopy(network), best_device())
    for precision in _precisions():
        ours = Predictor(copy.deepcopy(network), precision)
        for peer, peer_name in (
            (ours, f"tiles of 388, {precision}"),
            (plain, "tiles of 388, plain float32"),
        ):
            rows.append(
                compare(
                    f"prediction, 512 image, width 16, {precision}",
                    lambda ours=ours: predict_tiled(image, ours),
                    lambda peer=peer: predict_tiled(image, peer, PAPERS_TILE),
                    peer_name=peer_name,
                    repeats=5,
                )
            )
    return rows


def forward() -> list[Row]:
    """Forward pass at the paper's width."""
    tile = np.random.default_rng(0).normal(size=(1, 1, 572, 572)).astype(np.float32)
    network = _network(64)
    plain = peers.PlainNetwork(copy.deepcopy(network), best_device())
    rows = []
    for precision in _precisions():
        ours = Predictor(copy.deepcopy(network), precision)
        rows.append(
            compare(
                f"forward, 572 tile, width 64, {precision} channels_last",
                lambda ours=ours: ours(tile),
                lambda: plain(tile),
                peer_name="plain float32",
                repeats=3,
            )
        )
    return rows


def weight_map() -> list[Row]:
    """Border term of one 512 image."""
    rows = []
    for n, repeats in ((50, 3), (200, 1), (1000, 1)):
        labels = _discs(n, 512)
        np.testing.assert_allclose(
            border_weight(labels[:128, :128]), peers.border_weight(labels[:128, :128]), atol=1e-5
        )
        rows.append(
            compare(
                f"weight map, 512 image, {n} cells",
                lambda labels=labels: border_weight(labels),
                lambda labels=labels: peers.border_weight(labels),
                peer_name="a scipy distance transform per cell",
                repeats=repeats,
                warm_up=False,  # nothing to compile, and the peer takes many seconds
            )
        )
    return rows


def elastic() -> list[Row]:
    """Deformation field and resampling of one 572 tile with classes and weights, on one thread."""
    rng = np.random.default_rng(0)
    size, halo = geometry.input_size(PAPERS_TILE), geometry.halo()
    vectors = rng.normal(0, DISPLACEMENT_STD, (2, GRID, GRID))
    image, classes, weights = rng.random((3, size, size), dtype=np.float32)
    centre = ((size - 1) / 2,) * 2
    sample = TileDraw(0, centre, 0.0, False, vectors, grey_shift=0.0, grey_scale=1.0)
    basis = torch.as_tensor(elastic_basis(size, GRID, "bicubic"), dtype=torch.float32)
    tensors = [torch.as_tensor(array)[None] for array in (image, classes, weights)]

    @_on_one_thread
    def ours():
        coords = coordinates(sample, size, basis)
        inner = coords[halo:-halo, halo:-halo]
        fields = ((coords, "bicubic"), (inner, "nearest"), (inner, "bilinear"))
        return [resample(x, c, mode) for x, (c, mode) in zip(tensors, fields, strict=True)]

    return [
        compare(
            "elastic deformation, 572 tile, one thread",
            ours,
            lambda: peers.elastic_deformation(image, classes, weights, vectors, halo),
            peer_name="scipy zoom and map_coordinates",
            repeats=7,
        )
    ]


def rand() -> list[Row]:
    """Rand error of one 512 slice at 100 thresholds."""
    images, labels = draw_sections(np.random.default_rng(0), 1, 512)
    probability = (images / np.float32(255)).astype(np.float32)
    thresholds = np.arange(100) / 100
    return [
        compare(
            "Rand error, 512 slice, 100 thresholds",
            lambda: rand_error(labels, probability, thresholds=thresholds),
            lambda: peers.rand_errors(labels[0], probability[0], thresholds),
            peer_name="scikit-image adapted_rand_error in a loop",
            repeats=5,
        )
    ]


COMPARISONS = {f.__name__: f for f in (tiling, forward, weight_map, elastic, rand)}


def _on_one_thread(function: Callable) -> Callable:
    """Let torch use one thread, as scipy does."""

    def limited():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function()
        finally:
            torch.set_num_threads(threads)

    return limited


def _network(width: int) -> UNet:
    network = UNet(width=width).eval()
    initialise(network, torch.Generator().manual_seed(0))
    return network


def _precisions() -> list[str]:
    """Float32, and bfloat16 where the hardware computes in it."""
    return sorted({"float32", resolve_precision("auto")}, reverse=True)


def _discs(n: int, size: int) -> np.ndarray:
    """Instance labels of `n` discs on a grid, each shifted at random; no two touch."""
    rng = np.random.default_rng(n)
    side = int(np.ceil(np.sqrt(n)))
    pitch = size / side
    radius = 0.35 * pitch
    rows, columns = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for k in range(n):
        centre = (np.array(divmod(k, side)) + 0.5) * pitch + rng.uniform(-0.1, 0.1, 2) * pitch
        labels[np.hypot(rows - centre[0], columns - centre[1]) < radius] = k + 1
    return labels
