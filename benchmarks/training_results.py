"""What is measured of a training's speed, as numbers in memory and in a file."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from unetcore.errors import InputError

CHANNELS = 256  # in and out of the convolution that is the measure of all


@dataclass(frozen=True)
class Case:
    """What a row is measured for.

    Attributes
    ----------
    task : "training"; "image", prediction of a whole one; "tiles", prediction of a batch of them.
    width : of the network.
    batch : tiles of one update or prediction.
    precision : "float32" or "bfloat16".
    graph : whether a GPU replays a captured graph; a CPU has none.
    """

    task: str
    width: int
    batch: int
    precision: str
    graph: bool


@dataclass(frozen=True)
class Measurement(Case):
    """A row of the table; numbers are NaN where the memory did not suffice, or for no meaning.

    Attributes
    ----------
    seconds : of one update or prediction, median.
    augmentation : of it, were the tiles cut by themselves, 0 to 1 and above; NaN for predictions.
    operations : of the convolutions of one update or prediction.
    memory : bytes, largest so far.
    """

    seconds: float
    augmentation: float
    operations: int
    memory: float

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


@dataclass(frozen=True)
class Ceiling:
    """Operations per second of what a library does best, in one precision."""

    convolution: float
    matrix_product: float


@dataclass(frozen=True)
class Results:
    """What one run has measured.

    Attributes
    ----------
    device : "cpu" or "gpu".
    machine : where, when and with what, by name.
    image, input_tile : sides in px.
    ceilings : by precision.
    rows : in the order of the table.
    """

    device: str
    machine: dict[str, str | int | bool]
    image: int
    input_tile: int
    ceilings: dict[str, Ceiling]
    rows: list[Measurement]

    def write(self, path: Path) -> None:
        """Write a file that any machine reads."""
        found = asdict(self)
        found["rows"] = [_without_nan(row) for row in found["rows"]]
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read what `write` has written.

        Raises
        ------
        InputError : the file is not there, or holds something else.
        """
        try:
            found = json.loads(path.read_text("utf-8"))
            ceilings = {name: Ceiling(**numbers) for name, numbers in found["ceilings"].items()}
            rows = [Measurement(**_with_nan(row)) for row in found["rows"]]
            return cls(**found | {"ceilings": ceilings, "rows": rows})
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: need a file that --json has written ({error})") from error


def _without_nan(row):
    """Numbers that JSON knows."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in row.items()
    }


def _with_nan(row):
    return {name: math.nan if value is None else value for name, value in row.items()}
