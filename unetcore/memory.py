"""What the process does with memory that it frees."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # options of mallopt(3)
LARGEST = 2**31 - 1


def keep_freed_memory(keep: bool = True) -> bool:
    """Let large blocks that are freed serve the next ones, instead of going back to the system.

    A pass through the network allocates and frees feature maps of tens of MB. By default glibc
    gives each back at once, and the system clears every page of the next one anew, which takes
    about a sixth of the time of a training step or a prediction on a CPU (see `make bench`). The
    results are the same; the memory stays with the process, whose largest size grows by some
    percent. For programs to call, early; nothing in this package does so when it is imported.

    Parameters
    ----------
    keep : False goes back to what glibc does by itself once a program has freed large blocks, and
        returns what is free to the system.

    Returns
    -------
    bool, whether it took effect; only glibc can.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    if keep:
        options = {M_TRIM_THRESHOLD: LARGEST, M_MMAP_MAX: 0}
    else:
        options = {M_TRIM_THRESHOLD: 2**26, M_MMAP_THRESHOLD: 2**25, M_MMAP_MAX: 2**16}
    done = all([libc.mallopt(option, value) for option, value in options.items()])
    if not keep:
        libc.malloc_trim(0)
    return done
