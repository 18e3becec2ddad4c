"""The datasets this project knows: where they come from, how to check them, on what terms."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from unetcore.errors import InputError, first_line


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset of the catalogue.

    Parameters
    ----------
    name : name by which experiments ask for it.
    title : the same for people.
    layout : how the archive is laid out, ``isbi2012`` or ``ctc``; ``samples`` for images of one's
        own, see `own_dataset`.
    members : git blob sha1 of the official files in the archive; None: any content will do.
    pixels : sha256 of the decoded pixels by ``images/SEQUENCE`` and ``labels/SEQUENCE``.
    citation : what to cite.
    terms : on what terms the data may be used.
    pixel_size : side of a pixel in micrometres, None where there is no such thing.
    field_of_interest : px along each border in which objects are not evaluated.
    partial : ids of the frames that are only partly annotated.
    archive : file name of the official archive, None for generated data.
    url : address of the official archive, None for generated data.
    sha256 : of the official archive, None where none is published.
    generator : what makes the data, None for downloaded data.
    seed : seed of the generator.
    samples : sample sheet of images of one's own, else None.
    kind : what the labels of these are.
    """

    name: str
    title: str
    layout: str
    members: Mapping[str, str | None]
    pixels: Mapping[str, str]
    citation: tuple[str, ...]
    terms: str
    pixel_size: float | None
    field_of_interest: int
    partial: tuple[str, ...]
    archive: str | None = None
    url: str | None = None
    sha256: str | None = None
    generator: str | None = None
    seed: int | None = None
    samples: str | None = None
    kind: str | None = None

    @property
    def label_kind(self) -> str:
        """What the labels are, ``mask`` or ``instances``."""
        if self.kind:
            return self.kind
        return "mask" if self.layout == "isbi2012" else "instances"


def read_catalog(path: Path) -> dict[str, Dataset]:
    """Read the catalogue.

    Parameters
    ----------
    path : YAML file with one entry per dataset.

    Returns
    -------
    dict of `Dataset` by name, in the order of the file.

    Raises
    ------
    InputError : no such file, no YAML mapping, or an entry with an unknown or a missing key.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not a YAML file ({first_line(error)})") from error
    if not isinstance(entries, dict):
        raise InputError(f"{path}: expected one entry per dataset")
    return {name: _dataset(name, entry, path) for name, entry in entries.items()}


def own_dataset(name: str, title: str, samples: str, kind: str) -> Dataset:
    """Entry of the catalogue for images of one's own; see `unetcore.data.entry`."""
    return Dataset(
        name=name,
        title=title,
        layout="samples",
        members={},
        pixels={},
        citation=(),
        terms="",
        pixel_size=None,
        field_of_interest=0,
        partial=(),
        samples=samples,
        kind=kind,
    )


def _dataset(name: str, entry: object, path: Path) -> Dataset:
    """One entry of the catalogue, with nothing unknown and nothing left out."""
    if not isinstance(entry, dict):
        raise InputError(f"{path}: {name}: expected keys and values")
    known = {field.name for field in fields(Dataset)} - {"name", "samples", "kind"}
    if unknown := sorted(entry.keys() - known):
        raise InputError(f"{path}: {name}: unknown key {unknown[0]!r}")
    required = known - {"archive", "url", "sha256", "generator", "seed"}
    required |= {"generator", "seed"} if "generator" in entry else {"archive", "url", "sha256"}
    if missing := sorted(required - entry.keys()):
        raise InputError(f"{path}: {name}: key {missing[0]!r} is missing")
    tuples = {key: tuple(entry[key]) for key in ("citation", "partial")}
    return Dataset(name=name, **{**entry, **tuples})
