"""Images, without an engine: what they are built from, and how Snakemake runs jobs in one.

Containerfile and apptainer.def leave the work to one script. It runs here for real, in a copy of
this Python in place of the official image, and the result is the image of a stand-in for apptainer.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from apptainer_client import can_mount, install_client
from dockerfile_parse import DockerfileParser
from packaging.utils import canonicalize_name
from packaging.version import Version
from spython.main.parse.parsers import get_parser
from test_package import locked_versions, project, requirements
from test_workflow import copy_workflow, snakemake

import unetcore

ROOT = Path(__file__).resolve().parents[1]
INSTALL = "envs/install-image.sh"
FOLDER = "/usr/local/unetcore"
RUN = "results/runs/demo/fold-official/seed-0/run.json"
METRICS = "results/predictions/demo/fold-official/seed-0/u-net/metrics.json"
SMALL = {
    "network": {"width": 2},
    "training": {"steps": 3, "output_tile": 68, "log_every": 1, "warmup_steps": 1},
}


@pytest.fixture(scope="module")
def containerfile():
    """Instructions of the Containerfile."""
    with (ROOT / "envs/Containerfile").open("rb") as file:
        return DockerfileParser(fileobj=file).structure


@pytest.fixture(scope="module")
def definition():
    """Recipe of the Apptainer definition."""
    return get_parser("singularity")(str(ROOT / "envs/apptainer.def")).recipe["spython-base"]


def values(structure, instruction):
    return [line["value"] for line in structure if line["instruction"] == instruction]


def copied(structure):
    """Sources of the COPY instructions and where each goes."""
    for value in values(structure, "COPY"):
        *sources, target = value.split()
        for source in sources:
            whole = target.rstrip("/") == source  # a folder into one of its own name
            place = target if whole else f"{target}{Path(source).name}"
            yield source, f"{FOLDER}/{place.removeprefix('./')}"


def test_containerfile_passes_its_linter():
    command = [Path(sys.executable).with_name("hadolint"), "envs/Containerfile"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_linter_sees_a_version_that_is_not_pinned(tmp_path):
    file = tmp_path / "Containerfile"
    text = (ROOT / "envs/Containerfile").read_text()
    file.write_text(text.replace(":3.11-slim-bookworm", ":latest"))
    command = [Path(sys.executable).with_name("hadolint"), file]
    result = subprocess.run(command, capture_output=True, text=True)
    assert "DL3007" in result.stdout


def test_both_images_are_the_oldest_python_that_we_support(containerfile, definition):
    oldest = project()["requires-python"].removeprefix(">=")
    (base,) = values(containerfile, "FROM")
    assert base == f"docker.io/library/python:{oldest}-slim-bookworm"
    assert definition.fromHeader == base


def test_both_images_hold_the_same_files(containerfile, definition):
    files = dict(copied(containerfile))
    assert dict(line.split() for line in definition.files) == files
    assert all((ROOT / source).exists() for source in files)
    assert {"requirements.lock", "unetcore", INSTALL} <= set(files)


def test_both_images_run_the_same_commands(containerfile, definition):
    run = [
        value.replace('"$HARDWARE"', '"{{ HARDWARE }}"') for value in values(containerfile, "RUN")
    ]
    assert values(containerfile, "WORKDIR") == [FOLDER]
    post = (ROOT / "envs/apptainer.def").read_text().partition("%post\n")[2].partition("\n\n")[0]
    assert [line.strip() for line in post.splitlines()] == [f"cd {FOLDER}", *run]
    assert run == [
        f'sh {INSTALL} libraries "{{{{ HARDWARE }}}}"',
        f"sh {INSTALL} command {FOLDER}/environment",
    ]


def test_both_images_are_for_a_cpu_unless_told_otherwise(containerfile):
    assert values(containerfile, "ARG") == ["HARDWARE=cpu"]
    arguments = re.search(r"%arguments\n((?: +.*\n)+)", (ROOT / "envs/apptainer.def").read_text())
    assert arguments[1].split() == ["HARDWARE=cpu"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["libraries", "gpu"], "HARDWARE is 'gpu': need cpu or cuda"),
        (["library", "cpu"], f"{INSTALL} library: need libraries or command"),
    ],
)
def test_unknown_argument_of_a_build_is_refused_in_one_line(arguments, line):
    command = ["sh", INSTALL, *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr.splitlines()) == (2, [line])


def copy_python(folder):
    """Copy of the Python of this machine, with pip and nothing else as in the official image."""
    base = Path(sys.base_prefix)
    if base == Path("/usr"):
        pytest.skip("Python is part of the system here, and cannot be copied")
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(base / f"bin/{name}", folder / "bin")
    for alias in ("python", "python3"):
        (folder / f"bin/{alias}").symlink_to(name)
    ignore = shutil.ignore_patterns("site-packages", "test", "__pycache__", "*.a")
    shutil.copytree(base / f"lib/{name}", folder / f"lib/{name}", symlinks=True, ignore=ignore)
    subprocess.run([folder / "bin/python", "-m", "ensurepip"], check=True, capture_output=True)


@pytest.fixture(scope="module")
def image(tmp_path_factory, containerfile):
    """What the commands of the Containerfile make of a bare Python and the files that it copies."""
    if not version("torch").endswith("+cpu"):
        pytest.skip("pip takes a torch for CUDA here, which is gigabytes")
    folder = tmp_path_factory.mktemp("image")
    root, source, index = folder / "image", folder / "source", folder / "index"
    index.mkdir()  # without torch: pip has another place for its CPU build here
    copy_python(root)
    for path, place in copied(containerfile):
        copy(ROOT / path, source / Path(place).relative_to(FOLDER))
    environment = {"PATH": f"{root}/bin:{os.environ['PATH']}", "TORCH_CPU_INDEX": index.as_uri()}
    arguments = dict(line.split("=") for line in values(containerfile, "ARG"))
    for command in values(containerfile, "RUN"):
        result = subprocess.run(
            command.replace(f"{FOLDER}/environment", f"{root}/environment"),
            cwd=source,
            env=os.environ | environment | arguments,
            shell=True,
            capture_output=True,
            text=True,
        )
        if "Failed to establish a new connection" in result.stderr:
            pytest.skip("no package index can be reached")
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    shutil.rmtree(source)
    yield root
    shutil.rmtree(folder)  # gigabytes, which pytest would keep for three runs


def copy(path, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
    else:
        shutil.copy(path, target)


def run(image, *command, cwd):
    """Run a program of the image; returns what it writes."""
    environment = os.environ | {"PATH": f"{image}/bin:/usr/bin:/bin"}
    arguments = {"cwd": cwd, "env": environment, "capture_output": True, "text": True}
    return subprocess.run(command, check=True, **arguments).stdout


@pytest.mark.slow
def test_image_has_the_locked_versions_and_all_that_the_package_needs(image, tmp_path):
    listed = json.loads(run(image, "python", "-m", "pip", "list", "--format=json", cwd=tmp_path))
    there = {canonicalize_name(line["name"]): Version(line["version"]) for line in listed}
    locked = locked_versions()
    assert {n: v for n, v in there.items() if n in locked and v != locked[n]} == {}
    extras = project()["optional-dependencies"]
    needed = requirements([*project()["dependencies"], *extras["tensorboard"], *extras["workflow"]])
    assert set(needed) <= set(there)
    assert there["torch"].local == "cpu"
    assert "pytest" not in there


@pytest.mark.slow
def test_image_has_both_commands_and_hides_the_package_from_jobs(image, tmp_path):
    assert run(image, "unet", "--version", cwd=tmp_path) == f"unet {unetcore.__version__}\n"
    locked = locked_versions()["snakemake"]
    assert run(image, "snakemake", "--version", cwd=tmp_path) == f"{locked}\n"
    code = "import importlib.util, torch; print(importlib.util.find_spec('unetcore'))"
    assert run(image, "python", "-c", code, cwd=tmp_path) == "None\n"


@pytest.mark.slow
def test_command_of_the_image_trains(image, tmp_path):
    generator = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "i.tif", generator.integers(0, 255, (2, 96, 96), np.uint8))
    tifffile.imwrite(tmp_path / "l.tif", generator.integers(0, 2, (2, 96, 96), np.uint8))
    options = ("--out", "run", "--steps", "2", "--width", "2", "--device", "cpu")
    run(image, "unet", "train", "i.tif", "l.tif", *options, cwd=tmp_path)
    assert (tmp_path / "run/model.safetensors").exists()


@pytest.fixture
def apptainer(tmp_path):
    """Environment with the stand-in, and the file that gets its calls."""
    commands, calls = install_client(tmp_path / "bin"), tmp_path / "calls.jsonl"
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "APPTAINER_CALLS": str(calls)}, calls


def scripts_run(calls):
    """Script of each job that ran in a container, and whether it had the driver of the GPU."""
    arguments = [json.loads(line) for line in calls.read_text().splitlines()]
    return {
        found[1]: "--nv" in call
        for call in arguments
        if (found := re.search(r"scripts/tmp\w+\.(\w+)\.py", call[-1]))
    }


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="no right to mount folders in a namespace")
def test_jobs_run_in_the_image_with_the_package_of_the_checkout(image, apptainer, tmp_path):
    environment, calls = apptainer
    folder = tmp_path / "workflow"
    folder.mkdir()
    copy_workflow(folder)
    (folder / "small.yaml").write_text(yaml.safe_dump({"experiments": {"demo": SMALL}}))
    code = folder / "unetcore/provenance.py"
    changed = code.read_text().replace("_usable_cores()} cores", "_usable_cores()} of the checkout")
    code.write_text(changed)
    arguments = ["--profile", "profiles/apptainer", "--configfile", "small.yaml", "--cores", "2"]
    arguments += ["--config", f"container={image}"]
    result = snakemake(folder, METRICS, *arguments, **environment)
    assert result.returncode == 0, result.stdout[-5000:]
    assert "of the checkout" in json.loads((folder / RUN).read_text())["hardware"]
    assert scripts_run(calls) == {
        "phantom": False,
        "canonical": False,
        "weight_maps": False,
        "train": True,
        "predict": True,
        "evaluate": False,
    }


def test_driver_of_the_gpu_is_for_the_scripts_of_rules_that_ask_for_one():
    text = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = re.split(r"^(?:rule|checkpoint) ", text, flags=re.MULTILINE)
    with_gpu = {re.search(r"scripts/(\w+)\.py", rule)[1] for rule in rules if "**gpus(" in rule}
    assert {"train", "predict", "predict_volume"} < with_gpu
    profile = yaml.safe_load((ROOT / "profiles/apptainer/config.yaml").read_text())
    assert set(re.findall(r"\*\[\.\](\w+)\.py\*", profile["apptainer-args"])) == with_gpu


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "configuration: container: null, and --sdm apptainer runs every job in an image"),
        (("container=no.sif",), "configuration: container: no.sif: no such file or folder"),
    ],
)
def test_image_that_is_not_there_is_refused_before_any_job(apptainer, arguments, line):
    config = ("--config", *arguments) if arguments else ()
    result = snakemake(ROOT, "-n", "--sdm", "apptainer", *config, **apptainer[0])
    assert result.returncode == 2
    (said,) = [text for text in result.stdout.splitlines() if text.startswith("configuration: ")]
    assert said.startswith(line)


def test_missing_apptainer_is_said_before_any_job(tmp_path):
    (tmp_path / "image.sif").touch()
    tools = tmp_path / "bin"
    tools.mkdir()
    for program in ("bash", "which"):  # the plugin for SLURM asks `which` as soon as it is there
        (tools / program).symlink_to(shutil.which(program))
    config = ("--config", f"container={tmp_path / 'image.sif'}")
    result = snakemake(ROOT, "-n", "--sdm", "apptainer", *config, PATH=str(tools))
    assert result.returncode == 1
    assert "The apptainer or singularity command has to be available" in result.stdout
    assert "Traceback" not in result.stdout
