"""One training on several processes: what they exchange, how they fail, that it is one training."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import launched
import numpy as np
import pytest
import torch
from training_cases import FAST, PAPER, changed

from unetcore.distributed import (
    Processes,
    check_batch,
    own_processes,
    processes,
    under_torchrun,
)
from unetcore.errors import InputError, Interrupted
from unetcore.launch import launch

CPU = torch.device("cpu")
HERE = Path(__file__).parent
LENGTHS = (1, 5, 300_001, 2)  # of the gradients
TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}  # fmt: skip


def test_lone_process_needs_nobody():
    with processes(CPU) as group:
        assert group == Processes(rank=0, size=1, local_rank=0)
        assert group.is_first
        assert not torch.distributed.is_initialized()
    model, numbers = torch.nn.Linear(1, 1), torch.tensor([1.0, 3.0])
    assert group.wrap(model, CPU) is model
    assert group.mean(numbers) is numbers
    assert group.max(-4) == -4
    assert group.share("a") == group.on_first(lambda: "a") == "a"
    assert list(group.tiles(3)) == [0, 1, 2]
    with group.no_sync(model):
        group.barrier()


@pytest.mark.parametrize("left_out", [None, *TORCHRUN])
def test_place_is_read_from_all_variables_of_torchrun_or_none(monkeypatch, left_out):
    for name, value in TORCHRUN.items():
        if name == left_out:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert under_torchrun() == (left_out is None)
    expected = Processes() if left_out else Processes(rank=5, size=8, local_rank=1)
    assert own_processes() == expected


def test_every_tile_of_a_batch_is_computed_once():
    rng = np.random.default_rng(0)
    for _ in range(50):
        size, share = rng.integers(1, 9, 2)
        shares = [Processes(rank, size, 0).tiles(size * share) for rank in range(size)]
        assert [tile for tiles in shares for tile in tiles] == list(range(size * share))
        assert {len(tiles) for tiles in shares} == {share}


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0, 1, 1), "batch 0: need at least 1"),
        ((2, 0, 1), "processes 0: need at least 1"),
        ((2, 1, -1), "accumulate -1: need at least 1"),
        ((3, 2, 1), r"batch 3 on 2 process.* need a multiple of 2$"),
        ((4, 2, 4), r"batch 4 on 2 process.* in 4 part.* need a multiple of 8$"),
    ],
)
def test_batch_that_cannot_be_shared_out_is_refused(numbers, said):
    with pytest.raises(InputError, match=said):
        check_batch(*numbers)


def test_batch_that_can_be_shared_out():
    for numbers in ((1, 1, 1), (2, 2, 1), (2, 1, 2), (12, 3, 4)):
        check_batch(*numbers)


@pytest.fixture(scope="module")
def told():
    """What two and three processes return, what they logged and reported, by their number."""
    return {}


@pytest.fixture(params=[2, 3])
def processes_told(request, told, tmp_path_factory):
    """The same of one number of processes, that all questions are put to at once."""
    n = request.param
    if n not in told:
        told[n] = ask(n, tmp_path_factory.mktemp("states"))
    return n, *told[n]


def ask(n, folder):
    logs, reports = Lines(), []
    logger = logging.getLogger("unetcore")
    logger.addHandler(logs)
    logger.setLevel(logging.INFO)
    questions = {
        "ask_everything": {"n_threads_wanted": 2},
        "gradients_of_a_line": {"parts": [(1, 2), (3, 4), (1, 1)]},
        "mean_gradients": {"lengths": LENGTHS, "n_steps": 3},
        "train_all": {"trainings": trainings(n)},
        "train_with_a_stop": {"training": changed(FAST, batch=n, log_every=1), "folder": folder},
    }

    def report(*words):
        reports.append(words)
        if words[0] == "once":
            raise ValueError("this report cannot be taken")

    answers = launch(launched.several, questions, n, threads=2, report=report)
    logger.removeHandler(logs)
    logger.setLevel(logging.NOTSET)
    return answers, logs.messages, reports


def trainings(n):
    """SGD, AdamW, and AdamW with the Dice loss, of a tile for each of n processes."""
    return [changed(training, batch=n) for training in (PAPER, FAST, changed(FAST, dice=0.5))]


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def test_what_the_processes_tell_each_other(processes_told):
    n, told, _, _ = processes_told
    answers, pid = told["ask_everything"]
    for rank, answer in enumerate(answers):
        assert answer == {
            "mean": [1, {2: 5, 3: 10}[n]],  # of 0, 10, and 20
            "max": 7,
            "share": {"from": 0},
            "on_first": pid,
            "tiles": {2: [[0, 1, 2], [3, 4, 5]], 3: [[0, 1], [2, 3], [4, 5]]}[n][rank],
            "threads": True,
            "error": "x of process 0: no",
        }
    assert len(answers) == n
    assert pid != os.getpid()


def test_only_the_first_process_logs_and_reports(processes_told):
    _, _, logs, reports = processes_told
    failed = "a report failed; the work goes on"
    assert logs == ["process 0 logs", failed, "continuing at step 5 of 10"]
    assert reports == [("once", 0), ("twice", 0)]


def test_mean_gradient_by_hand(processes_told):
    # d/da (a x)^2 = 2 a x^2 at a = 1, the slope of the first process. The first process has
    # (2 * 1 + 2 * 4) / 2 = 5, the second (2 * 9 + 2 * 16) / 2 = 25, the third 2.
    n, told, _, _ = processes_told
    mean = {2: 15, 3: pytest.approx(32 / 3)}[n]
    assert told["gradients_of_a_line"] == n * [(1, mean)]


def test_gradients_are_added_up_in_the_order_of_the_processes(processes_told):
    """Bit for bit, also after the first step, when torch puts them into other buckets."""
    n, told, _, _ = processes_told
    changes = 0
    for step, found in enumerate(told["mean_gradients"]):
        parts = [launched.own_gradients(LENGTHS, step, rank) for rank in range(n)]
        for *each, mean in zip(*parts, found, strict=True):
            np.testing.assert_array_equal(mean, sum(each) / np.float32(n))
            changes += (sum(each) != sum(each[::-1])).sum()
    assert (changes > 1000) == (n > 2)  # else any order would do


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("input", InputError, "^labels.tif: no such thing$"),
        ("bug", ZeroDivisionError, "division"),
        ("unpicklable", RuntimeError, "^two arguments"),
        ("killed", RuntimeError, "^process 1 of 2 was killed, most often for lack of memory$"),
    ],
)
def test_failure_of_one_process_is_told_once(how, kind, said, capfd, caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(kind, match=said) as caught:
        launch(launched.fail, {"how": how}, 2)
    assert type(caught.value) is kind
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []
    if how == "bug":
        (note,) = caught.value.__notes__
        assert note.startswith("In process 1 of 2:")
        assert "1 // 0" in note


def test_number_of_processes_is_checked(monkeypatch):
    with pytest.raises(InputError, match="0 processes: need at least 1"):
        launch(launched.fail, {}, 0)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="2 processes in each process of torchrun"):
        launch(launched.fail, {}, 2)


def test_one_process_is_this_one():
    assert launch(os.getpid, {}, 1) == os.getpid()
    reports = []
    launch(lambda word, report: report(word), {"word": "a"}, 1, report=reports.append)
    assert reports == ["a"]


def assert_same_training(one, other):
    """Weights and history to 1e-5."""
    np.testing.assert_allclose(one[0], other[0], atol=1e-5, rtol=0)
    for row, other_row in zip(one[1], other[1], strict=True):
        for name in ("step", "learning_rate"):
            assert getattr(row, name) == getattr(other_row, name)
        for name in ("loss", "gradient_norm", "foreground"):
            assert getattr(row, name) == pytest.approx(getattr(other_row, name), rel=1e-5)


def test_processes_with_a_tile_each_equal_parts_one_after_the_other(processes_told):
    """Ten steps with drop-out."""
    n, told, _, _ = processes_told
    for training, together in zip(trainings(n), told["train_all"], strict=True):
        assert_same_training(together, launched.train_by(changed(training, accumulate=n)))
        other, _ = launched.train_by(changed(training, batch=1))  # the tiles of one process only
        assert np.abs(together[0] - other).max() > 1e-3


def test_stopped_training_goes_on_bit_by_bit(processes_told):
    """The signal reaches one of the processes only, and all stop at the same step."""
    whole, resumed, (number, said) = processes_told[1]["train_with_a_stop"]
    assert number == signal.SIGTERM
    assert said.startswith("stopped at step 5 of 10: the state is in ")
    np.testing.assert_array_equal(whole, resumed)


def test_state_of_another_number_of_processes_is_refused(tmp_path, capfd):
    training = changed(FAST, batch=2, steps=2)
    launched.train_by(training, tmp_path)
    with pytest.raises(InputError, match=r"processes 1, now 2"):
        launch(launched.train_by, {"training": training, "states": tmp_path}, 2)
    assert capfd.readouterr() == ("", "")


class Program:
    """A training of two processes, started as a user starts it."""

    def __init__(self, folder, *, by, slow_from, accumulate=1):
        begin = [sys.executable]
        if by == "torchrun":
            begin += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        path = os.pathsep.join([str(HERE), str(HERE.parent)])
        self.process = subprocess.Popen(
            [*begin, HERE / "launched.py", by, folder, str(slow_from), str(accumulate)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def watch(self, step):
        """Wait until a step is done; number of the first one that was told."""
        told = []
        for line in self.process.stdout:
            told.append(line.split())
            if told[-1] == ["step", str(step)]:
                return int(told[0][1])
        raise AssertionError(f"ended before step {step}: {told} {self.process.stderr.read()}")

    def end(self):
        """Wait for the end; exit code, and what was said on the way."""
        out, error = self.process.communicate(timeout=600)
        return self.process.returncode, out, error


NEVER = 1000


def children(pid):
    """Processes that another one started and that are still there."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_bad_input_is_one_line_under_torchrun(tmp_path):
    program = Program(tmp_path, by="torchrun", slow_from=NEVER, accumulate=2)
    code, out, error = program.end()
    said = "batch 2 on 2 process(es) in 2 part(s) each: need a multiple of 4"
    assert code == 1
    assert out == f"InputError {said}\n"
    assert f"InputError: {said}" in error  # of the process that failed first, by torchrun


def test_refused_state_is_one_line_under_torchrun(tmp_path):
    with pytest.raises(Interrupted):
        launched.train_by(launched.SLOW, tmp_path / "state", stop_at=2)
    code, out, error = Program(tmp_path, by="torchrun", slow_from=NEVER).end()
    assert code == 1
    (line,) = out.splitlines()
    assert line.startswith(f"InputError {tmp_path / 'state'}: belongs to another training (")
    assert "processes 1, now 2" in line
    assert "broadcast_object_list" not in error  # the other process ends for the same reason


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_interrupted_by_signals_and_started_again_by_other_means(tmp_path):
    """SIGTERM to torchrun, SIGTERM and SIGKILL to the launching process, then left in peace."""
    begun = []
    for by, number, step in (
        ("torchrun", signal.SIGTERM, 5),
        ("launch", signal.SIGTERM, 12),
        ("launch", signal.SIGKILL, 20),
    ):
        program = Program(tmp_path / "stopped", by=by, slow_from=step)
        begun.append(program.watch(step))
        own = children(program.process.pid)
        program.process.send_signal(number)
        code, out, error = program.end()
        deadline = time.monotonic() + 120
        while not all(ended(pid) for pid in own):  # they save and follow a launcher that was killed
            assert time.monotonic() < deadline, f"{own} outlived their launcher"
            time.sleep(0.05)
        if by == "launch" and number == signal.SIGTERM:
            assert code == 2
            assert "Interrupted stopped at step" in out
            assert error == ""
    assert 1 == begun[0] < 5 < begun[1] < 12 + 1 < begun[2] + 1
    for folder in ("stopped", "whole"):
        assert Program(tmp_path / folder, by="launch", slow_from=NEVER).end()[0] == 0
    weights = [(tmp_path / name / "weights.npy").read_bytes() for name in ("stopped", "whole")]
    assert weights[0] == weights[1]
