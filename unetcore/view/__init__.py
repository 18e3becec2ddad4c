"""A page to look at a prediction: one HTML file with all that it needs, for any browser.

Imports of the modules go one way: pixels, curves | page. `reading` stands alone.
"""

from unetcore.view.page import MAX_SIDE, View, write_view
from unetcore.view.pixels import LEVELS
from unetcore.view.reading import open_cells, open_images, open_maps, open_reference

__all__ = [
    "LEVELS",
    "MAX_SIDE",
    "View",
    "open_cells",
    "open_images",
    "open_maps",
    "open_reference",
    "write_view",
]
