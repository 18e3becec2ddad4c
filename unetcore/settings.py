"""Settings of a training: every number that decides which network comes out."""

import math
from dataclasses import asdict, dataclass
from numbers import Integral

from unetcore import geometry
from unetcore.data.intensity import NORMALISATIONS
from unetcore.errors import InputError

OPTIMISERS = ("sgd", "adamw")
PRECISIONS = ("auto", "float32", "bfloat16")
SCHEDULES = ("constant", "step", "cosine")
REDUCTIONS = ("weighted-mean", "mean", "sum")
FAMILIES = ("u-net", "fcn", "sliding-window")
WINDOW = 95  # px, side of what the sliding window sees (Ciresan et al. 2012, network N4)
WINDOW_HALO = WINDOW // 2
INITIAL_WEIGHTS = ("he", "xavier", "pytorch")
LARGEST_SEED = 2**63 - 1

# What changes how a training is watched and kept, but not the network that comes out.
OF_THE_WATCH = ("log_every", "checkpoint_every", "checkpoint_minutes", "validate_every")


# What a family lacks of the U-Net's settings, and what then stands in their place.
_PAPER_PATH = {"variant": "figure1", "expansive_width": None}
NOT_OF = {
    "u-net": {},
    "fcn": _PAPER_PATH,
    "sliding-window": {**_PAPER_PATH, "depth": 4, "normalised": False, "skip_connections": True},
}


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network.

    Attributes
    ----------
    family : "u-net"; "fcn" or "sliding-window", which the paper compares with.
    others : arguments of `unetcore.model.UNet`, which says what they mean. The other families have
        fewer of them, see `unetcore.families`; what they lack must be as in the paper's network.

    Raises
    ------
    InputError : unknown family, drop-out out of bounds, or a setting that the family does not have.
    """

    family: str
    variant: str
    width: int
    depth: int
    dropout: float
    normalised: bool
    skip_connections: bool
    expansive_width: int | None

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise InputError(f"family {self.family!r}: need one of {', '.join(FAMILIES)}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout {self.dropout}: need a number from 0 to below 1")
        for name, value in NOT_OF[self.family].items():
            if (given := getattr(self, name)) != value:
                raise InputError(f"{name} {given!r}: a network of family {self.family} has none")

    def arguments(self) -> dict:
        """Settings that the family has, as keyword arguments of its network."""
        without = {"family", *NOT_OF[self.family]}
        return {name: value for name, value in asdict(self).items() if name not in without}

    def input_tile(self, output_tile: int) -> int:
        """Side in px of the input tile from which an output tile is trained.

        Raises
        ------
        InputError : the network cannot make such an output tile; the nearest are named.
        """
        if self.family != "sliding-window":
            return geometry.input_size(output_tile, self.depth)
        if output_tile < 1:
            raise InputError(f"output tile of {output_tile} px: need at least 1")
        return output_tile + 2 * WINDOW_HALO

    def output_tiles(self, largest: int) -> range:
        """Sides in px of all output tiles below `largest`."""
        if self.family == "sliding-window":
            return range(1, largest)
        return range(4, largest, geometry.phase(self.depth))


def check_seed(seed: int) -> None:
    """Refuse a seed that is no whole number from 0 to `LARGEST_SEED`."""
    if not isinstance(seed, Integral) or not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"seed {seed}: need a whole number from 0 to {LARGEST_SEED}")


def check_expansive_width(expansive_width: int | None, width: int) -> None:
    """Refuse an expansive path that is wider than the contracting one; None is as wide."""
    if expansive_width is not None and not 1 <= expansive_width <= width:
        raise InputError(f"expansive_width {expansive_width}: need 1 to the width, {width}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained.

    Attributes
    ----------
    steps : number of weight updates, at least 1.
    batch : tiles of one update (paper: 1).
    accumulate : parts in which a batch is computed one after the other; each takes the memory of
        batch / accumulate tiles.
    output_tile : side of the output tile in px (paper: 388), one of 4 + 16 k; of a sliding window
        how many pixels a side are classified at once, 1 for single windows.
    normalisation : of the images, see `unetcore.data.intensity`; kept with the model.
    initial_weights : "he", Gaussian with std sqrt(2 / N) (paper); "xavier", Gaussian with std
        sqrt(2 / (N + M)), N incoming and M outgoing nodes; "pytorch", what the library does.
    optimiser : "sgd" (paper) or "adamw".
    learning_rate : largest rate; for a loss that is a mean over pixels, unless `reduction` is
        "sum".
    momentum : of SGD (paper: 0.99); AdamW's first decay rate.
    weight_decay : on weights, not on biases.
    schedule : "constant"; "step" multiplies the rate by 0.1 after 70 % of the steps; "cosine" ends
        at 0.
    warmup_steps : steps over which the rate rises linearly from 0.
    reduction : of the energy over the pixels of a tile, see
        `unetcore.loss.weighted_cross_entropy`.
    dice : weight of the soft Dice loss that is added to the energy, 0 for none (paper).
    clip : longest gradient of an update, a longer one is shortened to it; None for no limit
        (paper).
    precision : "float32", "bfloat16" (mixed, with float32 weights and loss), or "auto": bfloat16
        where the hardware computes in it.
    deterministic : whether a GPU may use only kernels that repeat a result bit for bit. A CPU does
        in any case.
    log_every : steps between two rows of the history.
    checkpoint_every : steps between two saved states.
    checkpoint_minutes : a state is also saved at a log step so many minutes after the last one.
    validate_every : steps between two looks at held-out slices, 0 for none.

    Raises
    ------
    InputError : a value outside these bounds.
    """

    steps: int
    batch: int
    accumulate: int
    output_tile: int
    normalisation: str
    initial_weights: str
    optimiser: str
    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: str
    warmup_steps: int
    reduction: str
    dice: float
    clip: float | None
    precision: str
    deterministic: bool
    log_every: int
    checkpoint_every: int
    checkpoint_minutes: float
    validate_every: int

    def __post_init__(self):
        for name, known in (
            ("normalisation", NORMALISATIONS),
            ("initial_weights", INITIAL_WEIGHTS),
            ("optimiser", OPTIMISERS),
            ("schedule", SCHEDULES),
            ("reduction", REDUCTIONS),
            ("precision", PRECISIONS),
        ):
            if (value := getattr(self, name)) not in known:
                raise InputError(f"{name} {value!r}: need one of {', '.join(known)}")
        for name, least in (
            ("steps", 1),
            ("batch", 1),
            ("accumulate", 1),
            ("warmup_steps", 0),
            ("log_every", 1),
            ("checkpoint_every", 1),
            ("validate_every", 0),
        ):
            if not isinstance(value := getattr(self, name), Integral):
                raise InputError(f"{name} {value}: need a whole number")
            if value < least:
                raise InputError(f"{name} {value}: need at least {least}")
        self._check_numbers()

    def _check_numbers(self):
        for name, holds, rule in (
            ("learning_rate", 0 < self.learning_rate < math.inf, "a finite number above 0"),
            ("momentum", 0 <= self.momentum < 1, "a number from 0 to below 1"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "a finite number >= 0"),
            ("dice", 0 <= self.dice < math.inf, "a finite number >= 0"),
            ("checkpoint_minutes", self.checkpoint_minutes > 0, "a number above 0"),
            ("clip", self.clip is None or self.clip > 0, "a number above 0, or none"),
        ):
            if not holds:
                raise InputError(f"{name} {getattr(self, name)}: need {rule}")
        if self.batch % self.accumulate:
            raise InputError(
                f"batch of {self.batch} tiles in {self.accumulate} parts: need parts of equal size"
            )

    def decisive(self) -> dict:
        """Settings that decide which network comes out, by name."""
        return {name: value for name, value in asdict(self).items() if name not in OF_THE_WATCH}
