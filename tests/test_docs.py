"""Every command that the pages for people's own images name, as they name it."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_cli import unet

from unetcore import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "docs/first-segmentation.md",
    "docs/your-images.md",
    "docs/pictures.md",
    "docs/how-much-to-annotate.md",
    "docs/what-now.md",
    "docs/view.md",
    "docs/models.md",
)
SHORT = ("--steps", "3")


def commands(page):
    """Commands of a page in their order: lines of code blocks, and what stands in backticks."""
    text = (ROOT / page).read_text("utf-8")
    found = re.findall(
        r"^((?:unet|snakemake own) .*?)(?: +#.*)?$|`(unet [^`]+)`", text, re.MULTILINE
    )
    return [" ".join("".join(one).split()) for one in found]


def runnable(page):
    """Those that name the example and the files that come of it."""
    named = ("try-it", "unet export run", "my-cells", "new-images", "new.tif")
    return [line for line in commands(page) if any(name in line for name in named)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder in which the example is drawn, trained on and predicted, in three steps."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small(patch)
        for line in ("new try-it --example", "train try-it/dataset.yaml -o run",
                     "predict run try-it/new -o results"):  # fmt: skip
            result = unet(*line.split())
            assert result.exit_code == 0, result.output
    for part in ("images", "labels"):
        shutil.copytree(folder / "try-it" / part, folder / "my-cells" / part)
    (folder / "new-images").mkdir()
    for name in ("new.tif", "new-images/new.tif"):
        shutil.copy(folder / "try-it/new/section-1.tif", folder / name)
    return folder


@pytest.fixture(scope="module")
def folder_of(folder, tmp_path_factory):
    """Copy of the folder for each page, so that what one writes is not there for the next."""
    copies = {}

    def copy_for(page):
        if page not in copies:
            copies[page] = tmp_path_factory.mktemp("page") / "work"
            shutil.copytree(folder, copies[page])
        return copies[page]

    return copy_for


def small(patch):
    """Make a training a matter of a second."""
    few = {"output_tile": 20, "log_every": 1, "checkpoint_every": 2, "steps": 3, "warmup_steps": 1}
    for name, recipe in cli.RECIPES.items():
        made = replace(
            recipe, training=recipe.training | few, network=recipe.network | {"width": 2}
        )
        patch.setitem(cli.RECIPES, name, made)


CASES = [(page, line) for page in PAGES for line in runnable(page)]


def test_pages_name_commands():
    assert {page for page, _ in CASES} == set(PAGES)
    assert len(CASES) > 20


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), CASES, ids=[f"{p[:-3]}: {c}" for p, c in CASES])
def test_command_of_a_page_works(folder_of, tmp_path, monkeypatch, page, line):
    monkeypatch.chdir(folder_of(page))
    small(monkeypatch)
    program, *words = shlex.split(re.sub(r"--steps \d+", " ".join(SHORT), line))
    if program == "snakemake":
        dry = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "-n", *words]
        result = subprocess.run(dry, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "canonical_samples" in result.stdout
        return
    if words[:2] == ["new", "try-it"]:  # it is there already
        words[1] = str(tmp_path / "try-it")
    elif words[:2] == ["new", "my-cells"]:
        words.append("--force")
    elif words[0] == "train" and "run" in words:  # by other steps than the one that is there
        shutil.rmtree("run")
    result = unet(*words)
    assert result.exit_code == 0, result.output


def test_three_commands_are_those_of_the_readme():
    said = [line.split()[1] for line in commands("README.md") if line.startswith("unet ")]
    assert said[:4] == ["new", "validate", "train", "predict"]


@pytest.mark.slow
def test_the_experiment_on_fewer_images_is_one(folder, tmp_path):
    text = (ROOT / "docs/how-much-to-annotate.md").read_text("utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    entry = (folder / "try-it/dataset.yaml").read_text()
    both = entry.replace("experiments:\n", f"experiments:\n{block}", 1)
    (folder / "try-it/two.yaml").write_text(both)
    dry = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "-n", "own"]
    words = ["--cores", "1", "--configfile", folder / "try-it/two.yaml"]
    result = subprocess.run([*dry, *words], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^train +10$", result.stdout, re.MULTILINE)  # five folds of both
