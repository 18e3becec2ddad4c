"""What a weight update costs, by the tiles it is made of (paper Sec. 3)."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unetcore.errors import InputError
from unetcore.geometry import input_size, multiply_accumulates, needed_multiply_accumulates
from unetcore.settings import NetworkConfig
from unetcore.tidy import csv_lines

COLUMNS = (
    "experiment",
    "output_tile",
    "batch",
    "seconds",
    "memory_bytes",
    "computed",
    "needed",
    "seconds_per_pixel",
    "memory_bytes_per_pixel",
    "computed_per_needed",
    "provenance",
)


@dataclass(frozen=True)
class Grid:
    """Which updates are measured, and how often.

    Attributes
    ----------
    tiles : sides of output tiles in px.
    batches : tiles of an update.
    repeats : turns, in each of which every update is measured once, by a process of its own.
    memory_mb : MB that an update may be estimated to take; what would take more is left out.
    """

    tiles: Sequence[int]
    batches: Sequence[int]
    repeats: int
    memory_mb: int


@dataclass(frozen=True)
class TileCost:
    """What one update cost that was made of a batch of tiles.

    Attributes
    ----------
    experiment : whose network was updated.
    output_tile : side in px.
    batch : tiles of the update.
    seconds : median time of an update.
    memory_bytes : by which the process grew at most, weights and state of the optimiser included;
        on a GPU those of all tensors. NaN where it cannot be known.
    computed : multiply-accumulates of the forward pass.
    needed : those that its output pixels need when no halo is computed.
    provenance : machine, threads, precision, versions.
    """

    experiment: str
    output_tile: int
    batch: int
    seconds: float
    memory_bytes: float
    computed: int
    needed: float
    provenance: str

    @property
    def pixels(self) -> int:
        """Output pixels, each of which counts in the loss."""
        return self.batch * self.output_tile**2

    @property
    def seconds_per_pixel(self) -> float:
        """Time by output pixel."""
        return self.seconds / self.pixels

    @property
    def memory_bytes_per_pixel(self) -> float:
        """Bytes by output pixel."""
        return self.memory_bytes / self.pixels

    @property
    def computed_per_needed(self) -> float:
        """1 if no halo were computed; it does not depend on the batch."""
        return self.computed / self.needed


def operations(network: NetworkConfig, output_tile: int, batch: int) -> tuple[int, float]:
    """Multiply-accumulates of the forward pass of an update: computed, and needed.

    Raises
    ------
    InputError : no such output tile, or a network of which they are not counted.
    """
    check_counted(network)
    side = input_size(output_tile, network.depth)
    shape = network.width, network.depth
    computed = multiply_accumulates(side, side, *shape)
    needed = needed_multiply_accumulates(output_tile, output_tile, *shape)
    return batch * computed, batch * needed


def check_counted(network: NetworkConfig) -> None:
    """Refuse a network that is not as in Fig. 1, but for width and depth."""
    whole = network.skip_connections and network.expansive_width in (None, network.width)
    if network.family != "u-net" or not whole:
        raise InputError(
            "tiles_or_batches: operations are counted for the u-net of Fig. 1, of any width and "
            "depth, with its copy and crop and as wide an expansive path"
        )


def csv_text(costs: Sequence[TileCost]) -> str:
    """Write costs in tidy form: one row per update measured, columns as in `COLUMNS`."""
    return csv_lines(COLUMNS, ([getattr(cost, column) for column in COLUMNS] for cost in costs))


def read_costs(path: Path) -> list[TileCost]:
    """Read what `csv_text` has written.

    Raises
    ------
    InputError : other columns, or no row.
    """
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(f"{path}: columns {reader.fieldnames}: need {', '.join(COLUMNS)}")
        costs = [_cost(row) for row in reader]
    if not costs:
        raise InputError(f"{path}: no row")
    return costs


def _cost(row: dict[str, str]) -> TileCost:
    return TileCost(
        row["experiment"],
        int(row["output_tile"]),
        int(row["batch"]),
        float(row["seconds"]),
        float(row["memory_bytes"]),
        int(row["computed"]),
        float(row["needed"]),
        row["provenance"],
    )
