"""Jobs of one machine take different GPUs: made-up GPUs, real processes and locks."""

import errno
import fcntl
import inspect
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import predict
import pytest
import seams
import torch
import train
from training_cases import PAPER

from unetcore.gpus import VISIBLE, reserve_gpus

ROOT = Path(__file__).resolve().parents[1]
JOB = """
import logging, os, sys, torch
from unetcore.gpus import VISIBLE, reserve_gpus
n, seen = map(int, sys.argv[1:])
torch.cuda.device_count = lambda: seen
logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
print("ready", flush=True)
sys.stdin.readline()
reserve_gpus(n)
print("GPU", os.environ[VISIBLE], flush=True)
sys.stdin.readline()
"""
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class Job:
    """A process that reserves `n` of `seen` GPUs when told to, until it is killed."""

    def __init__(self, n, seen, folder, environment):
        kept = {
            k: v for k, v in os.environ.items() if k not in {VISIBLE, "SLURM_JOB_ID", *TORCHRUN}
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(n), str(seen)],
            cwd=ROOT,
            env=kept | {"TMPDIR": str(folder)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self):
        assert self.process.stdout.readline() == "ready\n"
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def gpus(self):
        """GPUs that it took, after all that it had to say about them."""
        self.warnings = []
        while not (line := self.process.stdout.readline()).startswith("GPU "):
            assert line, "the job ended"
            self.warnings.append(line.rstrip())
        return line.split()[1]

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path):
    """Start a job, or several in turn; all are killed in the end."""
    with ExitStack() as stack:

        def start(n, seen, **environment):
            job = Job(n, seen, tmp_path, environment)
            stack.callback(job.kill)
            return job

        yield start


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """Make this process see so many GPUs, and reserve below a temporary folder."""
    for name in (VISIBLE, *TORCHRUN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return lambda n: monkeypatch.setattr(torch.cuda, "device_count", lambda: n)


def take(job):
    job.tell()
    return job.gpus()


@pytest.mark.slow
def test_jobs_that_start_at_once_are_spread_evenly(start):
    jobs = [start(1, 4) for _ in range(6)]
    for job in jobs:
        job.tell()
    taken = Counter(job.gpus() for job in jobs)
    assert taken.keys() == {"0", "1", "2", "3"}
    assert sorted(taken.values()) == [1, 1, 2, 2]
    assert sum(bool(job.warnings) for job in jobs) == 2  # the two that found no free one


@pytest.mark.slow
def test_a_job_of_several_processes_takes_as_many(start):
    first, second, third = (start(n, 4) for n in (2, 1, 2))
    assert (take(first), take(second)) == ("0,1", "2")
    assert not first.warnings
    assert take(third) == "3,0"
    assert third.warnings == ["too few GPUs are free: other jobs compute on 0 too"]


@pytest.mark.slow
def test_a_killed_job_leaves_its_gpu_and_the_next_takes_the_idle_one(start):
    first, second, third, fourth = (start(1, 2) for _ in range(4))
    assert [take(job) for job in (first, second, third)] == ["0", "1", "0"]
    assert third.warnings
    first.kill()
    second.kill()
    assert take(fourth) == "1"  # and not 0, where the third is left
    assert not fourth.warnings


@pytest.mark.slow
def test_jobs_choose_among_the_gpus_that_are_visible_to_them(start):
    first, second = (start(1, 9, **{VISIBLE: "GPU-f00,MIG-GPU-1/2/0"}) for _ in range(2))
    assert (take(first), take(second)) == ("GPU-f00", "MIG-GPU-1/2/0")


@pytest.mark.slow
def test_equal_numbers_in_two_jobs_of_slurm_are_different_gpus(start):
    jobs = [start(1, 2, SLURM_JOB_ID=job) for job in ("7", "7", "8")]
    assert [take(job) for job in jobs] == ["0", "1", "0"]
    assert not any(job.warnings for job in jobs)


@pytest.mark.slow
def test_a_job_that_takes_all_is_known_to_the_next(start):
    first, second = start(2, 2, **{VISIBLE: "0,1"}), start(1, 4)
    assert take(first) == "0,1"
    assert take(second) == "2"
    assert not first.warnings + second.warnings


@pytest.mark.parametrize(
    ("visible", "n_seen", "n", "reserved"),
    [
        (None, 1, 1, {"0"}),
        (None, 1, 2, {"0"}),
        ("3", 8, 1, {"3"}),
        ("5,2", 8, 2, {"5", "2"}),
        (None, 0, 1, set()),
        ("", 0, 1, set()),
    ],
)
def test_where_there_is_no_choice_all_are_reserved(
    seen, monkeypatch, tmp_path, visible, n_seen, n, reserved
):
    seen(n_seen)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    reserve_gpus(n)
    assert os.environ.get(VISIBLE) == visible
    assert {path.parent.name for path in tmp_path.glob("*/*/job-*")} == reserved


def test_torchrun_has_chosen_already(seen, monkeypatch, tmp_path):
    seen(4)
    for name in TORCHRUN:
        monkeypatch.setenv(name, "1")
    reserve_gpus(1)
    assert VISIBLE not in os.environ
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EACCES, errno.ENOSPC])
def test_where_nothing_can_be_locked_a_job_goes_on_and_says_so(seen, monkeypatch, caplog, number):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    seen(2)
    monkeypatch.setattr(fcntl, "flock", refuse)
    reserve_gpus(1)
    assert VISIBLE not in os.environ
    (message,) = caplog.messages
    assert message.endswith(f"{os.strerror(number)}: jobs may share a GPU")


@pytest.mark.parametrize(("device", "expected"), [("gpu", 1), ("auto", 1), ("cpu", None)])
@pytest.mark.parametrize(
    ("script", "work", "settings"),
    [
        (train, "launch", {"training": asdict(PAPER), "watch": {}, "processes": 2}),
        (predict, "read_frames", {}),
        (seams, "read_images", {}),
    ],
    ids=["train", "predict", "seams"],
)
def test_scripts_reserve_and_probe_before_any_work(
    monkeypatch, script, work, settings, device, expected
):
    calls, probed = [], []

    def begin(*args, **kwargs):
        raise InterruptedError

    monkeypatch.setattr("unetcore.gpu_probe.reserve_gpus", calls.append)
    monkeypatch.setattr(
        "unetcore.gpu_probe.probe_gpus", lambda *asked: probed.append((*calls, *asked))
    )
    monkeypatch.setattr(script, work, begin)
    needed = inspect.signature(script.main).parameters
    arguments = {n: Path("a/b/c/d") for n, p in needed.items() if p.default is p.empty}
    with pytest.raises(InterruptedError):
        script.main(**arguments | settings | {"device": device})
    n = settings.get("processes", expected)
    assert calls == ([] if expected is None else [n])
    assert probed == ([] if expected is None else [(n, n, device)])  # once GPUs are hidden
