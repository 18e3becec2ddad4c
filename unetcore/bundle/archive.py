"""The files of a bundle and of its results: zip archives that are the same for the same content."""

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetcore.bundle.plan import Plan
from unetcore.data.files import replacing
from unetcore.data.frames import Frame
from unetcore.errors import InputError

PLAN = "plan.json"
MODEL = "model.safetensors"
RECORDS = ("history.csv", "validation.csv", "run.json")  # of a training, beside its model
MAP, PREDICTION, SEAM = "probability.npy", "prediction.json", "seam.json"


def as_file(array: np.ndarray) -> bytes:
    """Content of a file of NumPy's own form."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


class Writer:
    """An archive that is being written."""

    def __init__(self, file: zipfile.ZipFile):
        self._file = file

    def add(self, name: str, content: bytes | str) -> None:
        """Add a file; without its date."""
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        self._file.writestr(info, content)

    def add_array(self, name: str, array: np.ndarray) -> None:
        """Add an array as a file of NumPy's own form."""
        self.add(name, as_file(array))


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Write an archive that appears whole or not at all; its folder is made where it is missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        yield Writer(file)


@dataclass(frozen=True)
class Archive:
    """A bundle, or results of one, as a file to read from."""

    path: Path

    def names(self) -> set[str]:
        """Names of the files in it.

        Raises
        ------
        InputError : no such archive, or a damaged one; so do the other methods.
        """
        with self._opened() as file:
            return set(file.namelist())

    def read(self, name: str) -> bytes:
        """Content of a file in it."""
        with self._opened() as file:
            return file.read(name)

    def read_all(self) -> dict[str, bytes]:
        """Content of every file in it, by name; of an archive that is small."""
        with self._opened() as file:
            return {name: file.read(name) for name in file.namelist()}

    def read_record(self, name: str) -> dict:
        """Plain values of a JSON file in it."""
        content = self.read(name)
        try:
            return json.loads(content)
        except ValueError as error:
            raise InputError(f"{self.path}: {name}: {error}") from error

    def read_array(self, name: str) -> np.ndarray:
        """Array of a file in it."""
        content = self.read(name)
        try:
            return np.load(io.BytesIO(content), allow_pickle=False)
        except ValueError as error:
            raise InputError(f"{self.path}: {name}: {error}") from error

    def read_plan(self) -> Plan:
        """Plan that it is about."""
        return Plan.from_json(self.read(PLAN), f"{self.path}: {PLAN}")

    @contextmanager
    def _opened(self):
        if not Path(self.path).is_file():
            raise InputError(f"{self.path}: no such file")
        try:
            with zipfile.ZipFile(self.path) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
            reason = error.args[0] if error.args else "cut short"
            raise InputError(
                f"{self.path}: no archive of this package, or damaged ({reason})"
            ) from error


@dataclass(frozen=True)
class PackedDataset:
    """The dataset of an experiment in a bundle; see `unetcore.fold_training.Source`."""

    bundle: Archive
    experiment: str

    def read_frames(self) -> list[Frame]:
        """All frames, in the order of their pages."""
        return self.bundle.read_plan().frames(self.experiment)

    def read_grey(self, pages: Sequence[int]) -> np.ndarray:
        """Images of some pages, (N, H, W) float32 in [0, 1]."""
        plan = self.bundle.read_plan()
        dataset = plan.datasets[plan.experiments[self.experiment]["dataset"]]
        return self.bundle.read_array(dataset["images"])[pages]

    def read_targets(self, pages: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Classes and loss weights of some pages, (N, H, W) each."""
        own = self.bundle.read_plan().experiments[self.experiment]
        classes, weights = (self.bundle.read_array(own[name]) for name in ("classes", "weights"))
        return classes[pages], weights[pages]

    def read_labels(self, pages: Sequence[int]) -> np.ndarray:
        """Refuse: what scores are measured with is not on the machine that a bundle is for."""
        raise InputError(f"{self.bundle.path}: holds no labels: trainings cannot be watched here")
