import csv
import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tifffile
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from typer.testing import CliRunner

import unetcore
from unetcore import cli, cli_options
from unetcore.data.io import read_images, read_labels, read_probability, write_stack
from unetcore.data.phantom_em import draw_sections
from unetcore.evaluate import OF_CELLS, OF_MEMBRANES
from unetcore.predict import AVERAGINGS
from unetcore.settings import PRECISIONS
from unetcore.terminal import is_quiet
from unetcore.train import TrainingData
from unetcore.weight_settings import BALANCES, FORMS, LABEL_KINDS
from unetcore.weights import later_weight_map, separate_touching, weight_map

COMMANDS = ("new", "validate", "train", "predict", "evaluate", "weights", "export", "view")


def unet(*words):
    """Call the command line; a bug's traceback comes through."""
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refusal(*words):
    """Lines of stderr of a call that must end with exit code 2."""
    result = unet(*words)
    assert result.exit_code == 2, result.output
    return result.stderr.splitlines()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with a small stack of sections, `images.tif` and `labels.tif`."""
    folder = tmp_path_factory.mktemp("data")
    images, labels = draw_sections(np.random.default_rng(0), 3, 64)
    write_stack(folder / "images.tif", images)
    write_stack(folder / "labels.tif", labels)
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Be where files may be written."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small_recipe(monkeypatch):
    """Make a step a matter of milliseconds."""
    small = {"output_tile": 20, "log_every": 1, "checkpoint_every": 2}
    for name, recipe in cli.RECIPES.items():
        monkeypatch.setitem(cli.RECIPES, name, replace(recipe, training=recipe.training | small))


def record(make, made):
    """Give `make` a list of what it made."""

    def recorded(*given, **named):
        made.append(make(*given, **named))
        return made[-1]

    return recorded


def train_words(data, out, *, steps=3, width=2):
    return (
        *("train", data / "images.tif", data / "labels.tif", "-o", out),
        *("--steps", steps, "--width", width),
    )


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Folder of a network trained for two steps."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    result = unet(*train_words(data, folder, steps=2))
    assert result.exit_code == 0, result.output
    return folder


def test_choices_are_those_of_the_package():
    assert get_args(cli_options.LabelKind) == LABEL_KINDS
    assert get_args(cli_options.RecipeName) == tuple(cli.RECIPES)
    assert get_args(cli_options.WeightMapForm) == tuple(FORMS)
    assert get_args(cli_options.ClassBalance) == BALANCES
    assert get_args(cli_options.Versions) == AVERAGINGS
    assert get_args(cli_options.FloatFormat) == PRECISIONS


def test_version():
    assert unet("--version").output == f"unet {unetcore.__version__}\n"


def test_help_lists_every_command():
    text = unet("--help").output
    assert all(f"\n  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples_that_parse(command):
    result = unet(command, "--help")
    assert result.exit_code == 0
    examples = result.output.split("Examples:\n")[1].splitlines()
    assert examples
    assert all(line.startswith(f"    unet {command} ") for line in examples)
    assert max(map(len, result.output.splitlines())) <= 100


def test_program_shows_its_help_without_importing_torch():
    code = (
        "import sys; sys.argv = ['unet', '--help']\n"
        "from unetcore import cli\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    code = end.code\n"
        "assert code == 0 and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: unet ")


def test_module_runs_as_a_program_and_reports_bad_input_in_one_line(tmp_path):
    command = [sys.executable, "-m", "unetcore.cli", "weights", "none.tif", "-o", "out.tif"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: none.tif: no such file\n"


def test_program_trains_and_logs_its_progress(data, tmp_path):
    words = map(str, train_words(data, tmp_path / "run", steps=1))
    command = [sys.executable, "-m", "unetcore.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("step 1/1  loss ")
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_bug_keeps_its_traceback(data, tmp_path, monkeypatch):
    def broken(*arguments, **named):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(cli, "weight_maps", broken)
    with pytest.raises(ZeroDivisionError):
        unet("weights", data / "labels.tif", "-o", tmp_path / "w.tif")


def test_output_that_cannot_be_written_is_one_line(data, tmp_path):
    (tmp_path / "file").write_text("")
    lines = refusal("weights", data / "labels.tif", "-o", tmp_path / "file" / "w.tif")
    assert len(lines) == 1
    assert "file" in lines[0]
    (line,) = refusal("weights", data / "labels.tif", "-o", tmp_path)
    assert line == f"error: {tmp_path}: is a directory"


def test_folder_that_cannot_be_made_is_one_line(data, tmp_path, monkeypatch):
    def refuse(path, **options):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)  # as below /proc, where there is one
    (line,) = refusal("weights", data / "labels.tif", "-o", tmp_path / "new" / "w.tif")
    assert line == f"error: {tmp_path}/new: no such file or directory"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("train", "i.tif", "l.tif", "-o", "run", "--steps", 0), ("--steps", "1")),
        (("weights", "l.tif", "-o", "w.tif", "--form", "nope"), ("--form", "falk2019")),
        (("train", "i.tif", "l.tif", "-o", "run", "--steps", "few"), ("--steps", "integer")),
        (("train", "i.tif", "l.tif"), ("--out",)),
    ],
)
def test_option_that_breaks_its_rule_is_one_line(words, told):
    (line,) = refusal(*words)
    assert line.startswith("error: ")
    assert all(word in line for word in told)


@pytest.mark.filterwarnings("ignore:.*zero-size array")
@pytest.mark.parametrize("shape", [(0, 32, 32), (1, 0, 32)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_file_without_a_pixel_is_one_line(data, tmp_path, shape, dtype):
    empty = tmp_path / "empty.tif"
    tifffile.imwrite(empty, np.zeros(shape, dtype), photometric="minisblack")
    for words in (
        ("evaluate", empty, empty),
        ("evaluate", data / "labels.tif", empty),
        ("weights", empty, "-o", tmp_path / "w.tif"),
        ("validate", data / "images.tif", empty),
        ("validate", empty, data / "labels.tif"),
    ):
        (line,) = refusal(*words)
        assert line == f"error: {empty}: an image of shape {shape}, expected at least one pixel"


def test_validate_says_what_it_found_and_what_comes_next(data):
    result = unet("validate", data / "images.tif", data / "labels.tif")
    assert result.exit_code == 0
    assert "images-02  64 x 64  1         " in result.output
    assert "labels      mask; --labels-are says otherwise" in result.output
    share = 100 * (read_images(data / "labels.tif") > 0).mean()
    assert f"cells       {share:.1f} % of what is known" in result.output
    assert (Path.cwd() / "images-and-labels.png").is_file()
    next_command = result.output.splitlines()[-1].split()
    assert next_command[:2] == ["unet", "train"]


def test_validate_mentions_images_without_cells(tmp_path):
    write_stack(tmp_path / "images.tif", np.zeros((3, 64, 64), np.uint8))
    labels = np.zeros((3, 64, 64), np.uint16)
    labels[0, 2:4, 2:4], labels[0, 60:, 60:] = 5, 300
    write_stack(tmp_path / "labels.tif", labels)
    text = unet("validate", tmp_path / "images.tif", tmp_path / "labels.tif").output
    assert "images-00  64 x 64  1         0 to 0       2" in text
    assert "labels      instances; --labels-are says otherwise" in text
    assert "2 images without a cell: background is taught" in text
    assert "3 images the same everywhere: teaching nothing" in text


def test_validate_says_as_json_what_it_found(data, tmp_path):
    words = ("validate", data / "images.tif", data / "labels.tif", "--json")
    found = json.loads(unet(*words, "--picture", tmp_path / "p.png").stdout)
    assert [image["name"] for image in found["images"]] == [f"images-{k:02d}" for k in range(3)]
    assert found["labels_are"] == "mask"
    share = (read_images(data / "labels.tif") > 0).mean()
    assert found["interior"] == pytest.approx(share)
    assert (tmp_path / "p.png").is_file()


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("word", ["--quiet", "-q"])
def test_quiet_calls_say_nothing(data, tmp_path, small_recipe, place, word):
    words = train_words(data, tmp_path / "run")
    result = unet(*words[:place], word, *words[place:])
    assert (result.stdout, result.stderr) == ("", "")
    assert (tmp_path / "run/model.safetensors").is_file()


def test_what_a_call_asks_for_ends_with_it(data, tmp_path):
    words = ("validate", data / "images.tif", data / "labels.tif", "--picture", tmp_path / "p.png")
    for quiet in ("--quiet", "--json"):
        unet(*words, quiet)
        assert not is_quiet()


@pytest.mark.parametrize("command", ["validate", "train"])
def test_every_problem_is_one_line(tmp_path, command):
    images = np.full((2, 8, 8), 0.5, np.float32)
    images[1, 3, 4] = np.nan
    write_stack(tmp_path / "images.tif", images)
    write_stack(tmp_path / "other.tif", np.ones((1, 8, 8), np.uint8))
    write_stack(tmp_path / "labels.tif", np.zeros((2, 8, 8), np.uint8))
    sheet = tmp_path / "samples.csv"
    rows = ("id,image,labels,split", "a,images.tif,labels.tif,", "b,other.tif,labels.tif,test")
    sheet.write_text("\n".join(rows))
    before = sorted(tmp_path.iterdir())
    lines = refusal(command, sheet, *(("-o", tmp_path / "run") if command == "train" else ()))
    assert len(lines) == 2
    assert "images.tif: 1 values are NaN or infinite, the first at Z 1, Y 3, X 4" in lines[0]
    assert "labels.tif: 2 label pages for the 1 slices of" in lines[1]
    assert sorted(tmp_path.iterdir()) == before


def test_validate_refuses_labels_in_colour_and_other_counts(data, tmp_path):
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    (line,) = refusal("validate", data / "images.tif", tmp_path / "rgb.tif")
    assert "rgb.tif: labels in colour (3 channels), expected one number per pixel" in line
    write_stack(tmp_path / "two.tif", read_images(data / "images.tif")[:2])
    (line,) = refusal("validate", tmp_path / "two.tif", data / "labels.tif")
    assert "labels.tif: 3 label pages for the 2 slices of" in line


def test_validate_refuses_labels_that_are_no_mask(data, tmp_path):
    write_stack(tmp_path / "ids.tif", read_images(data / "labels.tif") // 255 * 2 + 1)
    (line,) = refusal("validate", data / "images.tif", tmp_path / "ids.tif")
    assert "ids.tif: a mask of the values 1, 3: need 0 and one other" in line


def test_train_writes_model_history_and_description(run, data):
    names = {"model.safetensors", "history.csv", "validation.csv", "run.json"}
    assert {p.name for p in run.iterdir()} == names
    with open(run / "history.csv", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2"]
    description = json.loads((run / "run.json").read_text())
    assert (description["width"], description["steps"], description["seed"]) == (2, 2, 0)
    assert description["labels_are"] == "mask"
    with safe_open(run / "model.safetensors", framework="np") as file:
        kept = json.loads(file.metadata()["description"])
    assert kept | {"train_seconds": description["train_seconds"]} == description


def test_ignored_pixels_are_not_learned_from(tmp_path, small_recipe, monkeypatch):
    """The labels 0, 1 and 255 = unknown are a mask once 255 is ignored."""
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[:, 10:40], labels[:, :, 48:] = 1, 255
    write_stack(tmp_path / "images.tif", np.random.default_rng(0).random((1, 64, 64), np.float32))
    write_stack(tmp_path / "labels.tif", labels)
    files = (tmp_path / "images.tif", tmp_path / "labels.tif")
    text = unet("validate", *files, "--ignore-label", 255).output
    assert "labels      mask" in text
    assert f"cells       {100 * 30 / 64:.1f} % of what is known" in text
    assert "ignored     25.0 %" in text
    assert "label map   255=ignore" in text
    assert text.splitlines()[-1].endswith(" -o run --ignore-label 255")

    taught = []
    monkeypatch.setattr("unetcore.runs.TrainingData", record(TrainingData, taught))
    words = train_words(tmp_path, tmp_path / "run", steps=1)
    assert unet(*words, "--ignore-label", 255).exit_code == 0
    np.testing.assert_array_equal(taught[0].weights, labels != 255)
    np.testing.assert_array_equal(taught[0].classes, labels == 1)
    description = json.loads((tmp_path / "run" / "run.json").read_text())
    assert description["labels_are"] == "mask"
    assert description["label_map"] == "255=ignore"
    (line,) = refusal(*words, "--labels-are", "mask", "--ignore-label", 254)
    assert "a mask of the values 0, 1, 255" in line


def test_an_image_that_teaches_nothing_is_said_and_does_no_harm(data, tmp_path):
    """Of three images one is blank and one is ignored, whose labels say nothing of background."""
    images, labels = read_images(data / "images.tif"), read_labels(data / "labels.tif")
    images[1], labels[2] = 70, 9
    labels[:2] = labels[:2] > 0
    write_stack(tmp_path / "images.tif", images)
    write_stack(tmp_path / "labels.tif", labels.astype(np.uint8))
    trained = unet(*train_words(tmp_path, tmp_path / "run", steps=6), "--ignore-label", 9)
    assert trained.exit_code == 0, trained.output
    assert "1 image the same everywhere: teaching nothing" in trained.output
    assert "without a cell" not in trained.output
    assert "ignored     33.3 %" in trained.output
    words = ("predict", tmp_path / "run", tmp_path / "images.tif", "-o", tmp_path / "p.tif")
    told = unet(*words)
    assert told.exit_code == 0
    assert told.output.count("an image is the same everywhere") == 1
    probability = read_images(tmp_path / "p.tif")
    assert np.isfinite(probability).all()
    assert [np.ptp(page) > 0 for page in probability] == [True, False, True]

    for k, name in enumerate(("seen", "blank")):
        write_stack(tmp_path / f"new/{name}.tif", images[k : k + 1])
    told = unet("predict", tmp_path / "run", tmp_path / "new", "-o", tmp_path / "results")
    of = {line.split()[0]: line for line in told.stdout.splitlines() if line}
    assert "the same everywhere" in of["blank.tif"]
    assert "the same everywhere" not in of["seen.tif"]

    write_stack(tmp_path / "images.tif", np.full_like(images, 70))
    words = train_words(tmp_path, tmp_path / "other", steps=6)
    (line,) = refusal(*words, "--ignore-label", 9)
    assert line == "error: images of 3 training slices are the same everywhere: nothing to learn"


def test_train_announces_its_steps_and_the_next_command(data, tmp_path, small_recipe):
    result = unet(*train_words(data, tmp_path / "run"))
    text = result.stdout
    assert "Recipe fast, width 2: 3 steps.\n" in text
    assert "step 3/3  loss " in result.stderr
    assert text.splitlines()[-1] == f"  unet predict {tmp_path}/run IMAGES -o results"


def test_train_says_as_json_what_it_made(data, tmp_path, small_recipe):
    found = json.loads(unet(*train_words(data, tmp_path / "run"), "--json").stdout)
    assert found == json.loads((tmp_path / "run/run.json").read_text())
    assert found["postprocessing"]["threshold"] in [k / 10 for k in range(1, 10)]


def test_predict_says_as_json_what_it_made(run, data, tmp_path):
    words = ("predict", run, data / "images.tif", "-o")
    found = json.loads(unet(*words, tmp_path / "results", "--json").stdout)
    assert found["out"] == str(tmp_path / "results")
    assert (found["images"][0]["image"], found["images"][0]["slices"]) == ("images.tif", 3)
    of_file = json.loads(unet(*words, tmp_path / "p.tif", "--json").stdout)
    assert of_file["images"][0]["interior"] == found["images"][0]["interior"]


def test_the_shell_completes_commands():
    asked = {"_UNET_COMPLETE": "complete_bash", "COMP_WORDS": "unet tr", "COMP_CWORD": "1"}
    words = [sys.executable, "-m", "unetcore.cli"]
    found = subprocess.run(words, env=os.environ | asked, capture_output=True, text=True)
    assert found.stdout.split() == ["train"]


def test_the_papers_recipe_trains_as_the_paper_says(data, tmp_path, small_recipe):
    words = train_words(data, tmp_path / "run", steps=1)
    result = unet(*words, "--recipe", "paper", "--held-out", 1)
    assert result.exit_code == 0, result.output
    assert "Recipe paper, width 2: 1 steps." in result.stdout
    description = json.loads((tmp_path / "run" / "run.json").read_text())
    training, weight_map = description["training"], description["weight_map"]
    assert (training["optimiser"], training["momentum"]) == ("sgd", 0.99)
    assert (description["dropout"], description["normalised"]) == (0.5, False)
    assert (weight_map["w0"], weight_map["balance"]) == (10, "inverse-frequency")
    assert description["validation"]["last"]["step"] == 1
    (line,) = refusal(*words, "--held-out", 1)
    assert 'holds another training (recipe "paper", now "fast"; ' in line


def test_same_command_continues_an_interrupted_training(data, tmp_path, small_recipe, monkeypatch):
    def interrupt(row, steps, tiles_per_step):
        if row.step == 5:
            raise KeyboardInterrupt
        return f"step {row.step}"

    monkeypatch.setattr("unetcore.terminal.LINE_SECONDS", -1)
    words = train_words(data, tmp_path / "run", steps=7)
    with monkeypatch.context() as patched:
        patched.setattr("unetcore.terminal.progress_line", interrupt)
        stopped = unet(*words)
    assert stopped.exit_code == 130
    assert "The same command continues" in stopped.stderr
    (line,) = refusal("predict", tmp_path / "run", data / "images.tif", "-o", tmp_path / "p.tif")
    assert "the training is unfinished" in line

    with open(tmp_path / "run" / "history.csv", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)][-1] == "4"
    (tmp_path / "run" / "run.json").write_text('{"steps": ')
    continued = unet(*words)
    assert continued.exit_code == 0
    assert "run.json: damaged, and written anew" in continued.stderr
    assert "the 3 left of 7 steps" in continued.output  # saved at step 4
    assert unet(*train_words(data, tmp_path / "whole", steps=7)).exit_code == 0
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("run", "whole")]
    for name, values in weights[0].items():
        np.testing.assert_array_equal(values, weights[1][name])


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_last_step_and_says_so(
    data, tmp_path, small_recipe, monkeypatch, number, code
):
    def interrupt(row, steps, tiles_per_step):
        if row.step == 3:
            signal.raise_signal(number)
        return f"step {row.step}"

    monkeypatch.setattr("unetcore.terminal.LINE_SECONDS", -1)
    words = train_words(data, tmp_path / "run", steps=5)
    with monkeypatch.context() as patched:
        patched.setattr("unetcore.terminal.progress_line", interrupt)
        stopped = unet(*words)
    assert stopped.exit_code == code
    unfinished = tmp_path / "run" / "unfinished"
    said = f"stopped at step 3 of 5: the state is in {unfinished}. The same command continues."
    assert stopped.stderr.splitlines()[-1] == said
    continued = unet(*words)
    assert continued.exit_code == 0
    assert "the 2 left of 5 steps" in continued.output
    assert not unfinished.exists()


def test_held_out_images_are_watched_and_not_trained_on(data, tmp_path, small_recipe):
    out = tmp_path / "run"
    result = unet(*train_words(data, out), "--held-out", 1, "--tensorboard")
    assert result.exit_code == 0, result.output
    (events,) = (out / "tensorboard").iterdir()
    for name in (b"learning_rate", b"validation/rand_error", b"validation/slice"):
        assert name in events.read_bytes()
    with open(out / "validation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["step"] == "3"
    assert set(OF_MEMBRANES) < set(rows[-1])
    description = json.loads((out / "run.json").read_text())
    assert description["training_images"][0] == 2
    assert description["validation"]["slices"] == 1
    assert description["validation"]["last"]["rand_error"] == float(rows[-1]["rand_error"])
    (line,) = refusal(*train_words(data, tmp_path / "none"), "--held-out", 3)
    assert "3 of 3 images held out: one must be left to train" in line


def test_refused_held_out_image_leaves_nothing_that_another_call_could_meet(
    data, tmp_path, small_recipe
):
    labels = read_labels(data / "labels.tif")
    labels[-1] = 0
    write_stack(tmp_path / "labels.tif", labels)
    words = ("train", data / "images.tif", tmp_path / "labels.tif", "-o", tmp_path / "run")
    (line,) = refusal(*words, "--steps", 1, "--width", 2, "--held-out", 1)
    assert "labels of the held-out slices" in line
    assert not (tmp_path / "run").exists()


def test_finished_training_is_not_repeated(run, data):
    before = (run / "model.safetensors").stat().st_mtime_ns
    result = unet(*train_words(data, run, steps=2))
    assert result.exit_code == 0
    assert "complete: nothing to do" in result.output
    assert (run / "model.safetensors").stat().st_mtime_ns == before


def test_damaged_model_is_not_taken_for_a_finished_training(data, tmp_path, small_recipe):
    words = train_words(data, tmp_path / "run", steps=1)
    assert unet(*words).exit_code == 0
    model = tmp_path / "run" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    (line,) = refusal(*words)
    assert "model.safetensors: not a safetensors file" in line


def test_another_training_does_not_go_into_the_same_folder(run, data, tmp_path):
    (line,) = refusal(*train_words(data, run, steps=2, width=3), "--seed", 4)
    assert "holds another training (seed 0, now 4; width 2, now 3), choose" in line
    write_stack(tmp_path / "other.tif", 255 - read_images(data / "images.tif"))
    words = ("train", tmp_path / "other.tif", data / "labels.tif", "-o", run)
    (line,) = refusal(*words, "--steps", 2, "--width", 2)
    assert "holds another training (images_and_labels " in line


def test_interrupted_training_is_not_continued_with_other_held_out_labels(
    data, tmp_path, small_recipe, monkeypatch
):
    def interrupt(row, steps, tiles_per_step):
        raise KeyboardInterrupt

    monkeypatch.setattr("unetcore.terminal.LINE_SECONDS", -1)
    labels = read_labels(data / "labels.tif")
    write_stack(tmp_path / "labels.tif", labels)
    words = ("train", data / "images.tif", tmp_path / "labels.tif", "-o", tmp_path / "run")
    words += ("--steps", 7, "--width", 2, "--held-out", 1)
    with monkeypatch.context() as patched:
        patched.setattr("unetcore.terminal.progress_line", interrupt)
        assert unet(*words).exit_code == 130
    labels[-1, 5, 5] = 255 - labels[-1, 5, 5]
    write_stack(tmp_path / "labels.tif", labels)
    (line,) = refusal(*words)
    assert "holds another training (held_out_images_and_labels " in line


def test_seed_gives_another_network(data, tmp_path, small_recipe):
    for seed in (0, 1):
        unet(*train_words(data, tmp_path / f"{seed}"), "--seed", seed)
    name = "scores.weight"
    first, second = (load_file(tmp_path / f"{s}" / "model.safetensors")[name] for s in (0, 1))
    assert not np.array_equal(first, second)


def test_predict_writes_probabilities_whatever_the_tiles(run, data, tmp_path):
    for name, options in {"a": (), "b": ("--tile", 20), "c": ("--memory", 1)}.items():
        out = tmp_path / f"{name}.tif"
        result = unet(
            *("predict", run, data / "images.tif", "-o", out, "--precision", "float32"), *options
        )
        assert result.exit_code == 0, result.output
    whole, *tiled = (read_images(tmp_path / f"{name}.tif") for name in "abc")
    assert (whole.dtype, whole.shape) == (np.float32, (3, 64, 64))
    assert 0 <= whole.min() < whole.max() <= 1
    np.testing.assert_array_equal(tiled, [whole] * 2)


def test_predict_takes_a_folder_and_averages(run, data, tmp_path):
    images = read_images(data / "images.tif")
    for z in (2, 0):
        write_stack(tmp_path / "pages" / f"{z}.tif", images[z : z + 1])
    base = ("--precision", "float32", "--averaging", "d4")
    unet("predict", run, tmp_path / "pages", "-o", tmp_path / "pages.tif", *base)
    unet("predict", run, data / "images.tif", "-o", tmp_path / "stack.tif", *base)
    pages, stack = (read_probability(tmp_path / f"{n}.tif") for n in ("pages", "stack"))
    np.testing.assert_array_equal(pages, stack[[0, 2]])
    write_stack(tmp_path / "turned.tif", np.rot90(images, axes=(1, 2)))
    unet("predict", run, tmp_path / "turned.tif", "-o", tmp_path / "back.tif", *base)
    back = np.rot90(read_probability(tmp_path / "back.tif"), -1, axes=(1, 2))
    np.testing.assert_allclose(back, stack, rtol=0, atol=1e-5)


def test_predict_also_writes_cells(run, data, tmp_path):
    words = ("predict", run, data / "images.tif", "-o", tmp_path / "p.tif")
    bare = ("--smallest-object", 0, "--no-fill-holes")
    result = unet(*words, "--segmentation", tmp_path / "cells.tif", *bare)
    assert result.exit_code == 0, result.output
    chosen = json.loads((run / "run.json").read_text())["postprocessing"]["threshold"]
    interior = read_probability(tmp_path / "p.tif") > chosen
    np.testing.assert_array_equal(read_images(tmp_path / "cells.tif") > 0, interior)


def test_predict_refuses_a_tile_that_does_not_fit(run, data, tmp_path):
    words = ("predict", run, data / "images.tif", "-o", tmp_path / "p.tif")
    (line,) = refusal(*words, "--tile", 30)
    assert "output tile of 30 px" in line
    assert "the nearest are 20 and 36" in line
    assert not (tmp_path / "p.tif").exists()


def test_predict_refuses_a_folder_without_a_model(data, tmp_path):
    (line,) = refusal("predict", tmp_path, data / "images.tif", "-o", tmp_path / "p.tif")
    assert "model.safetensors: no such model file" in line


def test_evaluate_prints_all_metrics_as_json_and_as_a_table(data, tmp_path):
    write_stack(tmp_path / "p.tif", (read_images(data / "labels.tif") / 255).astype(np.float32))
    values = json.loads(unet("evaluate", data / "labels.tif", tmp_path / "p.tif", "--json").stdout)
    assert tuple(values) == OF_MEMBRANES
    best = {name: round(result["value"], 9) for name, result in values.items()}
    assert best["warping_error"] == best["rand_error"] == best["pixel_error"] == 0
    assert best["v_info"] == 1
    lines = unet("evaluate", data / "labels.tif", tmp_path / "p.tif").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(OF_MEMBRANES)
    assert "0 is best" in lines[0]
    assert "1 is best" in lines[3]


def test_evaluate_prints_an_error_of_one_pixel_and_passes_its_threads(data, tmp_path, monkeypatch):
    """One pixel of 30 x 512 x 512 is 1.27e-7; other metrics have four decimals, as in tables."""
    given = []

    def evaluate(names, *pair, ignored, threads):
        assert ignored is None
        given.append(threads)
        return {
            "warping_error": {"value": 1 / (30 * 512 * 512), "threshold": 0.1},
            "v_rand": {"value": 0.98765, "threshold": 0.7},
        }

    monkeypatch.setattr("unetcore.evaluate.evaluate", evaluate)
    write_stack(tmp_path / "p.tif", (read_images(data / "labels.tif") / 255).astype(np.float32))
    result = unet("evaluate", data / "labels.tif", tmp_path / "p.tif", "--threads", 3)
    assert result.stdout.splitlines() == [
        "warping_error   0.0000001   0 is best   threshold 0.10",
        "v_rand          0.9877      1 is best   threshold 0.70",
    ]
    assert given == [3]


@pytest.mark.parametrize("option", [("--threads", 2), ("--unscaled",)])
def test_evaluate_refuses_options_of_a_probability_with_a_segmentation(data, option):
    (line,) = refusal(
        "evaluate", data / "labels.tif", data / "labels.tif", "--segmentation", *option
    )
    assert line == "error: --unscaled and --threads are for a probability, not for --segmentation"


def test_evaluate_compares_segmentations(tmp_path):
    """Reference of two cells of 8 px: one is found whole, the other missed: SEG 1/2, IoU 8/16."""
    reference = np.zeros((1, 4, 8), np.uint16)
    reference[0, :, :2], reference[0, :, 6:] = 1, 2
    write_stack(tmp_path / "reference.tif", reference)
    write_stack(tmp_path / "found.tif", np.where(reference == 1, 7, 0).astype(np.uint16))
    words = ("evaluate", tmp_path / "reference.tif", tmp_path / "found.tif", "--segmentation")
    values = json.loads(unet(*words, "--json").stdout)
    assert tuple(values) == OF_CELLS
    assert values["seg"]["value"] == pytest.approx(0.5)
    assert values["iou"]["value"] == pytest.approx(0.5)


def test_evaluate_refuses_what_does_not_belong_together(data, tmp_path):
    write_stack(tmp_path / "p.tif", np.zeros((3, 64, 60), np.float32))
    (line,) = refusal("evaluate", data / "labels.tif", tmp_path / "p.tif")
    assert "labels of 64 x 64 px for images of 64 x 60 px" in line
    assert "labels.tif" in line
    assert "p.tif" in line
    write_stack(tmp_path / "big.tif", np.full((3, 64, 64), 7.5, np.float32))
    (line,) = refusal("evaluate", data / "labels.tif", tmp_path / "big.tif")
    assert "float values from 7.5 to 7.5, expected 0 to 1" in line


def test_evaluate_refuses_values_and_names_their_file(data, tmp_path):
    labels = read_images(data / "labels.tif")
    probability = tmp_path / "p.tif"
    write_stack(probability, (labels / 255).astype(np.float32))
    labels[1] = 0
    write_stack(tmp_path / "empty.tif", labels)
    (line,) = refusal("evaluate", tmp_path / "empty.tif", probability)
    assert line.startswith(f"error: {tmp_path}/empty.tif, slice 1: no white pixel")
    tifffile.imwrite(tmp_path / "negative.tif", -labels.astype(np.int16), photometric="minisblack")
    (line,) = refusal("evaluate", tmp_path / "negative.tif", probability)
    assert "negative.tif, slice 0: label -255: need 0 for background" in line
    tifffile.imwrite(tmp_path / "half.tif", labels / np.float32(510), photometric="minisblack")
    (line,) = refusal("evaluate", tmp_path / "half.tif", probability)
    assert "half.tif, slice 0: label 0.5: need whole numbers" in line
    write_stack(tmp_path / "nan.tif", np.where(labels > 0, np.nan, 0.5).astype(np.float32))
    (line,) = refusal("evaluate", data / "labels.tif", tmp_path / "nan.tif")
    assert "nan.tif, slice 0: " in line
    assert "NaN" in line


def test_evaluate_scales_8_bit_maps_unless_told_not_to(data, tmp_path):
    """With grey 51 = 0.2 on the membranes the cells are parted from threshold 0.2 on: scaled."""
    labels = read_images(data / "labels.tif")
    write_stack(tmp_path / "p.tif", np.where(labels > 0, 255, 51).astype(np.uint8))
    words = ("evaluate", data / "labels.tif", tmp_path / "p.tif", "--json", "--threads", 2)
    scaled, unscaled = (
        json.loads(unet(*words, *option).stdout)["pixel_error"] for option in ((), ("--unscaled",))
    )
    assert scaled["value"] == 0
    assert unscaled["value"] == pytest.approx(1 - 2 / (1 + 1 / (labels > 0).mean()))
    assert len(set(unscaled["values"])) == 1
    write_stack(tmp_path / "p.tif", np.where(labels > 0, 65535, 9).astype(np.uint16))
    (line,) = refusal(*words, "--unscaled")
    assert line.startswith(f"error: {tmp_path}/p.tif, slice 0: ")
    assert "probabilities lie in [0, 1]" in line


def test_weights_are_those_of_equation_2(tmp_path):
    labels = np.zeros((2, 12, 20), np.uint16)
    labels[0, :, :5], labels[0, :, 9:14], labels[1, 3:6, 3:6], labels[1, 8:, 8:] = 1, 2, 3, 4
    write_stack(tmp_path / "labels.tif", labels)
    result = unet("weights", tmp_path / "labels.tif", "-o", tmp_path / "w.tif", "--sigma", 3)
    assert result.exit_code == 0
    written = read_images(tmp_path / "w.tif")
    for z in range(2):
        np.testing.assert_array_equal(written[z], weight_map(labels[z], w0=10, sigma=3))


def test_weights_refuses_a_negative_height(data, tmp_path):
    (line,) = refusal("weights", data / "labels.tif", "-o", tmp_path / "w.tif", "--w0", -1)
    assert "w0 must be >= 0" in line


def test_weights_of_the_later_form_and_of_another_balance(tmp_path):
    labels = np.array([[[3, 3, 3, 5, 5, 0, 0]]], np.uint16)
    write_stack(tmp_path / "labels.tif", labels)
    words = ("weights", tmp_path / "labels.tif", "-o", tmp_path / "w.tif")
    assert unet(*words, "--form", "falk2019", "--background", 0.5).exit_code == 0
    written = read_images(tmp_path / "w.tif")
    cells = separate_touching(labels[0], 1)
    np.testing.assert_array_equal(written[0], later_weight_map(cells, background=0.5))
    assert unet(*words, "--balance", "rarest-one", "--gap", 0).exit_code == 0
    expected = weight_map(labels[0], balance="rarest-one")
    np.testing.assert_array_equal(read_images(tmp_path / "w.tif")[0], expected)
    (line,) = refusal(*words, "--form", "falk2019", "--sigma", 3)
    assert "sigma = 3.0: only the form ronneberger2015 has it" in line


def test_weights_of_a_mask_with_an_ignored_region(tmp_path):
    mask = np.array([[[0, 0, 1, 1], [255, 255, 0, 1]]], np.uint8)
    write_stack(tmp_path / "labels.tif", mask)
    words = ("weights", tmp_path / "labels.tif", "-o", tmp_path / "w.tif", "--ignore-label", 255)
    result = unet(*words)
    assert result.exit_code == 0
    assert "1 weight map of mask" in result.output
    # Three pixels of each class count, and there is but one cell.
    np.testing.assert_array_equal(read_images(tmp_path / "w.tif")[0], [[1, 1, 1, 1], [0, 0, 1, 1]])
    (line,) = refusal(*words[:-2], "--labels-are", "mask")
    assert "labels.tif: a mask of the values 0, 1, 255: need 0 and one other" in line
    classes = ("--label-map", "0=ignore,1=background,255=cell")
    assert unet(*words[:-2], *classes).exit_code == 0
    found = read_images(tmp_path / "w.tif")[0]  # of 5 known pixels 3 are background
    np.testing.assert_allclose(found, [[0, 0, 5 / 6, 5 / 6], [5 / 4, 5 / 4, 0, 5 / 6]], rtol=1e-6)


def test_export_writes_a_zip(run, tmp_path):
    result = unet("export", run, "-o", tmp_path / "network.zip")
    assert result.exit_code == 0
    assert (tmp_path / "network.zip").read_bytes()[:2] == b"PK"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
@pytest.mark.parametrize("words", [("train", "no.tif", "no.tif"), ("predict", "no-run", "no.tif")])
def test_a_gpu_that_is_not_there_is_said_before_any_work(words, tmp_path):
    result = unet(*words, "-o", tmp_path / "out", "--device", "gpu")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: a GPU is asked for and none is there")


def test_a_loss_that_is_not_finite_is_one_line(data, tmp_path, small_recipe, monkeypatch):
    def fail(*given):
        raise FloatingPointError("loss nan at step 3")

    monkeypatch.setattr("unetcore.update.Update.__call__", fail)
    result = unet(*train_words(data, tmp_path / "run"))
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "error: loss nan at step 3"


def test_weights_do_not_replace_their_labels(data):
    before = (data / "labels.tif").read_bytes()
    (line,) = refusal("weights", data / "labels.tif", "-o", data / "labels.tif")
    assert line.endswith("labels.tif: is one of the files that are read, take another name")
    assert (data / "labels.tif").read_bytes() == before
