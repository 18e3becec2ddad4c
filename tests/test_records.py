"""Records of trainings: packed without loss, placed in order, never over what was made here."""

import json
import zipfile

import numpy as np
import pytest

from unetcore.bundle import records
from unetcore.bundle.records import (
    RECORD_NAMES,
    pack_records,
    place_records,
    settings_since,
    with_data,
)
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
    *(f"runs/{training}/{name}" for training in (TRAINING, OTHER) for name in RECORD_NAMES[:3]),
    f"seams/{TRAINING}/seam.json",
    "predictions/em/fold-0/best-threshold/metrics.json",
]


OF_TRAINING = [name for name in FILES if TRAINING in name]


def content(name, mark=""):
    """Content of a record, which no other record has."""
    settings = SETTINGS[name.split("/")[1]]["training"]
    return json.dumps({"training": settings, "of": name, "mark": mark})


def write(folder, mark=""):
    for name in [*FILES, f"runs/{TRAINING}/model.safetensors"]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content(name, mark))
    return folder


@pytest.fixture
def made(tmp_path):
    """Results with a file of every kind, each of its own content, and a model beside."""
    return write(tmp_path / "made")


@pytest.fixture
def packed(made, tmp_path):
    path = tmp_path / "records.zip"
    assert pack_records(path, made, [made / name for name in FILES], SETTINGS) == len(FILES)
    return path


@pytest.fixture
def there(tmp_path):
    return tmp_path / "there"


def place(packed, there, settings=SETTINGS):
    return place_records(packed, there, settings, there / "records.json")


def times_in_order(paths):
    """Whether no file is older than one before it."""
    times = [path.stat().st_mtime_ns for path in paths]
    return times == sorted(times)


def test_what_is_placed_is_what_was_packed_and_nothing_else(packed, there, made):
    placed = place(packed, there)
    found = sorted(path for path in there.rglob("*") if path.parent != there and path.is_file())
    assert found == sorted(there / name for name in FILES) == sorted(placed.files)
    for name in FILES:
        assert (there / name).read_bytes() == (made / name).read_bytes()
    assert (placed.left_out, placed.kept, placed.removed) == ({}, [], [])


def test_the_same_records_make_the_same_file_though_asked_for_twice(packed, made, tmp_path):
    again = tmp_path / "again.zip"
    pack_records(again, made, [made / name for name in FILES + FILES], SETTINGS)
    assert again.read_bytes() == packed.read_bytes()


def test_each_is_made_from_those_before_it(packed, there):
    placed = place(packed, there).files
    ranks = [RECORD_NAMES.index(path.name) for path in placed]
    assert ranks == sorted(ranks)
    assert times_in_order(placed)


@pytest.mark.parametrize("lost", OF_TRAINING)
def test_a_file_that_is_lost_comes_back_and_what_is_made_from_it_is_not_older(packed, there, lost):
    place(packed, there)
    (there / lost).unlink()
    placed = place(packed, there).files
    assert there / lost in placed
    assert len(placed) == len(FILES)
    assert times_in_order(placed)


def test_a_later_archive_takes_the_place_of_an_earlier_one(packed, there, tmp_path):
    place(packed, there)
    later, path = write(tmp_path / "later", "later"), tmp_path / "later.zip"
    fewer = [name for name in FILES if not name.startswith("seams")]
    pack_records(path, later, [later / name for name in fewer], SETTINGS)
    placed = place(path, there)
    assert placed.kept == []
    assert placed.removed == [there / f"seams/{TRAINING}/seam.json"]
    assert not placed.removed[0].exists()
    for name in fewer:
        assert (there / name).read_text() == content(name, "later")


def longer(name):
    """Settings by which an experiment trains for more steps."""
    return SETTINGS | {name: {**SETTINGS[name], "training": {"steps": 10, "batch": 1}}}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"hela": SETTINGS["hela"]}, "no such experiment"),
        (longer("em"), "training.steps 9, now 10"),
    ],
)
def test_an_experiment_that_is_another_now_is_left_out_and_taken_away(packed, there, asked, reason):
    for _ in range(2):  # in an empty folder, and where all are in place
        placed = place(packed, there, asked)
        assert list(placed.left_out) == ["em"]
        assert reason in placed.left_out["em"]
        assert {path.relative_to(there).parts[1] for path in placed.files} == {"hela"}
        assert not [path for path in there.glob("*/em/**/*") if path.is_file()]
        place(packed, there)


def test_tables_and_curves_of_what_is_taken_away_go_with_it_and_no_others(packed, there):
    made = [there / name for name in ("tables/table1.csv", "figures/em/loss_curves.svg")]
    picture = there / "figures/em/overview.png"
    for path in [*made, picture]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("made of records")
    place(packed, there)
    assert all(path.exists() for path in made)
    removed = place(packed, there, longer("em")).removed
    assert set(made) < set(removed)
    assert not any(path.exists() for path in made)
    assert picture.exists()


def test_a_change_of_settings_after_placing_is_noticed(packed, there):
    assert settings_since(there / "records.json", SETTINGS) == {}
    place(packed, there)
    assert settings_since(there / "records.json", SETTINGS) == {}
    since = settings_since(there / "records.json", longer("em"))
    assert since == {"em": "training.steps 9, now 10"}
    place(packed, there, longer("em"))
    assert settings_since(there / "records.json", longer("em")) == {}


def described(folder, label):
    """Settings of an experiment on a dataset of one image with this label."""
    folder = folder / f"{label}" / "cells"
    folder.mkdir(parents=True)
    write_stack(folder / "images.tif", np.zeros((1, 4, 4), np.uint8))
    write_stack(folder / "labels.tif", np.full((1, 4, 4), label, np.uint16))
    (folder / "frames.csv").write_text("index\n0\n")
    files = ([folder / name] for name in ("images.tif", "labels.tif", "frames.csv"))
    return with_data({"hela": {"dataset": "cells"}}, *files)


def test_other_labels_leave_an_experiment_out(made, there, tmp_path):
    path, files = tmp_path / "hela.zip", [made / name for name in FILES if OTHER in name]
    pack_records(path, made, files, described(tmp_path, 1))
    with pytest.raises(InputError, match=r"nothing in it .*data\.labels"):
        place(path, there, described(tmp_path, 2))


def test_a_training_made_here_stays_with_all_that_is_there_of_it(packed, there):
    run = there / f"runs/{TRAINING}/run.json"
    run.parent.mkdir(parents=True)
    run.write_text("another")
    placed = place(packed, there)
    assert placed.kept == [TRAINING]
    assert run.read_text() == "another"
    assert [path.name for path in (there / f"runs/{TRAINING}").iterdir()] == ["run.json"]
    assert not (there / f"predictions/{TRAINING}").exists()
    assert (there / f"runs/{OTHER}/run.json").exists()
    assert (there / "predictions/em/fold-0/best-threshold/metrics.json").exists()


def test_of_a_training_made_again_here_nothing_placed_is_left(packed, there):
    place(packed, there)
    run, made_here = (there / f"runs/{TRAINING}/{name}" for name in ("run.json", "history.csv"))
    run.write_text("another")
    made_here.write_text("another")
    placed = place(packed, there)
    assert placed.kept == [TRAINING]
    left = [there / name for name in OF_TRAINING if (there / name).exists()]
    assert sorted(left) == sorted([run, made_here])


def test_scores_of_a_threshold_made_here_stay(packed, there):
    scores = there / "predictions/em/fold-0/best-threshold/metrics.json"
    scores.parent.mkdir(parents=True)
    scores.write_text("another")
    assert place(packed, there).kept == ["em/fold-0/best-threshold"]
    assert scores.read_text() == "another"


def test_records_of_nothing_that_is_asked_for_say_why_and_go(packed, there):
    placed = place(packed, there)
    with pytest.raises(InputError, match=r"nothing in it .* no such experiment"):
        place(packed, there, {})
    assert not any(path.exists() for path in placed.files)
    assert settings_since(there / "records.json", longer("em")) == {}


def test_a_call_that_was_cut_short_is_made_good_by_the_next(packed, there, tmp_path, monkeypatch):
    place(packed, there)
    later, path = write(tmp_path / "later", "later"), tmp_path / "later.zip"
    pack_records(path, later, [later / name for name in FILES], SETTINGS)
    written = []

    def write_some(target, data):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(target)
        target.write_bytes(data)

    with monkeypatch.context() as patched:
        patched.setattr(records, "write_atomically", write_some)
        with pytest.raises(KeyboardInterrupt):
            place(path, there)
    assert place(path, there).kept == []
    for name in FILES:
        assert (there / name).read_text() == content(name, "later")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("../../escaped/a/b/run.json", "no record of a training"),
        ("runs/em/../../b/run.json", "no record of a training"),
        ("/runs/em/b/c/run.json", "no record of a training"),
        ("runs/em/fold-0/seed-0/run.py", "no record of a training"),
        (".", "no record of a training"),
        ("runs/other/fold-0/seed-0/run.json", "no settings of its experiment"),
    ],
)
def test_a_file_that_cannot_be_a_record_is_refused(there, tmp_path, name, complaint):
    path = tmp_path / "records.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("experiments.json", json.dumps(SETTINGS))
        file.writestr(name, "{}")
    with pytest.raises(InputError, match=complaint):
        place(path, there)
    assert not there.exists()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (None, r"^\S*records\.zip: no such file$"),
        (b"", r"records\.zip: no archive of this package"),
        (b"not a zip", r"records\.zip: no archive of this package"),
    ],
)
def test_a_missing_or_damaged_file_is_named(there, tmp_path, data, complaint):
    path = tmp_path / "records.zip"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=complaint):
        place(path, there)


def test_a_model_is_not_packed(made, tmp_path):
    model = made / f"runs/{TRAINING}/model.safetensors"
    with pytest.raises(ValueError, match="not one of the records"):
        pack_records(tmp_path / "records.zip", made, [model], SETTINGS)
    assert not (tmp_path / "records.zip").exists()


def test_a_training_by_other_settings_is_not_packed(made, tmp_path):
    run = made / f"runs/{TRAINING}/run.json"
    with pytest.raises(InputError, match=r"made by other settings \(training: steps 9, now 10\)"):
        pack_records(tmp_path / "records.zip", made, [run], longer("em"))
    with pytest.raises(ValueError, match="no settings of experiment 'em'"):
        pack_records(tmp_path / "records.zip", made, [run], {})
