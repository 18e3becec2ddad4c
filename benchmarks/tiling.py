"""Overlap-tile: what a plan computes more than needed, and whether tiles equal the whole."""

import numpy as np
import torch

from benchmarks import peers
from benchmarks.network import PAPERS_TILE, new_network, noise
from benchmarks.timing import Row, smaller_is_better
from unetcore import geometry
from unetcore.predict import Predictor
from unetcore.tiling import plan_tiles, predict_tiled

SHAPES = ((512, 512), (520, 696), (768, 768), (1024, 1024), (2048, 2048), (4096, 4096))
SMALL = ((1, 20), (4, 36), (16, 68), (64, 20), (64, 36))  # widths and tiles in px
SIDES = (*range(512, 1100), *range(1100, 4097, 37))  # px, of squares


def plans() -> list[Row]:
    """Operations of planned tiles against those of the paper's."""
    rows = [_cost(f"operations, {h} x {w} image", (h, w)) for h, w in SHAPES]
    worst = max(SIDES, key=lambda side: plan_tiles((side, side)).cost)
    name = "operations, worst of the squares sampled from 512 to 4096"
    return [*rows, _cost(name, (worst, worst))]


def _cost(name: str, shape: tuple[int, int]) -> Row:
    costs = [plan_tiles(shape, tile).cost for tile in (None, PAPERS_TILE)]
    return smaller_is_better(name, *costs, unit="computed / needed", peer_name="tiles of 388")


def seams() -> list[Row]:
    """Largest difference between tiles and the whole, against tiles set side by side.

    Weights are random and scores are of order 1 to 10.
    """
    small = [_differences(*case, (230, 170)) for case in SMALL]
    rows = {
        "tiles of 260 against the whole, float32, width 16": _differences(16, 260, (700, 540)),
        "small tiles against the whole, float32, widths 1 to 64": tuple(np.max(small, axis=0)),
        "tiles of 36 against the whole, float64, width 4": _differences(
            4, 36, (230, 170), torch.float64
        ),
    }
    return [
        smaller_is_better(
            name, *both, unit="largest difference", peer_name="stepping by the tile's own side"
        )
        for name, both in rows.items()
    ]


def _differences(
    width: int, tile: int, shape: tuple[int, int], dtype: torch.dtype = torch.float32
) -> tuple[float, float]:
    """Ours and that of tiles side by side, on the same network."""
    network = new_network(width).to(dtype)
    if dtype == torch.float32:
        scores = Predictor(network)
    else:  # which a Predictor does not compute in

        @torch.inference_mode()
        def scores(tiles):
            return network(torch.as_tensor(tiles)).numpy()

    image = noise(*shape).astype(str(dtype).removeprefix("torch."))
    covering = geometry.round_up_to_output_tile(max(shape))  # one tile for all
    whole = predict_tiled(image, scores, covering)
    return (
        float(np.abs(predict_tiled(image, scores, tile) - whole).max()),
        float(np.abs(peers.stitch_by_own_side(image, scores, tile) - whole).max()),
    )
