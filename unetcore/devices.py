"""Where networks compute, and in which precision."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from unetcore.errors import InputError

DEVICES = ("auto", "cpu", "gpu")


def choose_device(kind: str = "auto", local_rank: int = 0) -> torch.device:
    """Device to compute on.

    Parameters
    ----------
    kind : "cpu", "gpu", or "auto" for a GPU where torch sees one, else the CPU.
    local_rank : which GPU, where several processes of this machine train together.

    Raises
    ------
    InputError : unknown kind, or a GPU is asked for and torch sees none, or too few.
    """
    if kind not in DEVICES:
        raise InputError(f"device {kind!r}: need one of {', '.join(DEVICES)}")
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not n_gpus):
        return torch.device("cpu")
    if not n_gpus:
        built = torch.version.cuda
        why = f"is built for CUDA {built}, but sees no device" if built else "is built for CPUs"
        raise InputError(f"a GPU is asked for and none is there: torch {torch.__version__} {why}")
    if local_rank >= n_gpus:
        raise InputError(f"{local_rank + 1} processes on a machine with {n_gpus} GPU(s): one each")
    torch.backends.cudnn.allow_tf32 = False  # "float32" would be 10 bits of mantissa
    return torch.device("cuda", local_rank)


def gpu_name(device: torch.device) -> str | None:
    """Name of a GPU, None of a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def resolve_precision(precision: str, device: torch.device) -> str:
    """Turn "auto" into "bfloat16" where the hardware computes in it, else into "float32"."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.ops.mkldnn._is_mkldnn_bf16_supported() and "bf16" in _cpu_flags()
    return "bfloat16" if native else "float32"


def autocast(precision: str, device: torch.device) -> Callable:
    """Make the context in which a network computes in `precision`."""
    if resolve_precision(precision, device) == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)


def repeatable(device: torch.device) -> None:
    """Let a GPU use only kernels that repeat a result bit for bit; for the whole process.

    To be called before the first product of matrices on the GPU.
    """
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself only so
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads such memory
    torch.backends.cudnn.benchmark = False  # which kernel is fastest differs from run to run


def _cpu_flags() -> str:
    """Instruction sets of the CPU as Linux names them; empty elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
