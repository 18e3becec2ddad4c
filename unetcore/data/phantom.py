"""The two phantoms: generated data that stand in for the challenges' images in demo and tests.

Each is written as an archive in the layout of the official one it stands in for, so that it passes
through the same rules and the same canonical form as real data.
"""

from unetcore.data.phantom_cells import write_phantom_cells
from unetcore.data.phantom_em import write_phantom_em

__all__ = ["write_phantom_cells", "write_phantom_em"]
