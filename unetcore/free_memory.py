"""How much memory a process may still take: by the machine, by its limits, by its GPU."""

from pathlib import Path

import torch

try:
    import resource
except ImportError:  # not on Windows
    resource = None

PROC = Path("/proc")
RESERVED = 50_000_000  # bytes of addresses that the kernels of a network reserve and hardly use
CGROUP_FILES = {  # by the type of the mount: limit, usage, and the part of it that can be dropped
    "cgroup2": ("memory.max", "memory.current", "inactive_file"),
    "cgroup": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_memory(device: torch.device, proc: Path = PROC) -> int | None:
    """Bytes that this process may still take on a device; the tightest of all limits counts.

    On a CPU these are the machine's available memory, the control groups that the process is in
    (containers, jobs of a cluster), and its own limit of address space (`ulimit -v`). On a GPU it
    is what is free there, and what this process holds there without using it.

    Parameters
    ----------
    device : where the memory is wanted.
    proc : folder in which Linux describes itself.

    Returns
    -------
    int >= 0; None where the system does not say.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    limits = [_of_machine(proc), _of_address_space(proc), *_of_cgroups(proc)]
    known = [max(0, limit) for limit in limits if limit is not None]
    return min(known, default=None)


def resident_memory(proc: Path = PROC) -> int | None:
    """Bytes of main memory that this process holds now; None where the system does not say."""
    kilobytes = _numbers(proc / "self/status").get("VmRSS:")
    return None if kilobytes is None else 1024 * kilobytes


def _of_machine(proc):
    """Memory that Linux can hand out without swapping."""
    kilobytes = _numbers(proc / "meminfo").get("MemAvailable:")
    return None if kilobytes is None else 1024 * kilobytes


def _of_address_space(proc):
    """What is left of `ulimit -v` for data; 42 MB of addresses were seen that never held any."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _numbers(proc / "self/status").get("VmSize:")
    return (
        None if limit == resource.RLIM_INFINITY or used is None else limit - 1024 * used - RESERVED
    )


def _of_cgroups(proc):
    """What is left in the process's control group and in each that this one is part of."""
    for folder, (limit, usage, droppable) in _cgroup_folders(proc):
        try:
            used = int((folder / usage).read_text())
            most = int((folder / limit).read_text())
        except (OSError, ValueError):  # the root has no limit, others may have the limit "max"
            continue
        yield most - used + _numbers(folder / "memory.stat").get(droppable, 0)


def _cgroup_folders(proc):
    """Folders of all memory control groups that the process is in, and the files of their kind.

    A container may see its own group at the mount point while its path is that of the host, so
    folders that are not there are passed over.
    """
    mounts = [line.split() for line in _lines(proc / "self/mounts")]
    for line in _lines(proc / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        kind = "cgroup" if "memory" in controllers.split(",") else "cgroup2"
        if kind == "cgroup" or not controllers:
            for _, mount, of_kind, options, *_ in mounts:
                if of_kind == kind and (kind == "cgroup2" or "memory" in options.split(",")):
                    group = Path(path.lstrip("/"))
                    for part in (group, *group.parents):
                        yield Path(mount) / part, CGROUP_FILES[kind]


def _numbers(path):
    """Second word of each line by the first, where it is a number."""
    words = (line.split() for line in _lines(path))
    return {w[0]: int(w[1]) for w in words if len(w) > 1 and w[1].isdigit()}


def _lines(path):
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
