"""`--use-conda` with the environments as they are, from channels made of what is installed here.

Snakemake runs in an environment of its own without torch, SciPy and this package, so that a job
which lacks a library cannot find it there: Snakemake adds its own libraries to those of the job.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from conda_channel import PYTHON, build_channels
from conda_client import install_client
from packaging.utils import canonicalize_name
from test_package import ENVIRONMENTS, conda_packages
from test_workflow import OFFLINE, copy_workflow

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "network": {"width": 2},
    "training": {"steps": 6, "output_tile": 68, "log_every": 2, "warmup_steps": 2},
}
OVERLAY = {
    "experiments": {"demo": SMALL | {"averaging": ["none"]}, "demo-cells": SMALL},
    "tables": {"demo": ["demo"]},
}
TABLE = "results/tables/demo.csv"
ARCHIVE = "results/archives/phantom-cells.zip"
FOR_JOBS = {"imagecodecs", "matplotlib", "numba", "scikit-image", "scipy", "torch"}

pytestmark = [pytest.mark.conda, pytest.mark.slow]


class Conda:
    """A machine with conda and nothing else: Snakemake comes from envs/snakemake.yaml."""

    def __init__(self, folder, channels):
        self.prefix = folder / "environments"
        self.host = folder / "host"
        commands = install_client(folder / "base")
        path = f"{commands}{os.pathsep}{os.environ['PATH']}"
        alias = {"PATH": path, "CONDA_CHANNEL_ALIAS": channels.as_uri()}
        self.environment = os.environ | OFFLINE | alias
        self("env", "create", "--file", ROOT / "envs/snakemake.yaml", "--prefix", self.host)

    def __call__(self, *arguments):
        """Run conda; returns what it writes."""
        return subprocess.run(
            ["conda", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def snakemake(self, folder, *arguments):
        """Run Snakemake in a folder; standard output and error come back as one text."""
        command = [self.host / "bin/python", "-m", "snakemake", *arguments]
        command += ["--use-conda", "--conda-prefix", self.prefix, "--cores", "2"]
        return subprocess.run(
            command,
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def environment_of(self, file):
        """Prefix of the environment that was made of a file, which Snakemake copies beside it."""
        (copy,) = [p for p in self.prefix.glob("*.yaml") if p.read_bytes() == file.read_bytes()]
        return copy.with_suffix("")


def installed(prefix):
    """Version of each conda package in an environment."""
    records = map(json.loads, map(Path.read_text, (prefix / "conda-meta").glob("*.json")))
    return {record["name"]: record["version"] for record in records}


@pytest.fixture(scope="module")
def conda(request, tmp_path_factory):
    wanted, _ = conda_packages(ROOT / "envs/snakemake.yaml")["python"]
    if wanted != PYTHON:
        pytest.skip(f"environments have Python {wanted}, channels made here can have {PYTHON} only")
    if not version("torch").endswith("+cpu"):
        pytest.skip(f"torch {version('torch')} is not a CPU build, and train-cpu.yaml asks for one")
    needed = {name for path in ENVIRONMENTS for name in conda_packages(path)} - {"python"}
    channels = build_channels(Path(request.config.cache.mkdir("conda-channels")), needed)
    folder = tmp_path_factory.mktemp("conda")
    yield Conda(folder, channels)
    shutil.rmtree(folder)  # gigabytes, which pytest would keep for three runs


@pytest.fixture
def workflow(tmp_path):
    return copy_workflow(tmp_path)


@pytest.fixture(scope="module")
def demo(conda, tmp_path_factory):
    """Copy of the workflow whose demo has run in conda environments, and what Snakemake said."""
    folder = copy_workflow(tmp_path_factory.mktemp("with-conda"))
    (folder / "small.yaml").write_text(yaml.safe_dump(OVERLAY))
    result = conda.snakemake(folder, "demo", "--configfile", "small.yaml")
    assert result.returncode == 0, result.stdout[-5000:]
    return folder, result.stdout


def test_snakemake_itself_has_no_library_of_the_jobs_and_not_the_package(conda):
    there = {canonicalize_name(name) for name in installed(conda.host)}
    assert "snakemake-minimal" in there
    assert there.isdisjoint(FOR_JOBS | {"matplotlib-base", "pytorch", "unetcore"})
    code = "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('unetcore'))"
    command = [conda.host / "bin/python", "-c", code]
    found = subprocess.run(command, cwd=conda.host, capture_output=True, text=True)
    assert found.stdout.split() == ["None", "None"]


def numbers(folder):
    """Rows of the demo's table, without the digests of code."""
    return [row.split(",")[:7] for row in (folder / TABLE).read_text().splitlines()]


def test_demo_gives_the_numbers_of_a_run_without_conda(demo, tmp_path):
    folder, _ = demo
    command = [sys.executable, "-m", "snakemake", TABLE, "--cores", "2", "--directory", tmp_path]
    command += ["--configfile", "config.yaml", "small.yaml"]
    subprocess.run(command, cwd=folder, env=os.environ | OFFLINE, check=True)
    assert len(numbers(folder)) > 10
    assert numbers(folder) == numbers(tmp_path)


def test_jobs_ran_in_the_environment_of_their_rule(conda, demo):
    folder, said = demo
    training = conda.environment_of(folder / "envs/train-cpu.yaml")
    analysis = conda.environment_of(folder / "envs/analysis.yaml")
    assert {p.name for p in conda.prefix.iterdir() if p.is_dir()} == {training.name, analysis.name}
    for environment in (training, analysis):
        assert f"Activating conda environment: {os.path.relpath(environment, folder)}" in said
    run = json.loads(next(folder.glob("results/runs/demo/*/*/run.json")).read_text())
    assert run["torch"] == version("torch")


def test_environment_for_figures_has_no_torch(conda, demo):
    folder, _ = demo
    assert "pytorch" in installed(conda.environment_of(folder / "envs/train-cpu.yaml"))
    analysis = installed(conda.environment_of(folder / "envs/analysis.yaml"))
    assert "matplotlib-base" in analysis
    assert "pytorch" not in analysis


def test_catalog_entry_point_finds_the_package_in_an_environment(conda, workflow):
    arguments = ("--snakefile", "workflow/Snakefile", "results/data/phantom-cells/images.tif")
    result = conda.snakemake(workflow, *arguments)
    assert result.returncode == 0, result.stdout[-5000:]
    assert "Activating conda environment" in result.stdout


def test_environments_can_be_made_ahead(conda, workflow, tmp_path):
    # A login node with internet makes them, nodes without it run the jobs.
    changed = workflow / "envs/analysis.yaml"
    changed.write_text(f"# another file, so another environment\n{changed.read_text()}")
    result = conda.snakemake(workflow, ARCHIVE, "--conda-create-envs-only")
    assert result.returncode == 0, result.stdout[-5000:]
    assert "scikit-image" in installed(conda.environment_of(changed))
    assert not (workflow / ARCHIVE).exists()


def test_environment_for_a_gpu_is_not_made_with_a_torch_for_the_cpu(conda, workflow):
    arguments = ("--conda-create-envs-only", "--config", "hardware=gpu")
    result = conda.snakemake(workflow, "demo", *arguments)
    assert result.returncode == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("conda: ")]
    assert "No candidates were found for pytorch 2.13.* *cuda*" in line


@pytest.mark.parametrize(
    ("spec", "broken"), [("numpy =2.4", "numpi =2.4"), ("numpy =2.4", "numpy =2.99")]
)
def test_environment_that_cannot_be_solved_is_refused_by_its_spec(conda, workflow, spec, broken):
    file = workflow / "envs/analysis.yaml"
    file.write_text(file.read_text().replace(spec, broken))
    result = conda.snakemake(workflow, ARCHIVE)
    assert result.returncode == 1
    name, number = broken.split(" =")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("conda: ")]
    assert f"No candidates were found for {name} {number}.*" in line
    assert "Traceback" not in result.stdout
    assert not (workflow / ARCHIVE).exists()


def test_pin_file_beside_an_environment_is_what_is_installed(conda, workflow, demo):
    # The two commands by which `snakedeploy pin-conda-envs` makes the file.
    solved = conda.environment_of(demo[0] / "envs/analysis.yaml")
    pins = conda("list", "--explicit", "--md5", "--prefix", solved)
    without_tqdm = "".join(line for line in pins.splitlines(True) if "/tqdm-" not in line)
    assert without_tqdm != pins
    platform = json.loads(conda("info", "--json"))["platform"]
    (workflow / f"envs/analysis.{platform}.pin.txt").write_text(without_tqdm)
    before = set(conda.prefix.glob("*/conda-meta"))
    result = conda.snakemake(workflow, ARCHIVE, "--conda-create-envs-only")
    assert result.returncode == 0, result.stdout[-5000:]
    assert f"envs/analysis.{platform}.pin.txt.\n" in result.stdout  # "Using pinnings from ..."
    (made,) = set(conda.prefix.glob("*/conda-meta")) - before
    everything = installed(solved)
    del everything["tqdm"]
    assert installed(made.parent) == everything
