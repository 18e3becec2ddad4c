"""Settings of the loss weight maps (paper Sec. 3, Eq. 2), and what they may be.

They stand apart from `unetcore.weights`, which computes the maps: reading a configuration takes no
compiler.
"""

import math
from dataclasses import dataclass
from numbers import Real

from unetcore.errors import InputError

LABEL_KINDS = ("mask", "instances")
FORMS = {  # of the weight map, with the settings that it alone uses
    "ronneberger2015": ("w0", "sigma", "balance"),
    "falk2019": ("background", "background_sigma", "separation", "separation_sigma"),
}
BALANCES = ("inverse-frequency", "rarest-one", "none")
LATER_GAP = 1  # px, between touching cells in the authors' later code


@dataclass(frozen=True, kw_only=True)
class WeightMapConfig:
    """How labels become classes and loss weights.

    Attributes
    ----------
    form : "ronneberger2015" (Eq. 2, `unetcore.weights.weight_map`) or "falk2019"
        (`unetcore.weights.later_weight_map`).
    w0 : height of the border term of Eq. 2, >= 0 (paper: 10).
    sigma : its width in px, > 0 (paper: about 5).
    balance : form of the class balance w_c of Eq. 2, see `unetcore.weights.class_balance`.
    gap : px of background put between touching instances, see
        `unetcore.weights.separate_touching`.
    background, background_sigma, separation, separation_sigma : of the form "falk2019" alone, see
        `unetcore.weights.later_weight_map`.
    ignore_label : label whose pixels are no cell, no background, and weigh nothing; None for none.

    Raises
    ------
    InputError : a value is out of range; the message names it and its rule.
    """

    form: str
    w0: float
    sigma: float
    balance: str
    gap: int
    background: float
    background_sigma: float
    separation: float
    separation_sigma: float
    ignore_label: int | None

    def __post_init__(self):
        check_choice("form of the weight map", self.form, FORMS)
        check_choice("class balance", self.balance, BALANCES)
        check_heights(w0=self.w0, separation=self.separation)
        check_share(self.background)
        check_widths(
            sigma=self.sigma,
            background_sigma=self.background_sigma,
            separation_sigma=self.separation_sigma,
        )
        check_gap(self.gap)
        check_ignore_label(self.ignore_label)


def check_choice(what, value, known):
    """Refuse a name that is not among those known."""
    if value not in tuple(known):  # a list is not found there; in a dict, it could not be sought
        raise InputError(f"{what} {value!r}: need one of {', '.join(known)}")


def check_heights(**values):
    """Refuse heights that are negative or not finite."""
    for name, value in values.items():
        if not (isinstance(value, Real) and 0 <= value < math.inf):
            raise InputError(f"{name} = {value!r}: {name} must be >= 0 and finite")


def check_widths(**values):
    """Refuse widths in px that are not positive and finite."""
    for name, value in values.items():
        if not (isinstance(value, Real) and 0 < value < math.inf):
            raise InputError(f"{name} = {value!r} px: {name} must be > 0 and finite")


def check_share(background):
    """Refuse a share outside [0, 1]."""
    if not (isinstance(background, Real) and 0 <= background <= 1):
        raise InputError(f"background = {background!r}: background must be in [0, 1]")


def check_gap(gap):
    """Refuse a gap in px that is neither 0 nor odd."""
    if not (isinstance(gap, Real) and (gap == 0 or (gap > 0 and gap % 2 == 1))):
        raise InputError(f"gap of {gap!r} px between touching cells: need 0 or an odd number")


def check_ignore_label(label):
    """Refuse a label that is no whole number >= 1, and not None."""
    if label is not None and not (isinstance(label, Real) and label >= 1 and label % 1 == 0):
        raise InputError(f"ignore label of {label!r}: need a whole number >= 1")
