"""What jobs ask a scheduler for, and the profile for SLURM, without a SLURM."""

import re

import pytest
import yaml
from test_workflow import ROOT, copy_workflow, snakemake

SLURM = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text("utf-8"))
ON_GPUS = {"train", "predict", "seams", "tiles_or_batches"}


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """Copy of the workflow in which nothing has run."""
    return copy_workflow(tmp_path_factory.mktemp("workflow"))


def planned(folder, *arguments):
    """Resources of the jobs of a dry run, as rule and dict of strings."""
    result = snakemake(folder, "-n", *arguments)
    assert result.returncode == 0, result.stdout[-3000:]
    jobs = re.findall(
        r"^(?:rule|checkpoint) (\w+):$.*?^    resources: (.*?)$", result.stdout, re.M | re.S
    )
    return [(rule, dict(r.split("=", 1) for r in text.split(", "))) for rule, text in jobs]


@pytest.fixture(scope="module")
def paper(workflow):
    """Jobs of the paper's graph on phantoms, which are all known from the start."""
    return planned(workflow, "paper", "--configfile", "config.yaml", "config/phantom.yaml")


def test_every_job_asks_for_memory_and_time(paper):
    without = {rule for rule, asked in paper if not {"mem_mb", "runtime"} <= asked.keys()}
    assert without == {"paper"}  # the target, which does nothing
    assert {rule for rule, _ in paper} >= ON_GPUS


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (("hardware=cpu",), (None, None)),
        (("hardware=gpu",), ("1", None)),
        (("hardware=gpu", "gpu_request=gres"), (None, "gpu:1")),
    ],
    ids=["cpu", "gpu", "gres"],
)
def test_gpus_are_asked_for_in_one_way_and_by_what_computes_on_them(workflow, settings, expected):
    overlays = ("--configfile", "config.yaml", "config/phantom.yaml")
    jobs = planned(workflow, "paper", *overlays, "--config", *settings)
    for rule, asked in jobs:
        ways = (asked.get("gpu"), asked.get("gres"))
        assert ways == (expected if rule in ON_GPUS else (None, None)), rule


def test_a_training_of_several_processes_asks_for_as_many_gpus_and_as_much_memory(
    workflow, tmp_path
):
    overlay = tmp_path / "processes.yaml"
    batches = {"training": {"batch": 2}}
    overlay.write_text(
        yaml.safe_dump({"defaults": batches, "experiments": {"em-fast": batches}, "processes": 2})
    )
    way = ("--config", "hardware=gpu", "gpu_request=gres")
    jobs = planned(workflow, "demo", "--configfile", str(overlay), *way)
    asked = [asked for rule, asked in jobs if rule == "train"]
    assert {(each["gres"], each["mem_mb"]) for each in asked} == {("gpu:2", "8000")}


def test_an_unknown_way_to_ask_is_one_line(workflow):
    result = snakemake(workflow, "-n", "--config", "gpu_request=gpus")
    assert result.returncode == 2
    line = "configuration: gpu_request: 'gpus' is not one of ['gpu', 'gres']"
    assert result.stdout.splitlines()[-1] == line


def test_a_folder_that_cannot_be_written_to_is_one_line(workflow, monkeypatch, tmp_path):
    # root may write anywhere but on a read-only disk, so access() is stood in for.
    (tmp_path / "sitecustomize.py").write_text("import os\nos.access = lambda path, mode: False\n")
    result = snakemake(workflow, "-n", PYTHONPATH=str(tmp_path))
    assert result.returncode == 2
    line = f"configuration: {workflow}: results go here, and it cannot be written to"
    assert result.stdout.splitlines()[-1] == line


def test_the_profile_for_slurm_repeats_the_default_one_which_is_not_read_beside_it():
    default = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text("utf-8"))
    assert default.items() <= SLURM.items()


def test_the_profile_for_slurm_is_read_where_there_is_no_slurm(workflow):
    assert planned(workflow, "demo", "--workflow-profile", "profiles/slurm")


def test_groups_of_the_profile_are_of_rules_that_there_are(workflow):
    rules = set(snakemake(workflow, "--list-rules").stdout.split())
    assert SLURM["groups"].keys() <= rules
    assert SLURM["set-resources"].keys() <= rules


def test_the_demo_hangs_on_no_checkpoint_so_its_jobs_may_be_in_groups(workflow):
    for target, form in (("demo", "canonical_phantom"), ("table1", "canonical")):
        result = snakemake(workflow, target, "-n")
        assert result.returncode == 0, result.stdout[-3000:]
        assert re.findall(r"^(canonical\w*) +\d+$", result.stdout, re.MULTILINE)[0] == form


def test_groups_whose_number_is_set_are_groups(workflow):
    assert SLURM["group-components"].keys() <= set(SLURM["groups"].values())
