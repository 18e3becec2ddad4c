"""What a job says of the machine it was given; driver and GPUs are stood in for."""

import logging
import os
import platform
import subprocess

import pytest
import torch

from unetcore import gpu_probe
from unetcore.errors import InputError
from unetcore.gpu_probe import probe_gpus

HERE = f"host {platform.node()}; "
TORCH = f"torch {torch.__version__}"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make torch see GPUs, and nvidia-smi say something and end with an exit code."""

    def make(n_seen, says="", code=0, built_for="12.8"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n_seen > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_seen)
        monkeypatch.setattr(torch.version, "cuda", built_for)
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '{says}'\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return make


def test_a_job_logs_host_driver_devices_and_torch_in_one_line(machine, monkeypatch, caplog):
    machine(2, "570.86, NVIDIA H100\\n570.86, NVIDIA A40\\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    with caplog.at_level(logging.INFO):
        probe_gpus(2, "gpu")
    assert caplog.messages == [
        f"{HERE}driver 570.86 of NVIDIA H100, NVIDIA A40; CUDA_VISIBLE_DEVICES 0,3; "
        f"{TORCH} for CUDA 12.8 sees 2"
    ]


@pytest.mark.parametrize(
    ("n", "n_seen", "says", "code", "built_for", "line"),
    [
        (
            1, 0, "NVIDIA-SMI has failed, it could not reach the driver\\n", 9, "12.8",
            "a GPU was asked for and none can be seen: "
            f"{HERE}driver none; CUDA_VISIBLE_DEVICES not set; {TORCH} for CUDA 12.8 sees 0",
        ),
        (
            1, 0, "570.86, NVIDIA H100\\n", 0, None,
            "a GPU was asked for and none can be seen: "
            f"{HERE}driver 570.86 of NVIDIA H100; CUDA_VISIBLE_DEVICES not set; "
            f"{TORCH} for CPUs sees 0",
        ),
        (
            2, 1, "570.86, NVIDIA H100\\n", 0, "12.8",
            "2 GPUs were asked for and 1 can be seen: "
            f"{HERE}driver 570.86 of NVIDIA H100; CUDA_VISIBLE_DEVICES not set; "
            f"{TORCH} for CUDA 12.8 sees 1",
        ),
    ],
)  # fmt: skip
def test_missing_gpus_are_one_line_that_says_what_is_there(
    machine, n, n_seen, says, code, built_for, line
):
    machine(n_seen, says, code, built_for)
    with pytest.raises(InputError) as refused:
        probe_gpus(n, "gpu")
    assert str(refused.value) == line


def test_where_either_device_will_do_a_job_without_gpu_goes_on(machine, caplog):
    machine(0)
    with caplog.at_level(logging.INFO):
        probe_gpus(1, "auto")
    assert caplog.messages[0].endswith("sees 0")


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "nvidia-smi"), subprocess.TimeoutExpired("nvidia-smi", 60)]
)
def test_a_driver_that_is_not_there_or_never_answers_is_none(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert gpu_probe.ask_driver() == ("none", [])
