"""Overlap-tile: what a plan computes more than needed, and whether tiles equal the whole."""

import numpy as np
import torch

from benchmarks import peers
from benchmarks.network import PAPERS_TILE, new_network, noise
from benchmarks.timing import Row, smaller_is_better
from unetcore.tiling import plan_tiles, predict_tiled

SHAPES = ((512, 512), (520, 696), (768, 768), (1024, 1024), (2048, 2048), (4096, 4096))
SIDES = (*range(512, 1100), *range(1100, 4097, 37))  # px, of squares


def plans() -> list[Row]:
    """Operations of planned tiles against those of the paper's."""
    rows = [_cost(f"operations, {h} x {w} image", (h, w)) for h, w in SHAPES]
    worst = max(SIDES, key=lambda side: plan_tiles((side, side)).cost)
    name = "operations, worst square from 512 to 4096"
    return [*rows, _cost(name, (worst, worst))]


def _cost(name: str, shape: tuple[int, int]) -> Row:
    costs = [plan_tiles(shape, tile).cost for tile in (None, PAPERS_TILE)]
    return smaller_is_better(name, *costs, unit="computed / needed", peer_name="tiles of 388")


def seams() -> list[Row]:
    """Largest difference between tiles and the whole, against tiles set side by side.

    Weights are random and scores are of order 1.
    """
    return [
        _difference("float32, width 16", 16, torch.float32, shape=(700, 540), tile=260),
        _difference("float32, width 4", 4, torch.float32, shape=(230, 170), tile=36),
        _difference("float64, width 4", 4, torch.float64, shape=(230, 170), tile=36),
    ]


def _difference(what: str, width: int, dtype: torch.dtype, *, shape, tile: int) -> Row:
    network = new_network(width).to(dtype)

    @torch.inference_mode()
    def scores(tiles):
        return network(torch.as_tensor(tiles, dtype=dtype)).numpy()

    image = noise(*shape)
    covering = 4 + 16 * -(-(max(shape) - 4) // 16)  # one tile for all
    whole = predict_tiled(image, scores, covering)
    ours = np.abs(predict_tiled(image, scores, tile) - whole).max()
    theirs = np.abs(peers.stitch_by_own_side(image, scores, tile) - whole).max()
    return smaller_is_better(
        f"tiles of {tile} against the whole, {what}",
        float(ours),
        float(theirs),
        unit="largest difference",
        peer_name="stepping by the tile's own side",
    )
