"""Records of trainings: packed without loss, placed in order, never over what was made here."""

import json
import zipfile

import numpy as np
import pytest

from unetcore.bundle.records import IN_ORDER, pack_records, place_records, with_data
from unetcore.data.io import write_stack
from unetcore.errors import InputError

SETTINGS = {
    "em": {"training": {"steps": 9, "batch": 1}, "split": {"frames": (1, 2)}},
    "hela": {"training": {"steps": 5}},
}
TRAINING, OTHER = "em/fold-0/seed-1", "hela/fold-02/seed-0"
FILES = [
    f"predictions/{TRAINING}/u-net+d4/metrics.json",  # made last, and listed first
    f"predictions/{TRAINING}/u-net+d4/prediction.json",
    *(f"runs/{training}/{name}" for training in (TRAINING, OTHER) for name in IN_ORDER[:3]),
    f"seams/{TRAINING}/seam.json",
    "predictions/em/fold-0/best-threshold/metrics.json",
]


@pytest.fixture
def made(tmp_path):
    """Results with a file of every kind, each of its own content, and models and maps beside."""
    folder = tmp_path / "made"
    for name in [*FILES, f"runs/{TRAINING}/model.safetensors"]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return folder


@pytest.fixture
def packed(made, tmp_path):
    path = tmp_path / "records.zip"
    assert pack_records(path, made, [made / name for name in FILES], SETTINGS) == len(FILES)
    return path


def test_what_is_placed_is_what_was_packed_and_nothing_else(packed, made, tmp_path):
    there = tmp_path / "there"
    placed = place_records(packed, there, SETTINGS)
    found = sorted(path for path in there.rglob("*") if path.is_file())
    assert found == sorted(there / name for name in FILES) == sorted(placed.files)
    for name in FILES:
        assert (there / name).read_bytes() == (made / name).read_bytes()
    assert (placed.left_out, placed.kept) == ({}, [])


def test_nothing_is_older_than_what_it_was_made_from(packed, tmp_path):
    placed = place_records(packed, tmp_path / "there", SETTINGS).files
    times = [path.stat().st_mtime_ns for path in placed]
    assert times == sorted(times)
    ranks = [IN_ORDER.index(path.name) for path in placed]
    assert ranks == sorted(ranks)


def test_the_same_records_make_the_same_file_though_asked_for_twice(packed, made, tmp_path):
    again = tmp_path / "again.zip"
    pack_records(again, made, [made / name for name in FILES + FILES], SETTINGS)
    assert again.read_bytes() == packed.read_bytes()


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"hela": SETTINGS["hela"]}, "no such experiment"),
        (SETTINGS | {"em": {**SETTINGS["em"], "training": {"steps": 10, "batch": 1}}}, "steps 9"),
    ],
)
def test_an_experiment_that_is_another_now_is_left_out(packed, tmp_path, asked, reason):
    there = tmp_path / "there"
    placed = place_records(packed, there, asked)
    assert list(placed.left_out) == ["em"]
    assert reason in placed.left_out["em"]
    assert {path.relative_to(there).parts[1] for path in placed.files} == {"hela"}
    assert not list(there.glob("*/em"))


def test_other_labels_leave_an_experiment_out(made, tmp_path):
    def described(label):
        folder = tmp_path / f"{label}" / "cells"
        folder.mkdir(parents=True)
        write_stack(folder / "images.tif", np.zeros((1, 4, 4), np.uint8))
        write_stack(folder / "labels.tif", np.full((1, 4, 4), label, np.uint16))
        (folder / "frames.csv").write_text("index\n0\n")
        files = ([folder / name] for name in ("images.tif", "labels.tif", "frames.csv"))
        return with_data({"hela": {"dataset": "cells"}}, *files)

    path, files = tmp_path / "hela.zip", [made / f"runs/{OTHER}/{name}" for name in IN_ORDER[:3]]
    pack_records(path, made, files, described(1))
    with pytest.raises(InputError, match=r"nothing in it .*data\.labels"):
        place_records(path, tmp_path / "there", described(2))


def test_a_training_made_here_stays_with_all_that_is_there_of_it(packed, tmp_path):
    there = tmp_path / "there"
    run = there / f"runs/{TRAINING}/run.json"
    run.parent.mkdir(parents=True)
    run.write_text("another")
    placed = place_records(packed, there, SETTINGS)
    assert placed.kept == [TRAINING]
    assert run.read_text() == "another"
    assert [path.name for path in (there / f"runs/{TRAINING}").iterdir()] == ["run.json"]
    assert not (there / f"predictions/{TRAINING}").exists()
    assert (there / f"runs/{OTHER}/run.json").exists()
    assert (there / "predictions/em/fold-0/best-threshold/metrics.json").exists()


def test_a_second_call_touches_nothing(packed, tmp_path):
    there = tmp_path / "there"
    first = place_records(packed, there, SETTINGS)
    times = [path.stat().st_mtime_ns for path in first.files]
    again = place_records(packed, there, SETTINGS)
    assert again.files == first.files
    assert [path.stat().st_mtime_ns for path in again.files] == times


def test_records_of_nothing_that_is_asked_for_say_why(packed, tmp_path):
    with pytest.raises(InputError, match=r"nothing in it .* no such experiment"):
        place_records(packed, tmp_path / "there", {})


@pytest.mark.parametrize(
    "name", ["../../escaped/a/b/run.json", "runs/../../b/run.json", "/runs/a/b/c/run.json"]
)
def test_a_file_that_would_lie_elsewhere_is_refused(tmp_path, name):
    path = tmp_path / "records.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("experiments.json", json.dumps(SETTINGS))
        file.writestr(name, "{}")
    with pytest.raises(InputError, match="no record of a training"):
        place_records(path, tmp_path / "there", SETTINGS)
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "records.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"records\.zip: no archive of this package"):
        place_records(path, tmp_path / "there", SETTINGS)


def test_a_map_is_not_packed(made, tmp_path):
    model = made / f"runs/{TRAINING}/model.safetensors"
    with pytest.raises(ValueError, match="not one of the records"):
        pack_records(tmp_path / "records.zip", made, [model], SETTINGS)
    assert not (tmp_path / "records.zip").exists()
