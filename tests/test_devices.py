"""Where is computed, and in which precision; GPUs are stood in for."""

import pytest
import torch

from unetcore import devices
from unetcore.devices import autocast, choose_device, gpu_name, repeatable, resolve_precision
from unetcore.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def gpus(monkeypatch):
    """Make torch see so many GPUs."""

    def see(n):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n)

    return see


@pytest.mark.parametrize(
    ("kind", "n_gpus", "local_rank", "expected"),
    [
        ("cpu", 0, 0, "cpu"),
        ("cpu", 2, 1, "cpu"),
        ("auto", 0, 3, "cpu"),  # processes may share a CPU
        ("auto", 1, 0, "cuda:0"),
        ("gpu", 1, 0, "cuda:0"),
        ("gpu", 2, 1, "cuda:1"),
    ],
)
def test_device_of_a_process(gpus, kind, n_gpus, local_rank, expected):
    gpus(n_gpus)
    assert choose_device(kind, local_rank) == torch.device(expected)


@pytest.mark.parametrize(
    ("built_for", "reason"),
    [("12.8", "is built for CUDA 12.8, but sees no device"), (None, "is built for CPUs")],
)
def test_a_gpu_asked_for_and_none_there_says_why(gpus, monkeypatch, built_for, reason):
    gpus(0)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    with pytest.raises(InputError) as refused:
        choose_device("gpu")
    assert str(refused.value) == (
        f"a GPU is asked for and none is there: torch {torch.__version__} {reason}"
    )


@pytest.mark.parametrize("kind", ["gpu", "auto"])
def test_processes_do_not_share_a_gpu(gpus, kind):
    gpus(2)
    with pytest.raises(InputError, match=r"3 processes on a machine with 2 GPU\(s\): one each"):
        choose_device(kind, local_rank=2)


def test_unknown_device_is_refused():
    with pytest.raises(InputError, match="device 'cuda': need one of auto, cpu, gpu"):
        choose_device("cuda")


def test_a_cpu_has_no_name_of_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert gpu_name(CPU) is None
    assert gpu_name(torch.device("cuda", 1)) == "GPU 1"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_autocast_computes_in_the_named_precision(precision):
    layer = torch.nn.Conv2d(1, 1, 3)
    with autocast(precision, CPU)():
        assert layer(torch.ones(1, 1, 5, 5)).dtype == getattr(torch, precision)
    assert layer.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("flags", "supported", "expected"),
    [
        ("avx512_bf16 amx_bf16", True, "bfloat16"),
        ("avx512_bf16", False, "float32"),
        ("avx2", True, "float32"),  # emulated: slower than float32
    ],
)
def test_auto_is_bfloat16_only_where_the_cpu_computes_in_it(
    monkeypatch, flags, supported, expected
):
    monkeypatch.setattr(devices, "_cpu_flags", lambda: flags)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("float32", CPU) == "float32"
    assert resolve_precision("bfloat16", CPU) == "bfloat16"


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_only_where_the_gpu_computes_in_it(monkeypatch, native, expected):
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: native or including_emulation,
    )
    assert resolve_precision("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize(("kind", "expected"), [("cpu", []), ("cuda", [True])])
def test_a_gpu_is_asked_for_repeatable_kernels_and_a_cpu_needs_not(monkeypatch, kind, expected):
    asked = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", asked.append)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    repeatable(torch.device(kind))
    assert asked == expected
    assert torch.backends.cudnn.benchmark == (kind == "cpu")
