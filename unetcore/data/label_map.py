"""What the values of label files mean: cell, background, or nothing that is known."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unetcore.errors import InputError, naming
from unetcore.labels import IGNORED, check_mask, integers, refuse_negative

BACKGROUND, CELL, IGNORE = "background", "cell", "ignore"
MEANINGS = (BACKGROUND, CELL, IGNORE)
NAME_IT = ", or its meaning in a label map"


@dataclass(frozen=True)
class LabelMap:
    """Meaning of the values of label files.

    Attributes
    ----------
    meanings : "background", "cell" or "ignore" by value, a whole number. Empty: 0 is
        background and all else cell. In labels of instances, values that are not named are
        cells with this number.

    Raises
    ------
    InputError : another meaning, or a value that is no whole number.
    """

    meanings: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self):
        for value, meaning in self.meanings.items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise InputError(f"label map: value {value!r}: need a whole number")
            if meaning not in MEANINGS:
                raise InputError(
                    f"label map: {value} means {meaning!r}: need one of {', '.join(MEANINGS)}"
                )

    @classmethod
    def parse(cls, text: str) -> "LabelMap":
        """Read a map as it is given on a command line.

        Examples
        --------
        >>> LabelMap.parse("0=cell, 255=background").meanings
        {0: 'cell', 255: 'background'}
        """
        meanings = {}
        for part in text.split(","):
            if not (found := re.fullmatch(r"\s*(-?\d+)\s*=\s*(\w+)\s*", part)):
                raise InputError(f"label map {text!r}: need VALUE=MEANING, as in 0=cell,255=ignore")
            if (value := int(found[1])) in meanings:
                raise InputError(f"label map {text!r}: value {value} is there twice")
            meanings[value] = found[2]
        return cls(meanings)

    @classmethod
    def given(cls, text: str | None, ignored: int | None) -> "LabelMap":
        """Map as options give it, each None where it was not given."""
        return (cls() if text is None else cls.parse(text)).with_ignored(ignored)

    def __str__(self) -> str:
        return ",".join(f"{value}={meaning}" for value, meaning in self.meanings.items())

    @property
    def names_cells(self) -> bool:
        """Whether it says which values are cells, as only that of a mask does."""
        return CELL in self.meanings.values()

    def with_ignored(self, value: int | None) -> "LabelMap":
        """Map in which one value more is ignored; None: as it is."""
        if value is None:
            return self
        return LabelMap({**self.meanings, value: IGNORE})

    def kind_of(self, labels: np.ndarray) -> str:
        """Guess what labels are: "mask" where all values are named, or at most two are known."""
        values = np.unique(labels)
        known = [v for v in values.tolist() if self.meanings.get(v) != IGNORE]
        if self.meanings and all(value in self.meanings for value in values.tolist()):
            return "mask"
        return "mask" if len(known) <= 2 else "instances"

    def apply(self, labels: np.ndarray, kind: str, name: Path | str = "labels") -> np.ndarray:
        """Labels in the one form that the rest of the package reads.

        Parameters
        ----------
        labels : array of whole numbers, of any shape; those below 0 need a meaning.
        kind : "mask" or "instances".
        name : what messages call the labels, for instance their file.

        Returns
        -------
        uint16 array of the same shape: 0 background, `IGNORED` where nothing is known, else cell: 1
        in a mask, a number per cell in instances. Numbers that do not fit are given anew.

        Raises
        ------
        InputError : a value that is no whole number, one below 0 without a meaning, a mask with a
            value that has no meaning, instances in which a value means "cell", or too many of them.
        """
        with naming(name):
            labels = integers(np.asarray(labels))
            if not self.names_cells:
                refuse_negative(labels[~self._named(labels)], NAME_IT)
        return self._mask(labels, name) if kind == "mask" else self._instances(labels, name)

    def _mask(self, labels, name):
        if not self.names_cells:
            return self._two_valued(labels, name)
        values, places = np.unique(labels, return_inverse=True)
        if unknown := [value for value in values.tolist() if value not in self.meanings]:
            raise InputError(f"{name}: value {unknown[0]} is not in the label map {self}")
        coded = {BACKGROUND: 0, CELL: 1, IGNORE: IGNORED}
        codes = np.array([coded[self.meanings[value]] for value in values.tolist()], np.uint16)
        return codes[places].reshape(labels.shape)

    def _two_valued(self, labels, name):
        """Mask of which the map does not name the cells: they have the one value that is left."""
        background, ignored = (self._pixels(labels, what) for what in (BACKGROUND, IGNORE))
        known = np.where(background | ignored, 0, labels)
        try:
            check_mask(known)
        except InputError as error:
            raise InputError(f"{name}: {error}, or a label map") from error
        return np.where(ignored, np.uint16(IGNORED), (known > 0).astype(np.uint16))

    def _instances(self, labels, name):
        if self.names_cells:
            raise InputError(
                f"label map {self}: in instances every number is a cell; name background and ignore"
            )
        background, ignored = (self._pixels(labels, what) for what in (BACKGROUND, IGNORE))
        cells = np.where(background | ignored, 0, labels)
        if cells.size and cells.max() >= IGNORED:
            values, places = np.unique(cells, return_inverse=True)
            cells = places.reshape(cells.shape) + (values[0] != 0)
            if cells.max() >= IGNORED:
                raise InputError(f"{name}: {cells.max()} cells, at most {IGNORED - 1} are possible")
        return np.where(ignored, np.uint16(IGNORED), cells.astype(np.uint16))

    def _named(self, labels):
        return np.isin(labels, list(self.meanings))

    def _pixels(self, labels, meaning):
        values = [value for value, what in self.meanings.items() if what == meaning]
        return np.isin(labels, values)
