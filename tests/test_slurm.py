"""The workflow on a real SLURM of one node, whose GPU is pretended (tests/cluster)."""

import csv
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import yaml
from test_workflow import OFFLINE, ROOT, copy_workflow, snakemake
from test_workflow_volumes import IMAGE, chunks, new_workflow

from unetcore.volumes.plan import part_of

pytestmark = pytest.mark.slurm

STEPS = 400
# Two seeds of one experiment and one of another: three trainings, and each is stopped another way.
CANCELLED, TIMED_OUT, SIGNALLED = "demo_official_0", "demo_official_1", "demo-cells_02_0"
SMALL = {
    "averaging": ["none"],
    "network": {"width": 2},
    "training": {
        "steps": STEPS,
        "output_tile": 68,
        "warmup_steps": 2,
        "checkpoint_every": 5,
        "log_every": 20,
    },
}
OVERLAY = {"experiments": {"demo": SMALL | {"seeds": [0, 1]}, "demo-cells": SMALL}}
# What suits a test and no user: no accounting to ask, and no patience.
FLAGS = (
    *("--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "1"),
    *("--seconds-between-status-checks", "1"),
    *("--latency-wait", "5"),
)
PROFILE = ("--workflow-profile", "profiles/slurm", *FLAGS)
DEMO = ("demo", "--configfile", "small.yaml")
PREDICTIONS = [
    f"results/predictions/demo/fold-official/seed-{i}/u-net/probability.tif" for i in (0, 1)
]
BESIDE = ("results/tables/demo.csv", *DEMO[1:], "--cores", "1")
LONGEST = 1200  # seconds to wait for anything, on a busy machine


@pytest.fixture(scope="module")
def cluster():
    """A SLURM that runs: the one of UNET_CLUSTER, or one that is up for these tests alone."""
    if "UNET_CLUSTER" in os.environ:
        yield
        return
    programs = ("slurmctld", "slurmd", "sbatch", "munged")
    if missing := [program for program in programs if not shutil.which(program)]:
        pytest.skip(f"no {', '.join(missing)}: tests/cluster/start installs SLURM")
    started = subprocess.run([ROOT / "tests/cluster/start"], capture_output=True, text=True)
    if started.returncode:
        pytest.skip(started.stderr.strip().splitlines()[-1])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in re.findall(r"(\w+)=(\S+)", started.stdout):
            patch.setenv(name, value)
        yield
        subprocess.run([ROOT / "tests/cluster/stop", os.environ["UNET_CLUSTER"]], check=True)


def facility(folder, **of_rules):
    """Copy of the workflow whose profile a facility has edited: account, partition, resources."""
    edit_profile(copy_workflow(folder), **of_rules)
    (folder / "small.yaml").write_text(yaml.safe_dump(OVERLAY))
    return folder


def edit_profile(folder, **of_rules):
    path = folder / "profiles/slurm/config.yaml"
    text = path.read_text()
    for placeholder, name in (("ACCOUNT", "lab"), ("PARTITION", "main")):
        assert text.count(f": {placeholder}\n") == 1
        text = text.replace(f": {placeholder}\n", f": {name}\n")
    profile = yaml.safe_load(text)
    for rule, resources in of_rules.items():
        profile["set-resources"].setdefault(rule, {}).update(resources)
    path.write_text(yaml.safe_dump(profile))


def shown_jobs(folder):
    """What SLURM says of all jobs of a folder, oldest first, each as a dict of strings."""
    said = subprocess.run(
        ["scontrol", "--oneliner", "--details", "show", "job"], capture_output=True, text=True
    ).stdout
    jobs = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in said.splitlines()]
    return [job for job in jobs if job.get("WorkDir") == str(folder)]


def jobs_of(jobs, name):
    """Those of a rule or group, whose name the executor puts into the comment."""
    return [job for job in jobs if job["Comment"].startswith(f"rule_{name}")]


def seconds(job, event):
    return time.mktime(time.strptime(job[f"{event}Time"], "%Y-%m-%dT%H:%M:%S"))


@dataclass
class Training:
    """A training that is stopped from outside once it has saved a state.

    `name` is that of its wildcards in the comment of its job, `saved` its last step before that.
    """

    name: str
    folder: Path
    saved: int | None = None
    pid: int | None = None

    @property
    def path(self):
        experiment, fold, seed = self.name.split("_")
        return f"{experiment}/fold-{fold}/seed-{seed}"

    @property
    def log(self):
        return (self.folder / f"logs/train/{self.path}.log").read_text()

    def n_steps_saved(self):
        states = (self.folder / "results/state" / self.path).glob("step-*.pt")
        return max((int(state.stem[5:]) for state in states), default=0)

    def stop(self):
        """Do to it what its name says; those that must last are halted till then."""
        self.saved = self.n_steps_saved()
        lock = self.folder / "results/state" / self.path / "lock"
        self.pid = yaml.safe_load(lock.read_text())["pid"]
        if self.name == CANCELLED:
            (job,) = jobs_of(shown_jobs(self.folder), f"train_wildcards_{self.name}")
            subprocess.run(["scancel", job["JobId"]], check=True)
        else:
            os.kill(self.pid, signal.SIGSTOP)

    def go_on_if_signalled(self):
        """Let a halted process see the SIGTERM that waits for it."""
        with suppress(OSError):
            status = Path(f"/proc/{self.pid}/status").read_text()
            pending = int(re.search(r"^ShdPnd:\s*(\w+)", status, re.MULTILINE)[1], 16)
            if pending >> (signal.SIGTERM - 1) & 1:
                os.kill(self.pid, signal.SIGCONT)


@dataclass
class Run:
    """A run of the demo on SLURM, and beside it a local one that nothing disturbed."""

    folder: Path
    local: Path
    log: str
    jobs: list[dict]
    trainings: dict[str, Training] = field(default_factory=dict)


def start(folder, *arguments):
    with (folder / "snakemake.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=folder,
            env=os.environ | OFFLINE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def ended(process):
    """Leave no process behind where a test fails; jobs end with the SLURM of the tests."""
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def disturb(process, trainings):
    """Stop each training once, while snakemake runs, until it ends."""
    deadline = time.monotonic() + LONGEST
    while process.poll() is None:
        assert time.monotonic() < deadline, "the demo takes too long"
        for training in trainings.values():
            if training.saved is None and training.n_steps_saved() >= 20:
                training.stop()
        if trainings[SIGNALLED].saved is not None:
            trainings[SIGNALLED].go_on_if_signalled()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def run(cluster, tmp_path_factory):
    """The demo, with every training stopped once in its own way."""
    minutes = "(2 if wildcards.experiment == 'demo-cells' else 1) * attempt"
    early = "'--signal=TERM@20' if wildcards.experiment == 'demo-cells' else ''"
    folder = facility(
        tmp_path_factory.mktemp("slurm"),
        train={"runtime": minutes, "slurm_extra": early},
        predict={"gpu": 1},
        seams={"gpu": 1},
    )
    local = facility(tmp_path_factory.mktemp("local"))
    trainings = {name: Training(name, folder) for name in (CANCELLED, TIMED_OUT, SIGNALLED)}
    with ended(start(folder, *DEMO, *PROFILE)) as process, ended(start(local, *BESIDE)) as beside:
        disturb(process, trainings)
        log = (folder / "snakemake.log").read_text()
        assert process.returncode == 0, log[-5000:]
        assert beside.wait(LONGEST) == 0, (local / "snakemake.log").read_text()[-5000:]
    return Run(folder, local, log, shown_jobs(folder), trainings)


@pytest.mark.parametrize("name", ["demo.csv", "demo.md"])
def test_tables_are_those_of_a_local_run(run, name):
    def read(folder):
        text = (folder / "results/tables" / name).read_text()
        return re.sub(r"trained \d+ s each", "trained", text)  # the machine was not as busy

    assert read(run.folder) == read(run.local)
    assert "u-net" in read(run.folder)


def test_maps_are_those_of_a_local_run(run):
    maps = sorted((run.local / "results/predictions").rglob("*.tif"))
    assert len(maps) == 7  # of two thresholds and three networks; those of cells also segmented
    for path in maps:
        assert (run.folder / path.relative_to(run.local)).read_bytes() == path.read_bytes(), path


def test_every_job_is_one_of_the_partition_and_account_of_the_profile(run):
    assert {(job["Partition"], job["Account"]) for job in run.jobs} == {("main", "lab")}
    states = Counter(job["JobState"] for job in run.jobs)
    assert set(states) == {"COMPLETED", "CANCELLED", "TIMEOUT", "FAILED"}
    assert [states[state] for state in ("CANCELLED", "TIMEOUT", "FAILED")] == [1, 1, 1]


def test_small_jobs_are_one_of_slurm_by_group(run):
    names = Counter(re.match("rule_([a-z]+)", job["Comment"])[1] for job in run.jobs)
    assert names == {
        "data": 2,  # by dataset: the phantom and its canonical form
        "targets": 1,
        "train": 6,  # each one twice
        "predictions": 3,  # by training: the prediction and its seams
        "results": 2,  # by experiment: threshold, segments, metrics and figures
        "figures": 1,
    }  # and the table beside snakemake itself
    rules = Counter(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", run.log))
    assert rules["evaluate"] == 5
    assert rules["train"] == 3
    assert re.search(r"^(\d+) of \1 steps \(100%\) done$", run.log, re.MULTILINE)  # no step twice


@pytest.mark.parametrize(
    ("name", "state"),
    [(CANCELLED, "CANCELLED"), (TIMED_OUT, "TIMEOUT"), (SIGNALLED, "FAILED")],
    ids=["scancel", "time limit", "signal before it"],
)
def test_a_stopped_training_goes_on_in_another_job(run, name, state):
    first, second = jobs_of(run.jobs, f"train_wildcards_{name}")
    assert (first["JobState"], second["JobState"]) == (state, "COMPLETED")
    training = run.trainings[name]
    (step,) = map(int, re.findall(rf"continuing at step (\d+) of {STEPS}", training.log))
    assert step >= training.saved >= 20
    # The terminal shows what the first job said: it was not killed, but saved its last step.
    assert f"stopped at step {step} of {STEPS}: the state is in results/state/" in run.log
    assert not (run.folder / "results/state" / training.path).exists()


def test_a_signal_before_the_time_limit_leaves_time_to_save(run):
    first, _ = jobs_of(run.jobs, f"train_wildcards_{SIGNALLED}")
    assert seconds(first, "End") - seconds(first, "Start") < 60 * 2


def test_a_further_attempt_asks_for_more_memory_and_time(run):
    first, second = jobs_of(run.jobs, f"train_wildcards_{TIMED_OUT}")
    assert (first["TimeLimit"], second["TimeLimit"]) == ("00:01:00", "00:02:00")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("4000M", "8000M")


def test_a_group_asks_for_no_more_than_one_job_at_a_time_may_have(run):
    (predictions, *_) = jobs_of(run.jobs, "predictions-")
    assert predictions["TresPerJob"] == "gres:gpu:1"  # for two jobs, one after the other
    assert predictions["NumCPUs"] == "1"
    assert all(int(job["NumCPUs"]) <= 8 for job in run.jobs)


def test_jobs_queue_for_the_gpu_and_say_where_there_is_none(run, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    folder = shutil.copytree(run.local, tmp_path / "workflow")
    way = ("--config", "hardware=gpu", "gpu_request=gres", "--set-resources", "predict:turn=1")
    again = ("--forcerun", "predict", "--rerun-triggers", "mtime", "--retries", "0")
    result = snakemake(folder, *PREDICTIONS, *DEMO[1:], *PROFILE, *way, *again)
    assert result.returncode == 1
    says = f"a GPU was asked for and none can be seen: host {platform.node()}; driver none; "
    sees = f"CUDA_VISIBLE_DEVICES 0; torch {torch.__version__} for"  # SLURM gave its GPU 0
    assert says + sees in result.stdout, result.stdout[-5000:]
    first, second = shown_jobs(folder)
    for job in (first, second):
        assert job["JobState"] == "FAILED"
        assert job["TresPerNode"] == "gres:gpu:1"
        assert "TresPerJob" not in job  # as --gpus would be
    assert seconds(second, "Submit") < seconds(first, "End") <= seconds(second, "Start")
    assert len(list((folder / "results/runs").rglob("model.safetensors"))) == 3  # all that was made


class Share:
    """The second of three jobs that predict a volume, cancelled once it has written some chunks."""

    name = "predict_volume_wildcards_section_2-of-3"

    def __init__(self, folder):
        self.folder = folder
        whole = [(z, y, x) for z in range(2) for y in range(4) for x in range(4)]
        self.paths = [folder / IMAGE / "0" / "/".join(map(str, c)) for c in part_of(whole, 2, 3)]
        self.before = {}

    def written(self):
        """Inodes of its chunks by their paths; a chunk that is written again has another one."""
        return {path: path.stat().st_ino for path in self.paths if path.exists()}

    def cancel_if_begun(self):
        if not self.before and len(written := self.written()) >= 2:
            (job,) = jobs_of(shown_jobs(self.folder), self.name)
            subprocess.run(["scancel", job["JobId"]], check=True)
            self.before = written


@pytest.fixture(scope="module")
def volume(cluster, tmp_path_factory):
    """A volume on SLURM, a share of it cancelled, and beside it a local run of the same."""
    # Chunks of a network of this width take long enough for a share to be seen at work.
    folder, local = (
        new_workflow(tmp_path_factory.mktemp(name) / "workflow", width=32)
        for name in ("slurm", "local")
    )
    edit_profile(folder)
    share = Share(folder)
    arguments = ("volumes", "--configfile", "volumes.yaml")
    beside = (*arguments, "--cores", "1")
    with (
        ended(start(folder, *arguments, *PROFILE)) as process,
        ended(start(local, *beside)) as other,
    ):
        deadline = time.monotonic() + LONGEST
        while process.poll() is None:
            assert time.monotonic() < deadline, "the volume takes too long"
            share.cancel_if_begun()
            time.sleep(0.05)
        log = (folder / "snakemake.log").read_text()
        assert process.returncode == 0, log[-5000:]
        assert other.wait(LONGEST) == 0, (local / "snakemake.log").read_text()[-5000:]
    return Run(folder, local, log, shown_jobs(folder)), share


def test_a_volume_of_many_jobs_has_the_bytes_and_metrics_of_a_local_run(volume):
    run, _ = volume
    assert len(chunks(run.local)) == 2 * 4 * 4 + 2  # and .zarray, .zattrs
    assert chunks(run.folder) == chunks(run.local)
    first, second = (
        json.loads((folder / "results/volumes/section/metrics.json").read_text())["metrics"]
        for folder in (run.folder, run.local)
    )
    assert first == second


def test_shares_of_a_volume_are_jobs_of_their_own_and_what_follows_is_one(volume):
    run, _ = volume
    names = Counter(
        re.match("rule_([a-z_]+?)(_wildcards|-)", job["Comment"])[1] for job in run.jobs
    )
    assert names == {"start_volume": 1, "predict_volume": 4, "volume": 1}
    assert {(job["Partition"], job["Account"]) for job in run.jobs} == {("main", "lab")}


def test_a_cancelled_share_goes_on_in_another_job_and_makes_no_chunk_again(volume):
    run, share = volume
    first, second = jobs_of(run.jobs, share.name)
    assert (first["JobState"], second["JobState"]) == ("CANCELLED", "COMPLETED")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("2000M", "4000M")
    # Said twice: by the job as it stopped, and by its log, which is shown where a job fails.
    (said,) = set(re.findall(rf"stopped after \d+ of {len(share.paths)} chunks", run.log))
    n_done = int(said.split()[2])
    assert n_done >= len(share.before) >= 2
    part = json.loads((run.folder / "results/volumes/section/parts/2-of-3.json").read_text())
    assert part["n_predicted"] == len(share.paths) - n_done
    assert share.written().items() >= share.before.items()


@pytest.mark.realdata
def test_official_archives_take_two_calls(cluster, tmp_path):
    if not (mirror := os.environ.get("UNET_DATA_MIRROR")):
        pytest.skip("UNET_DATA_MIRROR is not set")
    folder = facility(tmp_path)
    tiny = SMALL | {"title": "Tiny", "dataset": "isbi2012", "split": {"blocks": 5}, "folds": ["0"]}
    tiny |= {"seeds": [0], "evaluation": {"metrics": ["pixel_error"]}}
    tiny["training"] = SMALL["training"] | {"steps": 4}
    overlay = {"experiments": {"tiny": tiny}, "tables": {"table1": ["tiny"]}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(overlay))
    table1 = ("table1", "--configfile", "tiny.yaml", *PROFILE)
    for more in (("--until", "canonical"), ()):
        result = snakemake(folder, *table1, *more, UNET_DATA_MIRROR=mirror)
        assert result.returncode == 0, result.stdout[-5000:]
        jobs = shown_jobs(folder)
        assert {job["JobState"] for job in jobs} == {"COMPLETED"}
        if more:
            assert [job["Comment"] for job in jobs] == ["rule_canonical_wildcards_isbi2012"]
            assert not (folder / "results/targets").exists()
    with (folder / "results/tables/table1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["dataset"] for row in rows} == {"isbi2012"}
    assert {row["method"] for row in rows} >= {"best-threshold", "u-net"}


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """Copy of the workflow for SLURM in which nothing has run."""
    return facility(tmp_path_factory.mktemp("untouched"))


def refusal(folder, *arguments, target="demo", **environment):
    """The line in which a run is refused before any job."""
    result = snakemake(folder, target, *DEMO[1:], *PROFILE, *arguments, **environment)
    assert result.returncode == 2, result.stdout[-5000:]
    assert "Traceback" not in result.stdout
    assert shown_jobs(folder) == []
    assert not (folder / "results").exists()
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "asked", "words"),
    [
        (
            ("--default-resources", "slurm_partition=nowhere", "slurm_account=lab"),
            "--partition=nowhere",
            "sbatch: error: invalid partition specified: nowhere; "
            "allocation failure: Invalid partition name specified",
        ),
        (
            ("--set-resources", "train:gpu=2"),
            "--gpus=2",
            "allocation failure: Requested node configuration is not available",
        ),
        (
            ("--set-resources", "train:gres=gpu:3"),
            "--gres=gpu:3",
            "allocation failure: Requested node configuration is not available",
        ),
        (
            ("--set-resources", "train:runtime=99999"),
            "--time=99999",
            "allocation failure: Requested time limit is invalid (missing or exceeds some limit)",
        ),
    ],
    ids=["partition", "gpu", "gres", "time"],
)
def test_what_slurm_would_not_take_is_refused_in_its_own_words(
    cluster, untouched, arguments, asked, words
):
    line = refusal(untouched, *arguments)
    assert line.startswith("configuration: SLURM refuses jobs of ")
    assert f" {asked}" in line.replace("(", " ").replace(")", " ")
    assert line.endswith(f"): {words}")


def test_an_account_that_is_none_of_the_users_is_refused(cluster, untouched, tmp_path):
    stand_in = tmp_path / "sacctmgr"
    stand_in.write_text("#!/bin/sh\nprintf '  other\n  third\n  other\n'\n")
    stand_in.chmod(0o755)
    line = refusal(untouched, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert line == "configuration: slurm_account 'lab': SLURM lists other, third for you"


def test_archives_are_to_be_unpacked_before_jobs_are_grouped(cluster, untouched):
    line = refusal(untouched, target="table1")
    assert line == (
        "configuration: jobs are in groups, and the archives of isbi2012 are yet to be unpacked, "
        "on which it depends what jobs there are: call it with --until canonical first, then again"
    )


def test_without_accounting_sacct_is_not_waited_for(cluster, untouched):
    line = refusal(untouched, "--slurm-status-command", "sacct")
    assert line.endswith("keeps no accounting, which sacct asks: add slurm-status-command: squeue")


def test_without_sbatch_there_is_one_line(untouched, tmp_path):
    for program in ("bash", "sh", "which"):
        (tmp_path / program).symlink_to(shutil.which(program))
    result = snakemake(untouched, *DEMO, *PROFILE, PATH=str(tmp_path))
    assert result.returncode == 2, result.stdout[-3000:]
    assert result.stdout.splitlines()[-1] == (
        "configuration: executor 'slurm', and there is no sbatch on PATH: start on a node that "
        "submits jobs"
    )


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own, which can be filled, and made read-only."""
    options = ("-t", "tmpfs", "-o", "size=40m", "tmpfs", str(tmp_path))
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk of its own: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_is_one_line_and_costs_nothing_that_is_there(cluster, disk):
    facility(disk)
    made = "results/archives/phantom-cells.zip"
    assert snakemake(disk, made, "--cores", "1").returncode == 0
    with (disk / "filler").open("wb") as filler:
        filler.write(bytes(shutil.disk_usage(disk).free - 600_000))
    result = snakemake(disk, "results/data/phantom-em/images.tif", *PROFILE, "--retries", "0")
    assert result.returncode == 1
    line = r"^ *[\d:]+ \S+: no space left on the disk$"
    assert re.search(line, result.stdout, re.MULTILINE), result.stdout[-5000:]
    assert "Traceback" not in result.stdout
    assert (disk / made).exists()


def test_a_read_only_disk_is_one_line_before_any_job(cluster, disk):
    facility(disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert refusal(disk) == f"configuration: {disk}: results go here, and it cannot be written to"
