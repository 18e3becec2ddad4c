"""A workflow that is killed in the middle of a training, and called again: same tables."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from test_workflow import OFFLINE, copy_workflow, snakemake

TABLE = "results/tables/demo.csv"
RUN = "results/runs/demo/fold-official/seed-0"
STATES = "results/state/demo/fold-official/seed-0"
OVERLAY = {
    "experiments": {
        "demo": {
            "network": {"width": 2},
            "training": {
                "steps": 400,
                "output_tile": 68,
                "warmup_steps": 2,
                "checkpoint_every": 5,
                "validate_every": 150,
            },
        }
    },
    "tables": {"demo": ["demo"]},
}
LONGEST = 600  # seconds to wait for anything, on a busy machine
ARGUMENTS = (TABLE, "--configfile", "killed.yaml", "--cores", "1")


def new_workflow(folder):
    folder.mkdir()
    copy_workflow(folder)
    (folder / "killed.yaml").write_text(yaml.safe_dump(OVERLAY))
    return folder


def start(folder):
    """Start snakemake as the head of a session of its own."""
    with (folder / "snakemake.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *ARGUMENTS],
            cwd=folder,
            env=os.environ | OFFLINE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )


def wait_for(condition, what):
    deadline = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.02)


def n_steps_saved(folder):
    steps = [int(path.stem[5:]) for path in (folder / STATES).glob("step-*.pt")]
    return max(steps, default=0)


def finish(folder):
    """Call snakemake again, as a user does after a crash."""
    unlocked = snakemake(folder, *ARGUMENTS, "--unlock")
    assert unlocked.returncode == 0, unlocked.stdout[-3000:]
    result = snakemake(folder, *ARGUMENTS)
    assert result.returncode == 0, result.stdout[-5000:]


def products(folder):
    """What must not depend on the interruption."""
    rows = (folder / RUN / "history.csv").read_text().splitlines()
    return {
        "table": [line.split(",")[:7] for line in (folder / TABLE).read_text().splitlines()],
        "losses": [row.split(",")[:5] for row in rows],
        "held out": [
            row.split(",")[:1] + row.split(",")[2:]
            for row in (folder / RUN / "validation.csv").read_text().splitlines()
        ],
        "probability": next(
            (folder / "results/predictions").glob("demo/*/seed-0/u-net/probability.tif")
        ).read_bytes(),
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = new_workflow(tmp_path_factory.mktemp("whole") / "workflow")
    result = snakemake(folder, *ARGUMENTS)
    assert result.returncode == 0, result.stdout[-5000:]
    return products(folder)


@pytest.mark.slow
def test_killed_with_all_its_jobs(tmp_path, uninterrupted):
    folder = new_workflow(tmp_path / "workflow")
    process = start(folder)
    wait_for(lambda: n_steps_saved(folder) >= 20, "a state")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / RUN / "model.safetensors").exists()
    saved = n_steps_saved(folder)
    finish(folder)
    log = next((folder / "logs/train/demo").rglob("*.log")).read_text()
    assert f"continuing at step {saved} of 400" in log
    assert products(folder) == uninterrupted
    assert not (folder / STATES).exists()


@pytest.mark.slow
def test_killed_alone_its_training_is_taken_over(tmp_path, uninterrupted):
    # The job outlives the snakemake that started it: the next one stops it, and goes on.
    folder = new_workflow(tmp_path / "workflow")
    process = start(folder)
    wait_for(lambda: n_steps_saved(folder) >= 20, "a state")
    process.kill()
    process.wait()
    finish(folder)
    assert products(folder) == uninterrupted


@pytest.mark.slow
def test_killed_before_a_finished_training_is_on_record(tmp_path, uninterrupted):
    # Snakemake then takes the products for incomplete, and asks for them again.
    folder = new_workflow(tmp_path / "workflow")
    process = start(folder)
    wait_for(lambda: n_steps_saved(folder) >= 20, "a state")
    process.kill()
    process.wait()
    wait_for((folder / STATES / "finished.pt").exists, "the end of the orphan")
    of_another_target = folder / "results/state/em/fold-0/seed-0/finished.pt"
    of_another_target.parent.mkdir(parents=True)
    of_another_target.touch()
    finish(folder)
    log = next((folder / "logs/train/demo").rglob("*.log")).read_text()
    assert "continuing at step 400 of 400" in log
    assert products(folder) == uninterrupted
    assert not (folder / STATES).exists()
    assert of_another_target.exists()


@pytest.mark.slow
def test_training_told_to_stop_is_retried_from_its_state(tmp_path, uninterrupted):
    # As a scheduler does at a time limit; snakemake itself goes on and starts the job again.
    folder = new_workflow(tmp_path / "workflow")
    process = start(folder)
    wait_for(lambda: n_steps_saved(folder) >= 20, "a state")
    owner = yaml.safe_load((folder / STATES / "lock").read_text())["pid"]
    os.kill(owner, signal.SIGTERM)
    assert process.wait(LONGEST) == 0, (folder / "snakemake.log").read_text()[-3000:]
    log = (folder / "snakemake.log").read_text()
    assert "Trying to restart job" in log
    assert products(folder) == uninterrupted
