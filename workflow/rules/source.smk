"""Where the workflow's own files lie, which may be hosted elsewhere, and its configuration.

Makes: `SOURCE`, the folder of the repository, with the package in reach of what runs here and in jobs.
"""

import os
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config


def source_folder():
    """Folder of the repository, or of a copy of it where Snakemake reads its rules from a host.

    Snakemake fetches single files from a host. The package is many, and jobs import it: hence a copy
    of the whole commit, beside the clone that Snakemake keeps.
    """
    rules = workflow.current_basedir
    if not hasattr(rules, "hosted_repo"):
        return Path(rules.get_path_or_uri(secret_free=True)).resolve().parents[1]
    clone = rules.hosted_repo.repo
    commit = clone.commit(rules.ref)
    copy = Path(workflow.sourcecache.cache_path) / "unetcore" / commit.hexsha
    if not copy.exists():
        copy.parent.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=copy.parent) as folder:
            unpack(clone, commit, Path(folder) / "copy")
            put_in_place(Path(folder) / "copy", copy)
    return copy


def unpack(clone, commit, folder):
    """Write the files of a commit into a new folder."""
    archive = folder.with_suffix(".tar")
    clone.git.archive(commit.hexsha, output=str(archive))
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")


def put_in_place(folder, place):
    """Rename a folder, unless another process was first."""
    try:
        folder.rename(place)
    except OSError:
        if not place.exists():
            raise


def put_in_reach(folder):
    """Let this process and its jobs import the package of this folder, and no other version of it.

    In an environment of conda, Snakemake hides PYTHONPATH from a job and appends its own search path:
    no other version is there either.
    """
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = dict.fromkeys([str(folder), *filter(None, others)])
    os.environ.update(PYTHONPATH=os.pathsep.join(paths))


def default_config():
    """Configuration to begin with: config.yaml of the working directory, else that of the workflow."""
    is_own = workflow.modifier.is_main_snakefile() and Path("config.yaml").is_file()
    return "config.yaml" if is_own else str(SOURCE / "config.yaml")


def whole_config(given):
    """Configuration of a module: what the workflow that uses it gives, laid over config.yaml."""
    if workflow.modifier.is_main_snakefile():
        return given
    whole = load_configfile(SOURCE / "config.yaml")
    update_config(whole, given)
    return whole


SOURCE = source_folder()
put_in_reach(SOURCE)
