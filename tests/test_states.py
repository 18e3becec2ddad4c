"""States of a training: what is read is right, the last two are kept, nobody else writes there."""

import errno
import hashlib
import io
import os
import resource
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from unetcore import states as module
from unetcore.errors import InputError
from unetcore.locks import FolderLock
from unetcore.states import States

SETTINGS = {
    "seed": 0,
    "network": {"variant": "figure1", "width": 2},
    "training": {"steps": 100, "learning_rate": 0.005, "clip": None},
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "x"


def content(step, n=50):
    """Tensors and numbers that differ from step to step."""
    return {"step": step, "model": {"w": torch.full((n,), float(step))}, "rows": [{"loss": 0.5}]}


def save(folder, *steps):
    with States(folder, SETTINGS) as states:
        for step in steps:
            assert states.save(step, content(step))


def load(folder, settings=SETTINGS, **rest):
    """Step of the state that a training would continue from, after a look at all of it."""
    with States(folder, settings, **rest) as states:
        state = states.load()
    if state is None:
        return None
    expected = content(state["step"])
    assert torch.equal(state["model"].pop("w"), expected["model"].pop("w"))
    assert state == expected
    return state["step"]


def path_of(folder, step):
    return folder / f"step-{step:08d}.pt"


def steps_in(folder):
    return sorted(int(path.stem[5:]) for path in folder.glob("step-*.pt"))


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def with_header(payload):
    digest = hashlib.sha256(payload).hexdigest()
    return f"unetcore-state-1 {digest}\n".encode() + payload


def test_state_comes_back_as_it_was(folder):
    kept = {
        "float": torch.rand(2, 3),
        "half": torch.rand(3).bfloat16(),
        "last": torch.rand(1, 2, 3, 3).contiguous(memory_format=torch.channels_last),
        "optimiser": {0: {"step": torch.tensor(3.0), "momentum": None}},
        "rows": [{"loss": 0.1 + 0.2, "seconds": 1e-9}, {}],
        "name": "σ",
    }
    with States(folder, SETTINGS) as states:
        states.save(7, kept)
        loaded = states.load()
    for name in ("float", "half", "last"):
        tensor = loaded.pop(name)
        assert torch.equal(tensor, kept[name])
        assert (tensor.dtype, tensor.stride()) == (kept[name].dtype, kept.pop(name).stride())
    assert loaded == kept


def test_file_of_a_state_states_the_hash_of_the_rest(folder):
    save(folder, 500)
    header, _, payload = (folder / "step-00000500.pt").read_bytes().partition(b"\n")
    assert header.decode() == f"unetcore-state-1 {hashlib.sha256(payload).hexdigest()}"
    state = torch.load(io.BytesIO(payload), weights_only=True)
    assert state["settings"] == SETTINGS
    assert state["content"]["step"] == 500


def test_without_a_state_there_is_nothing_to_load(folder, caplog):
    assert load(folder) is None
    assert warnings(caplog) == []


def test_the_last_two_are_kept(folder):
    save(folder, 100, 200, 300, 1000)
    assert steps_in(folder) == [300, 1000]
    assert load(folder) == 1000
    save(folder, 99999999, 100000000)  # more digits than the name pads to
    assert load(folder) == 100000000
    assert steps_in(folder) == [99999999, 100000000]


DAMAGE = {
    "empty": lambda data: b"",
    "half a first line": lambda data: data[:30],
    "a first line": lambda data: data[:82],
    "half": lambda data: data[: len(data) // 2],
    "a byte short": lambda data: data[:-1],
    "a byte more": lambda data: data + b"\0",
    "zeros": lambda data: bytes(len(data)),
    "of another program": lambda data: b"PK\x03\x04" + data,
    "of a later version": lambda data: data.replace(b"state-1", b"state-2", 1),
    "another hash": lambda data: with_header(b"x" + data)[:82] + data[82:],
    "no pickle": lambda data: with_header(b"not a state"),
    "cut before it was hashed": lambda data: with_header(data[82:-100]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_state_is_named_and_the_one_before_is_used(folder, caplog, damage):
    save(folder, 1, 2)
    newest = path_of(folder, 2)
    newest.write_bytes(damage(newest.read_bytes()))
    assert load(folder) == 1
    (message,) = warnings(caplog)
    assert message.startswith(f"{newest}: damaged (")
    assert "\n" not in message


def test_one_flipped_bit_anywhere_is_damage(folder):
    rng = np.random.default_rng(0)
    save(folder, 1, 2)
    newest = path_of(folder, 2)
    whole = newest.read_bytes()
    for bit in rng.choice(8 * len(whole), 40, replace=False):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << (bit % 8)
        newest.write_bytes(data)
        assert load(folder) == 1
    newest.write_bytes(whole)
    assert load(folder) == 2


def test_state_that_would_run_code_is_not_loaded(folder, tmp_path, caplog):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    save(folder, 1)
    buffer = io.BytesIO()
    torch.save({"settings": SETTINGS, "environment": {}, "content": Harm()}, buffer)
    path_of(folder, 2).write_bytes(with_header(buffer.getvalue()))
    assert load(folder) == 1
    assert not (tmp_path / "harm").exists()
    assert "damaged" in caplog.text


def test_later_state_of_a_training_that_went_back_is_removed(folder):
    """It would be taken for the newest one."""
    save(folder, 10, 20, 30)
    save(folder, 25)
    assert steps_in(folder) == [20, 25]


def test_place_that_the_disk_cannot_read_is_damage(folder, monkeypatch, caplog):
    save(folder, 1, 2)

    def read(file, name, _read=hashlib.file_digest):
        if file.name == str(path_of(folder, 2)):
            raise OSError(errno.EIO, "Input/output error")
        return _read(file, name)

    monkeypatch.setattr(module.hashlib, "file_digest", read)
    assert load(folder) == 1
    assert "step-00000002.pt: damaged (the disk cannot read it)" in caplog.text


def test_no_undamaged_state_starts_anew_and_says_so(folder, caplog):
    save(folder, 1, 2)
    for step in (1, 2):
        path_of(folder, step).write_bytes(b"")
    assert load(folder) is None
    assert warnings(caplog)[2] == f"{folder}: no undamaged state: starting anew"


@pytest.mark.parametrize("loads_first", [True, False])
@pytest.mark.parametrize("next_step", [15, 20, 30])
@pytest.mark.parametrize("damaged", [b"damaged", with_header(b"not a state")])
def test_damaged_state_is_none_of_the_two_that_are_kept(folder, loads_first, next_step, damaged):
    """The training went back to 10; its next state comes before, at or after the damaged one."""
    save(folder, 10, 20)
    path_of(folder, 20).write_bytes(damaged)
    with States(folder, SETTINGS) as states:
        if loads_first:
            assert states.load()["step"] == 10
        states.save(next_step, content(next_step))
    assert steps_in(folder) == [10, next_step]
    path_of(folder, next_step).write_bytes(b"damaged")
    assert load(folder) == 10


@pytest.mark.parametrize("seed", range(5))
def test_any_history_of_saves_damages_and_restarts_loses_no_good_state(folder, seed):
    """Against a list of the good steps: the newest is loaded, and two are there if ever saved."""
    rng = np.random.default_rng(seed)
    step, good = 0, []
    for _ in range(12):
        with States(folder, SETTINGS) as states:
            state = states.load()
            assert (state["step"] if state else 0) == (good[-1] if good else 0)
            step = good[-1] if good else 0
            for _ in range(rng.integers(0, 4)):
                step += int(rng.integers(1, 4))
                states.save(step, content(step))
                good = [*good, step][-2:]
        assert set(good) <= set(steps_in(folder))
        if good and rng.random() < 0.6:
            hit = good.pop(int(rng.integers(len(good))))
            path = path_of(folder, hit)
            path.write_bytes(path.read_bytes()[: int(rng.integers(0, 300))])


def test_other_settings_are_refused_by_name(folder):
    save(folder, 1)
    other = {
        "seed": 1,
        "network": SETTINGS["network"],
        "training": SETTINGS["training"] | {"learning_rate": 0.001},
    }
    with pytest.raises(InputError) as caught:
        load(folder, other)
    assert str(caught.value) == (
        f"{folder}: belongs to another training (seed 0, now 1; training.learning_rate 0.005, now "
        f"0.001): go on with the earlier settings, or delete the folder to start anew"
    )
    assert steps_in(folder) == [1]


def test_settings_of_one_side_only_are_named(folder):
    save(folder, 1)
    other = {"seed": 0, "network": {"variant": "release"}, "training": SETTINGS["training"]}
    with pytest.raises(InputError) as caught:
        load(folder, other | {"batch": 2})
    assert (
        'x: belongs to another training (network.variant "figure1", now "release"; '
        "batch absent, now 2; network.width 2, now absent): go on with"
    ) in str(caught.value)


def test_five_differences_are_named_and_the_others_counted(folder):
    save(folder, 1)
    with pytest.raises(InputError, match=r"k3 absent, now 3; k4 absent, now 4; and 3 more\)"):
        load(folder, SETTINGS | {f"k{i}": i for i in range(8)})


def test_same_settings_in_another_spelling_are_the_same(folder):
    with States(folder, {"grid": (3, 3), "decay": 0, "classes": {1: "cell"}}) as states:
        states.save(1, content(1))
    assert load(folder, {"decay": 0.0, "classes": {"1": "cell"}, "grid": [3, 3]}) == 1


def test_state_before_a_damaged_one_must_be_of_the_same_settings_too(folder):
    save(folder, 1, 2)
    path_of(folder, 2).write_bytes(b"")
    with pytest.raises(InputError, match="belongs to another training"):
        load(folder, SETTINGS | {"seed": 1})


def test_another_environment_is_a_warning(folder, caplog):
    with States(folder, SETTINGS, {"torch": "2.13.0", "threads": 2}) as states:
        states.save(1, content(1))
    assert load(folder, environment={"torch": "2.13.0", "threads": 2}) == 1
    assert warnings(caplog) == []
    assert load(folder, environment={"torch": "2.13.0", "threads": 4}) == 1
    assert warnings(caplog) == [
        f"{folder}: saved under other conditions (threads 2, now 4): the rest may differ in the "
        f"last digits"
    ]


def test_newest_step_needs_no_lock_and_passes_over_what_is_no_state(folder):
    states = States(folder, SETTINGS)
    assert states.newest_step() == 0
    save(folder, 100, 200)
    path_of(folder, 300).write_bytes(b"")
    path_of(folder, 400).write_bytes(bytes(1000))
    (folder / "step-x.pt").write_bytes(b"")
    with States(folder, SETTINGS):
        assert states.newest_step() == 200


def test_folder_is_held_while_the_training_runs(folder):
    with States(folder, SETTINGS), pytest.raises(InputError, match="is training here"):
        States(folder, SETTINGS).__enter__()
    assert load(folder) is None


def test_folder_is_free_after_an_error(folder):
    with pytest.raises(ZeroDivisionError), States(folder, SETTINGS):
        raise ZeroDivisionError
    FolderLock(folder).acquire()


def test_what_a_killed_process_left_half_written_is_removed(folder):
    save(folder, 1)
    half = folder / "step-00000002.pt.partial"
    half.write_bytes(b"half")
    with States(folder, SETTINGS):
        assert not half.exists()
    assert load(folder) == 1


def test_file_in_the_place_of_the_folder(folder):
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"a state of an earlier version")
    with pytest.raises(InputError, match="x: a file is there, need a folder for the states"):
        load(folder)


def assert_training_survives(folder, states, caplog, step=3):
    """A save that fails for want of space leaves the two states and a line that says so."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert states.save(step, content(step, n=100_000)) is False
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    (message,) = warnings(caplog)
    assert message.startswith(f"{path_of(folder, step)}: not saved, the state needs 0.4 MB")
    assert message.endswith("training goes on, the last state is of step 2")
    assert ("MB are free" in message) == (os.strerror(errno.ENOSPC) in message)
    caplog.clear()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_costs_no_state(folder, monkeypatch, caplog, number):
    save(folder, 1, 2)

    def full(descriptor):
        raise OSError(number, os.strerror(number))

    with States(folder, SETTINGS) as states:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            assert_training_survives(folder, states, caplog)
        assert states.save(4, content(4))
    assert steps_in(folder) == [2, 4]


def test_full_disk_before_the_first_state_is_said_so(folder, monkeypatch, caplog):
    def full(descriptor):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    with States(folder, SETTINGS) as states, monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert states.save(1, content(1)) is False
    (message,) = warnings(caplog)
    assert message.endswith(" MB (File too large): training goes on, there is no state yet")


def test_what_is_no_file_is_not_taken_for_a_state(folder):
    save(folder, 1)
    path_of(folder, 2).mkdir()
    path_of(folder, 3).symlink_to(folder / "nowhere")
    assert load(folder) == 1
    save(folder, 4, 5)
    assert load(folder) == 5


def test_disk_that_fails_otherwise_is_an_error(folder, monkeypatch):
    def broken(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    with States(folder, SETTINGS) as states, monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output error") as caught:
            states.save(1, content(1))
    assert caught.value.filename == str(path_of(folder, 1))


@contextmanager
def largest_file(size):
    """Let this process write no file beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_limit_of_the_system_costs_no_state(folder, caplog):
    save(folder, 1, 2)
    with States(folder, SETTINGS) as states:
        with largest_file(100_000):
            assert_training_survives(folder, states, caplog)
        assert states.save(4, content(4))


@pytest.fixture
def small_disk(tmp_path):
    """Folder on a file system of its own, of 200 kB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(tmp_path)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_disk_that_is_really_full_costs_no_state(small_disk, caplog):
    folder = small_disk / "state"
    save(folder, 1, 2)
    with States(folder, SETTINGS) as states:
        assert_training_survives(folder, states, caplog)
        assert states.save(4, content(4))
    assert load(folder) == 4


def finish(folder, step, **rest):
    with States(folder, SETTINGS, **rest) as states:
        states.finish(step)


def test_finished_training_keeps_its_last_state_alone(folder):
    save(folder, 1, 2)
    finish(folder, 2)
    assert sorted(path.name for path in folder.iterdir()) == ["finished.pt", "lock"]
    assert load(folder) == 2
    assert States(folder, SETTINGS).newest_step() == 0


def test_finished_training_whose_last_state_was_not_saved_keeps_those_before(folder):
    save(folder, 1, 2)
    finish(folder, 3)
    assert load(folder) == 2
    assert steps_in(folder) == [1, 2]


def test_finished_training_of_other_settings_is_removed(folder, caplog):
    caplog.set_level("INFO")
    save(folder, 2)
    finish(folder, 2)
    assert load(folder, {**SETTINGS, "seed": 4}) is None
    assert "of another training, which was finished: removed" in caplog.text
    assert load(folder) is None


def test_damaged_finished_state_is_removed_with_a_warning(folder, caplog):
    save(folder, 2)
    finish(folder, 2)
    path = folder / "finished.pt"
    path.write_bytes(path.read_bytes()[:-1])
    save(folder, 1)
    assert load(folder) == 1
    assert "finished.pt: damaged" in caplog.text
    assert not path.exists()


@pytest.mark.parametrize("is_held", [True, False])
def test_cleared_folder_is_gone(folder, is_held):
    save(folder, 1, 2)
    finish(folder, 2)
    save(folder, 1)
    states = States(folder, SETTINGS)
    if is_held:
        with states:
            states.clear()
    else:
        states.clear()
        states.clear()
    assert not folder.exists()
    assert folder.parent.exists()


def test_clearing_leaves_what_is_not_ours(folder):
    save(folder, 1)
    (folder / "note.txt").write_text("mine")
    States(folder, SETTINGS).clear()
    assert [path.name for path in folder.iterdir()] == ["note.txt"]


def test_clearing_leaves_a_training_that_has_begun_there(folder, caplog):
    with States(folder, SETTINGS) as other:
        other.save(1, content(1))
        States(folder, SETTINGS).clear()
        assert steps_in(folder) == [1]
    assert "is training here" in caplog.text
