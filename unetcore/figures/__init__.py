"""Figures, all in one style: curves, segmentations with their errors, tiles, weight maps.

Every figure has a module and a function of its name, which draws arrays and returns a matplotlib
`Figure`; nothing here shows a window.

Imports of the modules go one way: style | panels | colours, curves, matches, example, tiles |
error_panel | tile_plan | the other figures.
"""

from unetcore.figures.architecture import architecture
from unetcore.figures.cell_results import cell_results
from unetcore.figures.claim_intervals import Effect, claim_intervals
from unetcore.figures.colours import as_instances, colour_instances
from unetcore.figures.example import Example, first_complete, one_channel, read_example
from unetcore.figures.loss_curves import Loss, loss_curves
from unetcore.figures.matches import CellMatches, match_cells
from unetcore.figures.overlap_tile import overlap_tile
from unetcore.figures.overview import overview
from unetcore.figures.seams import seams
from unetcore.figures.segmentation import segmentation
from unetcore.figures.study import study
from unetcore.figures.style import STYLE, save
from unetcore.figures.tile_plan import compared_plans, plan_of_several_tiles, tile_plan
from unetcore.figures.tiles_or_batches import tiles_or_batches
from unetcore.figures.tiling import tiling
from unetcore.figures.weight_map import weight_map

__all__ = [
    "STYLE",
    "CellMatches",
    "Effect",
    "Example",
    "Loss",
    "architecture",
    "as_instances",
    "cell_results",
    "claim_intervals",
    "colour_instances",
    "compared_plans",
    "first_complete",
    "loss_curves",
    "match_cells",
    "one_channel",
    "overlap_tile",
    "overview",
    "plan_of_several_tiles",
    "read_example",
    "save",
    "seams",
    "segmentation",
    "study",
    "tile_plan",
    "tiles_or_batches",
    "tiling",
    "weight_map",
]
