"""Figures, all in one style: curves, segmentations with their errors, tiles, weight maps.

Every figure has a module and a function of its name, which draws arrays and returns a matplotlib
`Figure`; nothing here shows a window.

Imports of the modules go one way: style | panels | colours, curves, matches, example |
error_panel | the figures.
"""

from unetcore.figures.claim_intervals import Effect, claim_intervals
from unetcore.figures.colours import as_instances, colour_instances
from unetcore.figures.example import Example, first_complete, read_example
from unetcore.figures.loss_curves import (
    HeldOut,
    History,
    Loss,
    loss_curves,
    read_history,
    read_validation,
)
from unetcore.figures.matches import CellMatches, match_cells
from unetcore.figures.overview import overview
from unetcore.figures.seams import seams
from unetcore.figures.segmentation import segmentation
from unetcore.figures.study import study
from unetcore.figures.style import STYLE, save
from unetcore.figures.tile_plan import compared_plans, tile_plan
from unetcore.figures.tiles_or_batches import tiles_or_batches
from unetcore.figures.weight_map import weight_map

__all__ = [
    "STYLE",
    "CellMatches",
    "Effect",
    "Example",
    "HeldOut",
    "History",
    "Loss",
    "as_instances",
    "claim_intervals",
    "colour_instances",
    "compared_plans",
    "first_complete",
    "loss_curves",
    "match_cells",
    "overview",
    "read_example",
    "read_history",
    "read_validation",
    "save",
    "seams",
    "segmentation",
    "study",
    "tile_plan",
    "tiles_or_batches",
    "weight_map",
]
