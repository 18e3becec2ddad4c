"""The file from which a failed update is computed again."""

import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from training_cases import FAST, PAPER, changed, new_network, random_tiles, weights_of

from unetcore.distributed import Processes
from unetcore.errors import InputError
from unetcore.failures import main, refuse_repetition, reproduce, save_failure
from unetcore.update import Update

SETTINGS = {"seed": 3, "training": {"learning_rate": 0.01}}
MESSAGE = "loss nan at step 17"


def failed_update(config=PAPER, value=math.nan):
    """Update that has failed, its parts and its seeds."""
    images, classes, weights = random_tiles(0, config.batch)
    images[-1, 0, 6, 7] = value
    n = config.batch // config.accumulate
    parts = list(zip(*(each.split(n) for each in (images, classes, weights)), strict=True))
    seeds = [100 + k for k in range(config.accumulate)]
    update = Update(new_network(4), config, Processes())
    update(parts, seeds)
    return update, parts, seeds


def save(folder, update, parts, seeds, step=17, settings=SETTINGS):
    return save_failure(
        folder, update, step=step, parts=parts, seeds=seeds, message=MESSAGE, settings=settings
    )


@pytest.mark.parametrize(
    "config",
    [PAPER, changed(FAST, batch=2, accumulate=2, clip=1.0)],
    ids=["sgd", "adamw in two parts"],
)
def test_a_failed_update_is_reproduced_from_its_file(tmp_path, config):
    path = save(tmp_path / "states", *failed_update(config))
    assert path == tmp_path / "states" / "failure-00000017.pt"
    step, loss, norm = reproduce(path)
    assert step == 17
    assert math.isnan(loss)
    assert math.isnan(norm)


def test_what_is_reproduced_is_what_was_computed(tmp_path):
    """Loss and gradient of an update that is well come out to the last digit, drop-out included."""
    config = changed(PAPER, batch=2, accumulate=2)
    update, parts, seeds = failed_update(config, value=0.5)
    update = Update(new_network(4), config, Processes())  # before its step
    path = save(tmp_path, update, parts, seeds)
    loss, _, norm = update.gradient(parts, seeds)
    torch.manual_seed(12345)
    assert reproduce(path) == (17, loss.item(), norm.item())
    other = save(tmp_path, update, parts, [each + 1 for each in seeds])
    assert reproduce(other) != (17, loss.item(), norm.item())


def test_the_file_holds_the_network_before_the_failed_update_and_says_what_happened(tmp_path):
    update, parts, seeds = failed_update()
    saved = torch.load(save(tmp_path, update, parts, seeds), weights_only=True)
    weights = torch.cat([w.flatten() for w in saved["model"].values()])
    assert torch.equal(weights, weights_of(new_network(4)))
    assert (saved["message"], saved["settings"]) == (MESSAGE, SETTINGS)
    assert (saved["torch"], saved["training"]) == (torch.__version__, asdict(PAPER))


def run_module(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "unetcore.failures", *map(str, arguments)],
        cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True,
    )  # fmt: skip


def test_the_module_reproduces_a_failure_in_another_process(tmp_path):
    found = run_module(save(tmp_path, *failed_update()))
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == "step 17: loss nan, norm of the gradient nan\n"


def test_a_gradient_that_alone_is_not_finite_is_told_from_the_loss(tmp_path, capsys):
    update, parts, seeds = failed_update(value=0.5)
    with torch.no_grad():
        update.model.scores.weight.mul_(1e30)  # a loss of 1e30, and squares that overflow
    main([str(save(tmp_path, update, parts, seeds))])
    found = capsys.readouterr().out
    assert found.startswith("step 17: loss ")
    assert found.endswith("norm of the gradient inf\n")
    assert math.isfinite(float(found.split()[3].strip(",")))


@pytest.mark.parametrize("content", [b"", b"not a failure", b"PK\x03\x04 cut off", "other"])
def test_another_file_is_refused_in_one_line(tmp_path, content, capsys):
    path = tmp_path / "failure-00000001.pt"
    if content == "other":
        torch.save({"step": 1}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"failure-00000001\.pt: not the file of a failed training"
    ):
        reproduce(path)
    with pytest.raises(SystemExit) as stopped:
        main([str(path)])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"{path}: not the file of a failed training\n"


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    path = save(tmp_path, *failed_update())
    content = path.read_bytes()
    for size in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match="not the file of a failed training"):
            reproduce(path)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(InputError, match="absent: No such file or directory"):
        reproduce(tmp_path / "absent")
    with pytest.raises(InputError, match="Is a directory"):
        reproduce(tmp_path)
    missing = run_module()
    assert missing.returncode == 2
    assert "the following arguments are required: file" in missing.stderr


def test_the_same_training_is_not_repeated(tmp_path):
    path = save(tmp_path, *failed_update())
    with pytest.raises(FloatingPointError) as refused:
        refuse_repetition(tmp_path, SETTINGS)
    assert str(refused.value) == (f"{MESSAGE}; it has failed so before: delete {path} to try again")
    assert path.is_file()
    path.unlink()
    refuse_repetition(tmp_path, SETTINGS)


def test_failures_of_other_settings_are_let_be(tmp_path):
    failed = failed_update()
    other = save(tmp_path, *failed, step=3, settings=SETTINGS | {"seed": 4})
    refuse_repetition(tmp_path, SETTINGS)
    own = save(tmp_path, *failed, step=17)
    with pytest.raises(FloatingPointError, match="step 17"):
        refuse_repetition(tmp_path, SETTINGS)
    assert other.exists()
    assert own.exists()


def test_nothing_is_refused_in_a_folder_without_failures(tmp_path):
    refuse_repetition(tmp_path / "none", SETTINGS)
    (tmp_path / "step-00000017.pt").write_bytes(b"a state")
    refuse_repetition(tmp_path, SETTINGS)
    assert (tmp_path / "step-00000017.pt").is_file()
