"""What a network does to one tile, operation by operation: what Fig. 1 is drawn from."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from unetcore.errors import InputError

COPY = "copy and crop"
UP = "up-conv"
POOL = "max pool"
CONVOLUTION = "conv"


@dataclass(frozen=True)
class Operation:
    """One operation, and the map that it makes.

    Attributes
    ----------
    kind : `CONVOLUTION`, `POOL`, `UP` or `COPY`.
    kernel : px, side of its kernel; 0 for `COPY`.
    level : number of poolings that the map's scale stands for.
    given : px, side of the map that it takes.
    side : px, side of the map that it makes.
    channels : of the map that it makes.
    parameters : that it learns, those of a normalisation after it included.
    then : what is done to each value of the map afterwards: "normalisation", "ReLU".
    """

    kind: str
    kernel: int
    level: int
    given: int
    side: int
    channels: int
    parameters: int = 0
    then: Sequence[str] = ()

    @property
    def name(self) -> str:
        """What Fig. 1 calls it, as in "conv 3×3, ReLU"."""
        kernel = f" {self.kernel}×{self.kernel}" if self.kernel else ""
        return ", ".join([self.kind + kernel, *self.then])

    @property
    def margin(self) -> int:
        """Px that it takes from each side of a map that it does not scale."""
        return (self.given - self.side) // 2


@dataclass(frozen=True)
class Architecture:
    """A network on one input tile.

    Attributes
    ----------
    channels : of the input tile.
    side : px, of the input tile.
    operations : in the order in which they are computed.
    """

    channels: int
    side: int
    operations: Sequence[Operation]

    @property
    def n_convolutions(self) -> int:
        """Number of convolutional layers, up-convolutions included (Sec. 2: 23)."""
        return sum(operation.kind in (CONVOLUTION, UP) for operation in self.operations)

    @property
    def parameters(self) -> int:
        """Number of parameters that are learnt."""
        return sum(operation.parameters for operation in self.operations)


def write_architecture(path: Path, architecture: Architecture) -> None:
    """Write an architecture as JSON."""
    Path(path).write_text(json.dumps(asdict(architecture), indent=1), "utf-8")


def read_architecture(path: Path) -> Architecture:
    """Read what `write_architecture` has written.

    Raises
    ------
    InputError : the file is something else.
    """
    try:
        read = json.loads(Path(path).read_text("utf-8"))
        operations = [Operation(**operation) for operation in read.pop("operations")]
        return Architecture(**read, operations=operations)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not an architecture: {error}") from error
