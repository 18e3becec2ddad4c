"""GPUs of a machine, shared out among jobs that know nothing of each other."""

import fcntl
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from unetcore.distributed import under_torchrun

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"


def reserve_gpus(n: int) -> None:
    """Let this process, and those it launches, see `n` GPUs that no other job has reserved.

    A GPU is reserved until this process ends, however it ends. Where too few are free, those with
    the fewest jobs are shared, and a warning says so. What other users or other programs compute
    on is not known.

    Where `n` GPUs or fewer are to be seen, as in a job of SLURM, there is no choice, and all are
    reserved. Nothing is done under torchrun, which gives each of its processes one.

    To be called before CUDA is initialised, which reads CUDA_VISIBLE_DEVICES once.

    Parameters
    ----------
    n : number of GPUs, one for each process of the job.
    """
    visible = os.environ.get(VISIBLE)
    seen = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    if not seen or under_torchrun():
        return
    folder = _folder()
    try:
        chosen = _reserve(seen, n, folder)
    except OSError as error:
        logger.warning("%s: %s: jobs may share a GPU", folder, error.strerror)
        return
    if len(chosen) < len(seen):
        os.environ[VISIBLE] = ",".join(chosen)


def _folder() -> Path:
    """Where this user's jobs reserve; SLURM gives its jobs different GPUs by the same numbers."""
    parts = ("unetcore-gpus", str(os.getuid()), os.environ.get("SLURM_JOB_ID"))
    return Path(tempfile.gettempdir(), "-".join(filter(None, parts)))


def _reserve(seen: Sequence[str], n: int, folder: Path) -> list[str]:
    """Choose the GPUs with the fewest jobs, and lock a file of our own in the folder of each."""
    for name in seen:
        (folder / name).mkdir(parents=True, exist_ok=True)
    choosing = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(choosing, fcntl.LOCK_EX)  # one job at a time, for a moment
        n_jobs = {name: sum(map(_is_alive, (folder / name).glob("job-*"))) for name in seen}
        chosen = sorted(seen, key=n_jobs.get)[:n]
        for name in chosen:
            descriptor, _ = tempfile.mkstemp(prefix="job-", dir=folder / name)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # never closed: the end of the process does it
    finally:
        os.close(choosing)
    logger.info("GPU %s of %s", ",".join(chosen), ",".join(seen))
    if shared := [name for name in chosen if n_jobs[name]]:
        logger.warning("too few GPUs are free: other jobs compute on %s too", ",".join(shared))
    return chosen


def _is_alive(job: Path) -> bool:
    """Whether the process that made a file still holds it; removes what a dead one left."""
    descriptor = os.open(job, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        job.unlink()
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
