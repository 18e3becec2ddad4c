"""Ways to start the workflow: by either Snakefile, from elsewhere, as a module, from a host."""

import csv
import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from test_workflow import OFFLINE, ROOT, copy_workflow, snakemake

TABLE = "results/tables/demo.csv"
RUN = "demo/fold-official/seed-0"
MODEL = f"results/runs/{RUN}/model.safetensors"
SMALL = {
    "experiments": {
        "demo": {
            "network": {"width": 2},
            "averaging": ["none"],
            "training": {"steps": 6, "output_tile": 68, "warmup_steps": 2, "log_every": 2},
        }
    },
    "tables": {"demo": ["demo"]},
}
MODULE = """
configfile: "small.yaml"

module unet:
    snakefile: {snakefile}
    config: config
    prefix: {prefix!r}

use rule * from unet as {renamed}

onsuccess:
    unet.forget_finished_trainings()
"""


def table_of(path):
    """Rows of a table, their provenance without how long the training took."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row | {"provenance": row["provenance"].partition("; trained")[0]} for row in rows]


def run(folder, *arguments, **environment):
    result = snakemake(folder, *arguments, **environment)
    assert result.returncode == 0, result.stdout[-5000:]
    return result.stdout


def write_module(folder, snakefile, prefix=None, renamed="*"):
    folder.mkdir(exist_ok=True)
    text = MODULE.format(snakefile=snakefile, prefix=prefix, renamed=renamed)
    (folder / "Snakefile").write_text(text)
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Working tree of a git repository with this workflow, with the tag v1, below a host's name."""
    folder = tmp_path_factory.mktemp("host") / "github.com/owner/unet"
    folder.mkdir(parents=True)
    copy_workflow(folder)
    shutil.rmtree(folder / "config")
    shutil.copytree(ROOT / "config", folder / "config", symlinks=True)
    for name in ("LICENSE", ".snakemake-workflow-catalog.yml"):
        shutil.copy(ROOT / name, folder)
    for command in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "All"],
        ["tag", "v1"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def hosted(repository, tmp_path_factory):
    """Environment in which git takes that repository for the one of its name on the real host."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{repository.parents[1]}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
        "GITHUB_TOKEN": "",
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
    }


@pytest.fixture(scope="module")
def deployed(repository, hosted, tmp_path_factory):
    """Folder to which snakedeploy has deployed the tag."""
    folder = tmp_path_factory.mktemp("deployed") / "project"
    deploy = Path(sys.executable).with_name("snakedeploy")
    result = subprocess.run(
        [deploy, "deploy-workflow", f"file://{repository}", str(folder), "--tag", "v1"],
        env=os.environ | hosted,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The small table, by a call in the folder of the Snakefile."""
    folder = copy_workflow(tmp_path_factory.mktemp("plain"))
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    run(folder, TABLE, "--configfile", "small.yaml", "--cores", "2")
    return table_of(folder / TABLE)


def test_snakedeploy_writes_a_module_and_a_configuration_with_every_number(deployed):
    snakefile = (deployed / "workflow/Snakefile").read_text()
    assert 'github("owner/unet", path="workflow/Snakefile", tag="v1")' in snakefile
    assert not (deployed / "config/config.yaml").is_symlink()
    assert (deployed / "config/config.yaml").read_bytes() == (ROOT / "config.yaml").read_bytes()
    assert (deployed / "profiles/default/config.yaml").is_file()


def test_dry_run_of_what_snakedeploy_wrote_plans_the_demo(deployed, hosted):
    stdout = run(deployed, "-n", **hosted)
    assert MODEL in stdout
    assert TABLE in stdout


def test_a_deployed_configuration_may_say_only_what_differs(deployed, hosted, tmp_path):
    shutil.copytree(deployed / "workflow", tmp_path / "workflow")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("tables: {demo: [demo]}\n")
    stdout = run(tmp_path, "-n", TABLE, **hosted)
    assert MODEL in stdout
    assert "phantom-cells" not in stdout


def test_mistake_in_a_deployed_configuration_is_one_line(deployed, hosted):
    result = snakemake(deployed, "-n", "--config", "hardwear=gpu", **hosted)
    assert result.returncode == 2
    assert "at the top: unknown key 'hardwear', did you mean 'hardware'?" in result.stdout
    assert "Traceback" not in result.stdout


def test_default_target_of_a_module_is_the_demo_unless_there_was_one_before(tmp_path):
    folder = write_module(tmp_path, repr(str(ROOT / "workflow/Snakefile")), renamed="unet_*")
    assert "unet_all" in run(folder, "-n")
    snakefile = folder / "Snakefile"
    first = "rule everything:\n    input:\n        'results/archives/phantom-em.zip',\n"
    snakefile.write_text(first + snakefile.read_text())
    stdout = run(folder, "-n")
    assert "rule everything" in stdout
    assert "unet_train" not in stdout


def test_configuration_of_an_outer_workflow_is_left_alone(tmp_path):
    folder = write_module(tmp_path, repr(str(ROOT / "workflow/Snakefile")))
    with (folder / "Snakefile").open("a") as file:
        file.write("\nassert set(config) == {'experiments', 'tables'}, sorted(config)\n")
    run(folder, "-n")


@pytest.mark.parametrize("own", [False, True])
def test_from_elsewhere_takes_the_configuration_there_or_that_of_the_workflow(tmp_path, own):
    if own:
        config = yaml.safe_load((ROOT / "config.yaml").read_text())
        config["tables"]["demo"] = ["demo-cells"]
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    stdout = run(ROOT, "-n", TABLE, "--directory", str(tmp_path))
    assert ("phantom-em" in stdout) != own
    assert "phantom-cells" in stdout


def test_a_module_without_a_configuration_has_that_of_the_workflow(tmp_path):
    (tmp_path / "config.yaml").write_text("samples: [1, 2]\n")  # of the outer workflow
    (tmp_path / "Snakefile").write_text(
        f"module unet:\n    snakefile: {str(ROOT / 'workflow/Snakefile')!r}\nuse rule * from unet\n"
    )
    assert f"results/runs/{RUN}/" in run(tmp_path, "-n")


def names_of_requirements(name, found):
    """Distributions that one needs, itself among them."""
    if name.lower() in found:
        return found
    found.add(name.lower())
    for line in requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            names_of_requirements(requirement.name, found)
    return found


def test_planning_needs_snakemake_and_numpy_alone(deployed, hosted, tmp_path):
    """As in the environment that the catalog tells its readers to make, where no unetcore is."""
    site = tmp_path / "site"
    site.mkdir()
    found = names_of_requirements("numpy", names_of_requirements("snakemake", set()))
    for name in found:
        for file in distribution(name).files:
            top = file.parts[0]
            if top != ".." and not top.endswith(".pth") and not (site / top).exists():
                (site / top).symlink_to(distribution(name).locate_file(top))
    result = subprocess.run(
        [sys.executable, "-S", "-m", "snakemake", "-n", TABLE],
        cwd=deployed,
        env=os.environ | OFFLINE | hosted | {"PYTHONPATH": str(site)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert MODEL in result.stdout


def start_by_the_shim_from_elsewhere(folder, hosted, deployed):
    copy_workflow(folder)
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    arguments = ("--snakefile", "workflow/Snakefile", "--directory", "elsewhere")
    run(folder, TABLE, "--cores", "2", *arguments, "--configfile", "small.yaml")
    assert not (folder / "results").exists()
    return folder / "elsewhere"


def start_as_a_module(folder, hosted, deployed):
    copy_workflow(folder)
    outer = write_module(folder / "outer", "'../workflow/Snakefile'", "part", "unet_*")
    volume = {"image": "results/data/phantom-em/images.tif", "model": MODEL}
    (outer / "volume.yaml").write_text(yaml.safe_dump({"volumes": {"images": {"stack": volume}}}))
    arguments = ("--configfile", "small.yaml", "volume.yaml", "--set-scatter", "volume=2")
    run(outer, f"part/{TABLE}", "unet_volumes", "--cores", "2", *arguments)
    assert (outer / "part/results/volumes/stack/probability.zarr").is_dir()
    assert [path.name for path in outer.glob("results/*")] == []
    return outer / "part"


def start_what_was_deployed(folder, hosted, deployed):
    shutil.copytree(deployed, folder, dirs_exist_ok=True)
    arguments = ("--configfile", "config/config.yaml", "small.yaml")
    run(folder, TABLE, "--cores", "2", *arguments, **hosted)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "start", [start_by_the_shim_from_elsewhere, start_as_a_module, start_what_was_deployed]
)
def test_every_way_makes_the_same_table(start, plain, hosted, deployed, tmp_path, monkeypatch):
    """And by the code of the workflow, though another version of the package is in reach."""
    decoy = tmp_path / "decoy/unetcore"
    decoy.mkdir(parents=True)
    (decoy / "__init__.py").write_text("raise ImportError('another version')\n")
    monkeypatch.setenv("PYTHONPATH", str(decoy.parent))
    workflow = tmp_path / "workflow"
    workflow.mkdir()
    folder = start(workflow, hosted, deployed)
    assert table_of(folder / TABLE) == plain
    assert (folder / MODEL).is_file()
    assert (folder / f"results/state/{RUN}").exists() == (start is start_what_was_deployed)
