"""What a job finds on the machine that a scheduler gave it, before it computes on a GPU."""

import logging
import os
import platform
import subprocess

import torch

from unetcore.errors import InputError
from unetcore.gpus import VISIBLE, reserve_gpus

logger = logging.getLogger(__name__)

QUERY = ("nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader")
PATIENCE = 60  # seconds; the driver of a broken GPU may never answer


def take_gpus(n: int, device: str) -> None:
    """Begin a job: reserve GPUs, and log what was found; nothing where networks compute on a CPU.

    To be called before CUDA is initialised, see `unetcore.gpus.reserve_gpus`.

    Parameters
    ----------
    n, device : as of `probe_gpus`.

    Raises
    ------
    InputError : `device` is "gpu" and torch sees fewer than `n`.
    """
    if device != "cpu":
        reserve_gpus(n)
        probe_gpus(n, device)


def probe_gpus(n: int, device: str) -> None:
    """Log host, driver, visible devices and build of torch; stop where GPUs are missing.

    No memory of a GPU is taken. To be called after `unetcore.gpus.reserve_gpus`, which may hide
    devices.

    Parameters
    ----------
    n : number of GPUs that the job needs, one for each of its processes.
    device : of `unetcore.devices.DEVICES`; only "gpu" insists on GPUs.

    Raises
    ------
    InputError : `device` is "gpu" and torch sees fewer than `n`.
    """
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = describe_machine(seen)
    if device == "gpu" and seen < n:
        asked = "a GPU was" if n == 1 else f"{n} GPUs were"
        raise InputError(f"{asked} asked for and {seen or 'none'} can be seen: {found}")
    logger.info("%s", found)


def describe_machine(seen: int) -> str:
    """Host, driver, visible devices and build of torch in one line.

    Parameters
    ----------
    seen : number of devices that torch sees.
    """
    driver, names = ask_driver()
    cuda = torch.version.cuda
    return "; ".join(
        (
            f"host {platform.node()}",
            f"driver {driver}" + (f" of {', '.join(names)}" if names else ""),
            f"{VISIBLE} {os.environ.get(VISIBLE, 'not set')}",
            f"torch {torch.__version__} {f'for CUDA {cuda}' if cuda else 'for CPUs'} sees {seen}",
        )
    )


def ask_driver() -> tuple[str, list[str]]:
    """Version of NVIDIA's driver and names of the GPUs that it lists; "none" where it is silent."""
    try:
        said = subprocess.run(QUERY, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return "none", []
    rows = [line.split(", ", 1) for line in said.stdout.splitlines() if ", " in line]
    if said.returncode or not rows:
        return "none", []
    return rows[0][0], [name for _, name in rows]
