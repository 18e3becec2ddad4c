"""A bundle from the files of the workflow."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

import unetcore
from unetcore.bundle.archive import PLAN, Writer, writing
from unetcore.bundle.plan import Plan
from unetcore.data.dataset import Dataset
from unetcore.data.io import pixel_digest

PACKAGE = Path(unetcore.__file__).parent
DIGITS = 12  # of a digest that names an array


def pack_bundle(
    path: Path,
    name: str,
    experiments: Mapping[str, Mapping],
    datasets: Mapping[str, Dataset],
    codes: Mapping[str, str],
) -> Plan:
    """Write a bundle.

    Parameters
    ----------
    path : file to write, whole or not at all; the same content makes the same bytes.
    name : of the table or study that the experiments serve.
    experiments : see `unetcore.bundle.plan.Plan`, but for the names of arrays.
    datasets : files of the dataset of each experiment, with its classes and weights.
    codes : digests of the code, see there.

    Returns
    -------
    Plan that the bundle holds.

    Raises
    ------
    InputError : a file cannot be read.
    """
    with writing(path) as archive:
        arrays = _Arrays(archive)
        described, with_arrays = {}, {}
        for experiment, settings in experiments.items():
            files_of, dataset = datasets[experiment], settings["dataset"]
            frames = files_of.read_frames()
            pages = range(len(frames))
            if dataset not in described:
                described[dataset] = {
                    "images": arrays.add(files_of.read_grey(pages)),
                    "frames": [asdict(frame) for frame in frames],
                }
            classes, weights = map(arrays.add, files_of.read_targets(pages))
            with_arrays[experiment] = {**settings, "classes": classes, "weights": weights}
        plan = Plan(name, codes, described, with_arrays)
        archive.add(PLAN, plan.to_json())
        _add_package(archive)
    return plan


class _Arrays:
    """Arrays of a bundle, each once, named after their content."""

    def __init__(self, archive: Writer):
        self._archive, self._names = archive, set()

    def add(self, array: np.ndarray) -> str:
        name = f"arrays/{pixel_digest(array)[:DIGITS]}.npy"
        if name not in self._names:
            self._archive.add_array(name, array)
            self._names.add(name)
        return name


def _add_package(archive):
    """Add the source of this package, and the entry that ``python FILE`` runs."""
    archive.add("__main__.py", (PACKAGE / "bundle/start.py").read_bytes())
    for source in sorted(PACKAGE.rglob("*.py")):
        archive.add(source.relative_to(PACKAGE.parent).as_posix(), source.read_bytes())
