"""A training that is killed, again and again, ends with the bytes of one that never was."""

import csv
import hashlib
import io
import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import torch
from training_process import KINDS, STEPS, train_here, train_in

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["training_server"])

MORE_STEPS = 3  # that may be done between the step that a signal is meant for and the signal
LONGEST_DELAY = 0.05  # seconds from the report of that step to the signal
CLOCK = ("tiles_per_second", "seconds")


class Training:
    """A training in another process.

    Attributes
    ----------
    steps : those that it has told of.
    """

    def __init__(self, folder, kind, **behaviour):
        self.pipe, end = CONTEXT.Pipe()
        self.steps = []
        self.process = CONTEXT.Process(
            target=train_here, args=(folder, kind, end), kwargs=behaviour
        )
        self.process.start()
        end.close()

    def watch(self, n_steps=STEPS + 1):
        """Wait until the process has done so many steps, or has ended."""
        with suppress(EOFError, ConnectionResetError):
            while len(self.steps) < n_steps:
                self.steps.append(self.pipe.recv())

    def end(self):
        """Wait for its end; returns its exit code, as `multiprocessing` gives it."""
        with suppress(OSError):
            self.pipe.send("go on")
        self.watch()
        self.process.join(timeout=60)
        return self.process.exitcode


@pytest.fixture(scope="module", autouse=True)
def server():
    """Start the server that forks processes, and let it find what it is to read beforehand."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()


@pytest.fixture
def start(tmp_path):
    """Start a training in the folder of the test; none outlives the test."""
    started = []

    def start(kind, **behaviour):
        started.append(Training(tmp_path, kind, **behaviour))
        return started[-1]

    yield start
    for run in started:
        run.process.kill()
        run.process.join()
        run.process.close()
        run.pipe.close()


@pytest.fixture(scope="module", params=KINDS)
def uninterrupted(request, tmp_path_factory):
    """A kind of training, and what it makes if nobody disturbs it."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    train_in(folder, request.param)
    return request.param, products(folder)


@pytest.fixture(scope="module")
def one_uninterrupted(tmp_path_factory):
    """The same of one of the kinds."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    train_in(folder, "adamw")
    return "adamw", products(folder)


def products(folder: Path):
    """SHA-256 of the model, and the history without what the clock says."""
    with open(folder / "history.csv", newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in CLOCK} for row in csv.DictReader(file)]
    assert [int(row["step"]) for row in rows] == list(range(3, STEPS + 1, 3))
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(), rows


def interrupt(start, kind, number, rng):
    """Start, and send a signal some steps and milliseconds later."""
    n_steps = int(rng.integers(1, 5))
    run = start(kind, limit=n_steps + MORE_STEPS)
    run.watch(n_steps)
    assert len(run.steps) == n_steps, f"it ended before, with exit code {run.process.exitcode}"
    time.sleep(rng.uniform(0, LONGEST_DELAY))
    os.kill(run.process.pid, number)
    code = run.end()
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    return run.steps


def finish(start, folder, kind):
    """Start once more and let it end; the steps that were left, and the products."""
    run = start(kind)
    assert run.end() == 0
    assert not (folder / "state").exists()
    return run.steps, products(folder)


def states_in(folder):
    """Files of the states, newest last."""
    return sorted((folder / "state").glob("step-*.pt"))


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_six_times(uninterrupted, start, tmp_path, seed):
    kind, expected = uninterrupted
    rng = np.random.default_rng([seed, len(kind)])
    for _ in range(6):
        steps = interrupt(start, kind, signal.SIGKILL, rng)
        assert steps[0] % 2 == 1  # states are saved after even ones
    left, made = finish(start, tmp_path, kind)
    assert made == expected
    assert 1 < len(left) < STEPS  # else nothing was resumed


def test_asked_to_stop_six_times(uninterrupted, start, tmp_path):
    """Unlike one that is killed, a training that is asked to stop repeats no step."""
    kind, expected = uninterrupted
    rng = np.random.default_rng(len(kind))
    steps = []
    for number in rng.permuted(2 * [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]):
        steps += interrupt(start, kind, int(number), rng)
    left, made = finish(start, tmp_path, kind)
    assert steps + left == list(range(1, STEPS + 1))
    assert made == expected


@pytest.mark.parametrize(
    ("function", "next_step"), [("fsync", 17), ("replace", 17), ("unlink", 23)]
)
def test_killed_while_a_state_is_written(one_uninterrupted, start, tmp_path, function, next_step):
    """Before the content is on the disk; before it has its name; before the clearing up."""
    kind, expected = one_uninterrupted
    for limit in (5, 6, 9):  # saved or not: 6 of 1 to 6, 10 of 5 to 10 or 12 of 7 to 12, ...
        run = start(kind, limit=limit, dies_in=function)
        assert run.end() == -signal.SIGKILL
    left, made = finish(start, tmp_path, kind)
    assert left[0] == next_step
    assert made == expected


def test_newest_state_damaged_after_each_kill(one_uninterrupted, start, tmp_path):
    kind, expected = one_uninterrupted
    begun = []
    for share in (0, 0.01, 0.5, 0.999):
        run = start(kind, limit=8)
        run.watch(8)  # the last of the eight is not saved yet, those after 4 and 6 are
        os.kill(run.process.pid, signal.SIGKILL)
        assert run.end() == -signal.SIGKILL
        begun.append(run.steps[0])
        newest = states_in(tmp_path)[-1]
        whole = newest.read_bytes()
        newest.write_bytes(whole[: int(share * len(whole))])
    left, made = finish(start, tmp_path, kind)
    assert [*begun, left[0]] == [1, 5, 9, 13, 17]
    assert made == expected


def test_all_states_damaged_start_anew(one_uninterrupted, start, tmp_path):
    kind, expected = one_uninterrupted
    run = start(kind, limit=8)
    run.watch(8)
    os.kill(run.process.pid, signal.SIGKILL)
    run.end()
    assert len(states_in(tmp_path)) == 2
    for path in states_in(tmp_path):
        path.write_bytes(path.read_bytes()[:-1])
    left, made = finish(start, tmp_path, kind)
    assert left[0] == 1
    assert made == expected


def test_orphan_hands_its_work_over(one_uninterrupted, start, tmp_path):
    """What started the first process is gone, and starts a second one without knowing of it."""
    kind, expected = one_uninterrupted
    orphan = start(kind, pause=0.5)
    orphan.watch(3)
    heir = start(kind, take_over=True)
    assert orphan.end() == 128 + signal.SIGTERM
    assert heir.end() == 0
    assert orphan.steps + heir.steps == list(range(1, STEPS + 1))
    assert products(tmp_path) == expected


def test_second_process_is_refused(one_uninterrupted, start, tmp_path):
    kind, expected = one_uninterrupted
    first = start(kind, limit=3)
    first.watch(3)
    assert start(kind).end() == 2
    assert first.end() == 0
    assert products(tmp_path) == expected


@pytest.mark.parametrize("part", ["model", "optimiser", "tally"])
def test_state_that_is_slightly_wrong_ends_elsewhere(one_uninterrupted, start, tmp_path, part):
    """The comparison notices each part of a state: none could be left out, or kept less exactly."""
    kind, expected = one_uninterrupted
    run = start(kind, limit=9)
    run.watch(9)
    os.kill(run.process.pid, signal.SIGKILL)
    run.end()
    disturb(states_in(tmp_path)[-1], part)
    left, made = finish(start, tmp_path, kind)
    assert left[0] == 9  # in the middle of a row, so that its sums go on too
    assert (made[0] == expected[0]) == (part == "tally")  # which only the history tells
    assert made[1] != expected[1]


def disturb(path, part):
    """Change a number in a part of a state by a thousandth, and sign the file again."""
    state = torch.load(io.BytesIO(path.read_bytes().partition(b"\n")[2]), weights_only=True)
    content = state["content"]
    chosen = {
        "model": content["model"]["scores.weight"],
        "optimiser": content["optimiser"][0]["exp_avg"],
        "tally": content["tally"]["loss"],
    }
    chosen[part].mul_(1 + 1e-3)
    file = io.BytesIO()
    torch.save(state, file)
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    path.write_bytes(f"unetcore-state-1 {digest}\n".encode() + file.getvalue())
