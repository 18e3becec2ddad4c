"""Conda channels of what this Python has installed: conda packages without a conda registry.

Each distribution becomes a package of its name in conda-forge or bioconda, with the same version
and files. Python itself becomes one that leads to the interpreter of this machine, as in a virtual
environment.
"""

import asyncio
import hashlib
import io
import json
import os
import platform
import shutil
import stat
import sys
import tarfile
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePosixPath

from conda_package_streaming.create import conda_builder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import Subdir
from rattler.index import index_fs

CONDA_NAMES = {
    "matplotlib": "matplotlib-base",
    "snakemake": "snakemake-minimal",
    "torch": "pytorch",
}
CHANNELS = ("conda-forge", "bioconda")
OF_BIOCONDA = {"snakemake-minimal"}
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SITE_PACKAGES = f"lib/python{PYTHON}/site-packages"
SUBDIR = str(Subdir.current())


def requirements(packed: Distribution) -> list[Requirement]:
    """What a distribution requires here, without its extras."""
    parsed = map(Requirement, packed.requires or [])
    return [r for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]


def required(names: set[str]) -> dict[str, Distribution]:
    """Distributions of these names and all that they require here, by canonical name."""
    found, pending = {}, set(names)
    while pending:
        name = pending.pop()
        found[name] = distribution(name)
        further = {canonicalize_name(r.name) for r in requirements(found[name])}
        pending |= further - set(found)
    return found


def conda_spec(requirement: Requirement) -> str:
    """The same requirement to conda, which reads the versions of pip."""
    name = canonicalize_name(requirement.name)
    return f"{CONDA_NAMES.get(name, name)} {requirement.specifier}".strip()


def content(distributions: dict[str, Distribution]) -> str:
    """Digest of all that decides what is in the channel."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(f"{sys.base_prefix} {platform.python_version()}".encode())
    for _, packed in sorted(distributions.items()):
        digest.update(packed.read_text("RECORD").encode())
    return digest.hexdigest()[:16]


def build_channels(folder: Path, names: set[str]) -> Path:
    """Channels with these distributions and what they require, made at their first use.

    Parameters
    ----------
    folder : where they lie, below the digest of their content; those of another are removed.
    names : canonical names, as on the Python Package Index.

    Returns
    -------
    The folder that holds them, each below its name.

    Raises
    ------
    importlib.metadata.PackageNotFoundError : a distribution is not installed here.
    """
    distributions = required(names)
    complete = folder / content(distributions)
    if complete.exists():
        return complete
    partial = folder / f"partial-{os.getpid()}"
    for channel in CHANNELS:
        (partial / channel / SUBDIR).mkdir(parents=True)
        (partial / channel / "noarch").mkdir()
    pack_python(partial)
    for packed in distributions.values():
        pack(partial, packed)
    for channel in CHANNELS:
        asyncio.run(index_fs(partial / channel))
    for other in set(folder.iterdir()) - {partial}:
        shutil.rmtree(other)
    return partial.rename(complete)


def pack_python(channels: Path) -> None:
    """Package of the interpreter: a link to it, and the file that gives it a prefix of its own."""
    interpreter = Path(sys._base_executable).resolve()
    settings = f"home = {interpreter.parent}\ninclude-system-site-packages = false\n"
    members = {
        "pyvenv.cfg": settings.encode(),
        f"bin/python{PYTHON}": PurePosixPath(interpreter),
        "bin/python3": PurePosixPath(f"python{PYTHON}"),
        "bin/python": PurePosixPath(f"python{PYTHON}"),
    }
    write_package(channels, "python", platform.python_version(), "0", [], members)


def pack(channels: Path, packed: Distribution) -> None:
    """Package of one installed distribution: its modules, without the commands it installs."""
    name, version = canonicalize_name(packed.name), Version(packed.version)
    members = {}
    for file in packed.files:
        inside = ".." not in file.parts and not file.is_absolute()
        if inside and file.locate().is_file():  # compiled modules may have been cleared away
            members[f"{SITE_PACKAGES}/{file.as_posix()}"] = Path(file.locate())
    depends = sorted(map(conda_spec, requirements(packed)))
    write_package(
        channels,
        CONDA_NAMES.get(name, name),
        version.public,
        f"{version.local or 'py'}_0",
        [f"python {PYTHON}.*", *depends],
        members,
    )


def write_package(channels, name, version, build, depends, members):
    """Write a .conda file of files (`Path`), links (`PurePosixPath`) and texts (bytes)."""
    index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": depends,
        "subdir": SUBDIR,
        "timestamp": 0,
    }
    folder = channels / ("bioconda" if name in OF_BIOCONDA else "conda-forge") / SUBDIR
    filename = f"{name}-{version}-{build}"
    with conda_builder(filename, folder, compression_level=1, compression_threads=2) as archive:
        paths = [add(archive, place, source) for place, source in sorted(members.items())]
        add(archive, "info/index.json", json.dumps(index).encode())
        add(archive, "info/paths.json", json.dumps({"paths": paths, "paths_version": 1}).encode())


def add(archive: tarfile.TarFile, place: str, source: Path | PurePosixPath | bytes) -> dict:
    """Add one member; returns its entry in info/paths.json."""
    member = tarfile.TarInfo(place)
    if isinstance(source, bytes):
        member.size = len(source)
        archive.addfile(member, io.BytesIO(source))
    elif isinstance(source, Path):
        member.size = source.stat().st_size
        member.mode = stat.S_IMODE(source.stat().st_mode)
        member.mtime = int(source.stat().st_mtime)  # by which Python trusts compiled modules
        with source.open("rb") as file:
            archive.addfile(member, file)
    else:
        member.type, member.linkname = tarfile.SYMTYPE, str(source)
        archive.addfile(member)
        return {"_path": place, "path_type": "softlink", "size_in_bytes": 0}
    return {"_path": place, "path_type": "hardlink", "size_in_bytes": member.size}
