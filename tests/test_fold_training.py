"""From the files of a dataset to those of a model, on a few tiny frames."""

import csv
import json
import signal
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_cases import AUGMENTATION, NETWORK, PAPER, changed, random_arrays, weights_of

from unetcore import produce
from unetcore.checkpoint import load_model
from unetcore.data.dataset import Dataset
from unetcore.data.frames import Frame, write_frames
from unetcore.data.intensity import normalise
from unetcore.data.io import read_images, to_unit_range, write_stack
from unetcore.errors import InputError, Interrupted
from unetcore.fold_training import Held, train_fold
from unetcore.produce import Products, Settings
from unetcore.train import TrainingData, _Training, train

N_FRAMES = 4


@pytest.fixture
def dataset(tmp_path):
    """Four frames of noise; the last one is not labelled."""
    images, classes, weights = random_arrays(n=N_FRAMES)
    folder = tmp_path / "dataset"
    found = Dataset(*(folder / f"{name}.tif" for name in ("images", "labels")),
                    folder / "frames.csv",
                    *(folder / f"{name}.tif" for name in ("classes", "weights")))  # fmt: skip
    write_stack(found.images, (255 * images).astype(np.uint8))
    write_stack(found.labels, 255 * classes)
    write_stack(found.classes, classes)
    write_stack(found.weights, weights)
    frames = [Frame(k, f"a-{k}", "a", k < N_FRAMES - 1, False, "train") for k in range(N_FRAMES)]
    write_frames(found.frames, frames)
    return found


@pytest.fixture
def products(tmp_path):
    out = tmp_path / "out"
    return Products(
        out / "model.safetensors", out / "history.csv", out / "validation.csv", out / "run.json"
    )


SETTINGS = Settings(NETWORK, AUGMENTATION, PAPER, seed=3, code="0123", device="cpu")
WATCHED = replace(SETTINGS, training=changed(PAPER, validate_every=4))


def fold(dataset, products, tmp_path, settings=SETTINGS, *, fold="2", **rest):
    given = {
        "name": "tiny", "states": tmp_path / "states" / "tiny", "board": None,
        "split": {"blocks": 3}, "held": Held(["pixel_error"], {}),
    } | rest  # fmt: skip
    train_fold(dataset, settings, products, fold=fold, **given)


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_model_is_that_of_a_training_on_the_frames_outside_the_fold(
    dataset, products, tmp_path
):
    fold(dataset, products, tmp_path, fold="1")
    network, description = load_model(products.model)
    assert description["training_frames"] == [
        "a-0",
        "a-2",
    ]  # without the fold and what has no labels
    record = json.loads(products.provenance.read_text())
    assert record.pop("train_seconds") >= 0  # in the model it would make its bytes differ
    assert record == description
    _, classes, weights = random_arrays(n=N_FRAMES)
    grey = to_unit_range(read_images(dataset.images)[[0, 2]], "images")
    expected, history = train(
        TrainingData(normalise(grey, "unit"), classes[[0, 2]], weights[[0, 2]]),
        network=NETWORK, augmentation=AUGMENTATION, training=PAPER, seed=3, device="cpu",
    )  # fmt: skip
    assert torch.equal(weights_of(network), weights_of(expected))
    rows = rows_of(products.history)
    assert [(int(row["step"]), float(row["loss"])) for row in rows] == [
        (row.step, row.loss) for row in history
    ]


def test_a_training_on_one_frame_of_two_names_it_and_is_the_same_for_every_seed(
    dataset, products, tmp_path
):
    for seed in (3, 4):
        settings = replace(SETTINGS, seed=seed)
        fold(dataset, products, tmp_path, settings, split={"blocks": 3, "training_frames": 1})
        record = json.loads(products.provenance.read_text())
        assert (record["seed"], record["training_frames"]) == (seed, ["a-1"])  # of a-0 and a-1


def test_what_a_user_must_know_of_a_model_stands_in_it(dataset, products, tmp_path):
    fold(dataset, products, tmp_path)
    description = load_model(products.model)[1]
    expected = {
        "code": "0123", "seed": 3, "width": 2, "depth": 1, "dropout": 0.5, "steps": 10,
        "precision": "float32", "processes": 1, "threads": 1, "torch": torch.__version__,
    }  # fmt: skip
    assert {name: description[name] for name in expected} == expected
    assert description["training"]["learning_rate"] == 0.01
    assert description["augmentation"]["displacement_std"] == 2
    assert "validation" not in description


def test_without_validation_its_table_has_no_rows(dataset, products, tmp_path):
    fold(dataset, products, tmp_path)
    assert products.validation.read_text() == "step,seconds,loss\n"


def test_held_out_frames_are_watched_and_the_training_is_the_same(dataset, products, tmp_path):
    fold(dataset, products, tmp_path, WATCHED)
    rows = rows_of(products.validation)
    assert [row["step"] for row in rows] == ["4", "8", "10"]
    assert list(rows[0]) == ["step", "seconds", "loss", "pixel_error"]
    network, description = load_model(products.model)
    assert description["validation_frames"] == ["a-2"]
    last = description["validation"]["last"]
    assert last["step"] == 10
    assert last["pixel_error"] == float(rows[-1]["pixel_error"])
    assert 0 < last["pixel_error"] < 1
    fold(dataset, products, tmp_path, states=tmp_path / "states" / "unwatched")
    assert torch.equal(weights_of(load_model(products.model)[0]), weights_of(network))


def test_frames_without_labels_are_not_watched(dataset, products, tmp_path):
    frames = [
        Frame(k, f"a-{k}", "a", k < 3, False, "test" if k == 3 else "train") for k in range(4)
    ]
    write_frames(dataset.frames, frames)
    fold(dataset, products, tmp_path, WATCHED, fold="official")
    assert products.validation.read_text() == "step,seconds,loss\n"
    assert load_model(products.model)[1]["training_frames"] == ["a-0", "a-1", "a-2"]


def test_products_and_the_finished_state_are_left(dataset, products, tmp_path):
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    fold(dataset, products, tmp_path, WATCHED)
    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    names = ("finished.pt", "history.csv", "validation.csv", "lock")
    kept = {tmp_path / "states/tiny" / name for name in names}
    assert after - before == set(vars(products).values()) | kept


def test_finished_training_that_is_asked_for_again_makes_no_step(
    dataset, products, tmp_path, monkeypatch
):
    # As after a crash of Snakemake between the end of the job and its record of it.
    fold(dataset, products, tmp_path, WATCHED)
    made = {name: path.read_bytes() for name, path in vars(products).items()}
    for path in vars(products).values():
        path.unlink()
    monkeypatch.setattr(_Training, "_advance", lambda training: pytest.fail("a step was made"))
    fold(dataset, products, tmp_path, WATCHED)
    again = {name: path.read_bytes() for name, path in vars(products).items()}
    for name in ("model", "history"):
        assert again[name] == made[name], name
    assert without_seconds(again["validation"]) == without_seconds(made["validation"])


def without_seconds(content):
    return [(row["step"], row["loss"]) for row in csv.DictReader(content.decode().splitlines())]


def test_finished_training_of_other_settings_is_not_in_the_way(dataset, products, tmp_path):
    fold(dataset, products, tmp_path, WATCHED)
    first = products.model.read_bytes()
    other = replace(SETTINGS, training=changed(PAPER, learning_rate=PAPER.learning_rate / 2))
    fold(dataset, products, tmp_path, other)
    assert products.model.read_bytes() != first


@contextmanager
def signal_after(step):
    """Let a signal come after a step."""

    def stopped(data, *, report, **rest):
        def stop(row):
            report(row)
            if row.step == step:
                signal.raise_signal(signal.SIGTERM)

        return train(data, report=stop, **rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(produce, "train", stopped)
        yield


def test_an_interrupted_training_writes_nothing_and_the_next_call_completes_it(
    dataset, products, tmp_path
):
    fold(dataset, products, tmp_path, WATCHED)
    expected = products.model.read_bytes(), rows_of(products.validation)
    for path in vars(products).values():
        path.unlink()
    (tmp_path / "states/tiny/finished.pt").unlink()
    with signal_after(6), pytest.raises(Interrupted, match="stopped at step 6 of 10"):
        fold(dataset, products, tmp_path, WATCHED)
    assert not any(path.exists() for path in vars(products).values())
    fold(dataset, products, tmp_path, WATCHED)
    found, rows = load_model(products.model)[0], rows_of(products.validation)
    products.model.write_bytes(expected[0])
    assert torch.equal(weights_of(found), weights_of(load_model(products.model)[0]))
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in expected[1]]


def test_a_gpu_asked_for_and_none_there_is_said_before_any_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    absent = Path("absent")
    dataset, products = Dataset(*[absent] * 5), Products(*[absent] * 4)
    with pytest.raises(InputError, match="a GPU is asked for and none is there"):
        fold(dataset, products, tmp_path, replace(SETTINGS, device="gpu"))
    assert list(tmp_path.iterdir()) == []


def test_progress_is_logged_with_the_name_of_the_training(dataset, products, tmp_path, caplog):
    caplog.set_level("INFO")
    settings = replace(SETTINGS, training=changed(PAPER, log_every=5, batch=2))
    fold(dataset, products, tmp_path, settings)
    said = [r.getMessage() for r in caplog.records if r.name == "unetcore.fold_training"]
    assert "tiny: 2 training frames" in said[0]
    assert [line.split("  ")[0] for line in said[1:]] == ["tiny: step 5/10", "tiny: step 10/10"]
