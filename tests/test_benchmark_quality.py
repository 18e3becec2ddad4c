"""Equal time is kept, folds are compared the right way round, and what was learnt is kept."""

import csv
import json
import math
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import equal_time, quality
from benchmarks.equal_time import Contest, Fold, Learnt, Pace, compete, learn_monai, learn_ours
from benchmarks.quality import Comparison, Result
from unetcore.augment import AugmentConfig
from unetcore.data.io import write_stack
from unetcore.errors import InputError
from unetcore.evaluate import OF_MEMBRANES
from unetcore.predict import Predictor, predict_probability
from unetcore.recipes import FAST
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.train import TrainingData, train

SIDE = 32  # px


def recipe(**training):
    sections = FAST.sections("mask")
    sections["network"] |= {"width": 2, "depth": 1}
    sections["training"] |= {"output_tile": 20, "log_every": 1} | training
    return sections


def contest(archive=None, budget=30.0, fold="4", **training):
    return Contest(archive, fold, budget, seed=0, recipe=recipe(**training))


def tiny_fold():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, SIDE, SIDE)).astype(np.float32)
    labels = np.where(rng.random(images.shape) < 0.3, 0, 255).astype(np.uint8)
    classes = (labels > 0).astype(np.uint8)
    data = TrainingData(images[:2], classes[:2], np.ones((2, SIDE, SIDE), np.float32))
    return Fold(data, images[2:], labels[2:], ["train-02"], "three slices")


class Clock:
    """Time that passes only when it is asked for, by so many seconds; later by others."""

    def __init__(self, tick=1.0, later=(math.inf, 0.0)):
        self.now, self.calls, self.tick, self.later = 0.0, 0, tick, later

    def __call__(self):
        self.calls += 1
        self.now += self.tick if self.calls <= self.later[0] else self.later[1]
        return self.now


def test_pace_is_that_of_the_median_step_and_the_first_one_also_starts():
    # the first step ends after 5 s, the others take 2, 2, 6 and 2 s
    pace = Pace.of([10, 15, 17, 19, 25, 27])
    assert pace == Pace(start=3, step=2)
    assert pace.steps(13.9) == 5  # 3 + 5 * 2 = 13
    assert pace.steps(13) == 5
    assert pace.steps(12.9) == 4
    assert pace.steps(0.1) == 1


def test_ours_takes_the_steps_that_the_budget_allows():
    fold = tiny_fold()
    learnt = learn_ours(fold, contest(budget=30), Clock())
    assert learnt.steps == 29  # a second each, 98 % of 30
    assert learnt.cpu_seconds <= 1.02 * 30 + 1  # the end is a look at the clock, too
    given = recipe(steps=29)
    network, _ = train(
        fold.training,
        network=NetworkConfig(**given["network"]),
        augmentation=AugmentConfig(**given["augmentation"]),
        training=TrainConfig(**given["training"]),
        seed=0,
        device="cpu",
    )
    expected = predict_probability(fold.images[0], Predictor(network, "auto", device="cpu"))
    np.testing.assert_array_equal(learnt.probability, expected[None])


def test_ours_begins_anew_where_the_trial_was_too_fast():
    trial = 1 + equal_time.TRIAL_STEPS
    clock = Clock(later=(2 * trial, 2.0))  # what follows both trials takes twice as long
    learnt = learn_ours(tiny_fold(), contest(budget=30), clock)
    # 29 steps; the third, the first beyond a tenth, ends at 6 s: at that pace all would take 58 s
    assert learnt.steps == 14  # of two seconds each, 98 % of 30
    assert learnt.cpu_seconds == 2 * (14 + 1)
    assert clock.now == 2 * trial + 2 * (1 + 3) + 2 * (1 + 14 + 1)  # no more than that was lost


def test_ours_begins_anew_where_it_becomes_slower_later():
    trial = 1 + equal_time.TRIAL_STEPS
    clock = Clock(later=(2 * trial + 1 + 20, 2.0))  # after the 20th step
    learnt = learn_ours(tiny_fold(), contest(budget=30), clock)
    # 20 steps in 20 s, then 22, 24: at that pace all 29 would take 24 / 22 * 29 = 31.6 s. The next
    # one, of 26, takes two seconds a step from the start, as above.
    assert learnt.steps == 14
    assert clock.now == 2 * trial + (1 + 20 + 2 * 2) + 2 * (1 + 3) + 2 * (1 + 14 + 1)


def test_ours_may_be_normalised_or_not():
    maps = []
    for normalised in (False, True):
        given = contest(budget=5)
        given.recipe["network"]["normalised"] = normalised
        learnt = learn_ours(tiny_fold(), given, Clock())
        assert learnt.steps == 4
        assert learnt.probability.shape == (1, SIDE, SIDE)
        maps.append(learnt.probability)
    assert np.abs(maps[0] - maps[1]).max() > 0.01


class Padded(nn.Module):
    """In the place of MONAI's network: one convolution."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, image):
        return self.convolution(image)


class CrossEntropy(nn.Module):
    """In the place of MONAI's loss; it wants classes of shape (B, 1, H, W) as that does."""

    def forward(self, scores, classes):
        assert scores.dtype == torch.float32
        assert classes.shape == (1, 1, SIDE, SIDE)
        return nn.functional.cross_entropy(scores, classes[:, 0])


@pytest.fixture
def without_monai(monkeypatch):
    monkeypatch.setattr(equal_time, "monai_network", lambda: (Padded(), CrossEntropy()))
    monkeypatch.setattr(equal_time, "MONAI_TILE", SIDE)
    monkeypatch.setattr(equal_time, "version", lambda name: "1.0")
    monkeypatch.setattr(equal_time, "source_digest", lambda *sources: "0123")  # it takes a while


def test_monai_trains_until_the_budget_is_used_up(without_monai, monkeypatch):
    rates = []

    class Adam(torch.optim.Adam):
        def step(self):
            rates.append(self.param_groups[0]["lr"])
            super().step()

    monkeypatch.setattr(torch.optim, "Adam", Adam)
    learnt = learn_monai(tiny_fold(), contest(budget=5), Clock())
    # looked at after 1, 2, 3, 4 s there is time for a step; after 5 s there is none
    assert (learnt.steps, learnt.cpu_seconds) == (4, 5)
    cosine = [0.5 * (1 + math.cos(math.pi * k / 5)) for k in (1, 2, 3, 4)]
    assert rates == pytest.approx([1e-3 * share for share in cosine])
    assert learnt.probability.shape == (1, SIDE, SIDE)
    assert learnt.probability.dtype == np.float32


def test_monai_learns_and_depends_on_the_seed_alone(without_monai, monkeypatch):
    monkeypatch.setattr(equal_time, "MONAI_RATE", 0.05)
    fold = tiny_fold()
    bright = (fold.training.images > 0).astype(np.uint8)  # what one convolution can learn
    fold = replace(fold, training=replace(fold.training, classes=bright))
    state = torch.get_rng_state()
    first, second = (learn_monai(fold, contest(budget=60), Clock()) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(first.probability, second.probability)
    assert np.mean((first.probability > 0.5) == (fold.images > 0)) > 0.9
    other = learn_monai(fold, replace(contest(budget=60), seed=1), Clock())
    assert not np.array_equal(first.probability, other.probability)


def test_network_and_loss_of_monai():
    pytest.importorskip("monai", reason="make bench-quality installs MONAI")
    network, loss = equal_time.monai_network()
    assert network.conv_0.conv_0.conv.out_channels == 32
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 48, 32)).shape == (1, 2, 48, 32)
    classes = torch.randint(2, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    right = 20.0 * torch.cat([1 - classes, classes], 1)
    # Dice loss 0 and cross entropy 0 where all is right; 1 and 20 where all is wrong
    assert loss(right, classes).item() == pytest.approx(0, abs=1e-4)
    assert loss(20 - right, classes).item() == pytest.approx(21, abs=1e-3)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Archive of ten training slices of noise in the place of the official one."""
    about = replace(equal_time.dataset(), members={}, pixels={})
    monkeypatch.setattr(equal_time, "dataset", lambda: about)
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (10, SIDE, SIDE), np.uint8)
    labels = np.where(rng.random(images.shape) < 0.3, 0, 255).astype(np.uint8)
    path = tmp_path / "challenge.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, stack in (
            ("train-volume.tif", images),
            ("train-labels.tif", labels),
            ("test-volume.tif", images[:2]),
        ):
            write_stack(tmp_path / name, stack)
            file.write(tmp_path / name, name)
    return path, images, labels


def test_last_fold_holds_the_last_slices_out(archive):
    path, images, labels = archive
    fold = equal_time.read_fold(contest(path))
    assert fold.frames == ["train-08", "train-09"]
    np.testing.assert_array_equal(fold.labels, labels[8:])
    np.testing.assert_array_equal(fold.training.classes, labels[:8] > 0)
    assert (fold.training.weights == 1).all()
    expected = (images[8] - images[8].mean()) / images[8].std()
    np.testing.assert_allclose(fold.images[0], expected, atol=1e-5)
    assert len(fold.training.images) == 8


def test_record_of_a_perfect_prediction(archive, tmp_path, without_monai, monkeypatch):
    def know(fold, contest):
        return Learnt((fold.labels / 255).astype(np.float32), steps=7, cpu_seconds=1.234)

    monkeypatch.setattr(equal_time, "METHODS", {"ours": know})
    monkeypatch.setattr(equal_time, "keep_freed_memory", lambda: None)
    given = contest(archive[0])
    compete("ours", given, tmp_path / "found.json")
    result = Result(**json.loads((tmp_path / "found.json").read_text()))
    assert tuple(result.values) == OF_MEMBRANES
    assert [result.values[m] for m in OF_MEMBRANES] == pytest.approx([0, 0, 0, 1, 1], abs=1e-9)
    assert (result.fold, result.method, result.steps) == ("4", "ours", 7)
    assert result.cpu_seconds == 1.23
    assert result.settings == json.loads(json.dumps(given.settings()))
    assert result.measured_on.startswith("cross-validation on the 10 labelled training slices")


def test_settings_tell_contests_apart(monkeypatch):
    monkeypatch.setattr(equal_time, "version", lambda name: "1.0")
    settings = contest().settings()
    monkeypatch.setattr(equal_time, "source_digest", lambda *sources: settings["code"])
    assert settings == contest(fold="0").settings()
    others = [contest(budget=31), contest(learning_rate=1.0), replace(contest(), seed=1)]
    assert all(other.settings() != settings for other in others)
    monkeypatch.setattr(equal_time, "source_digest", lambda *sources: "other")
    assert contest().settings() != settings


def test_missing_monai_is_said(monkeypatch):
    monkeypatch.setattr(equal_time, "version", lambda name: raise_not_found(name))
    with pytest.raises(InputError, match="MONAI is not installed here: `make bench-quality`"):
        contest().settings()


def raise_not_found(name):
    raise equal_time.PackageNotFoundError(name)


SETTINGS = {
    "budget": 30.0, "seed": 0, "recipe": recipe(), "code": "0123", "hardware": "a CPU, 2 cores",
    "precision": "float32", "Python": "3.11", "torch": "2.13", "MONAI": "1.6",
}  # fmt: skip


def made_up(fold, method, values, settings=None):
    """Result whose five metrics are the numbers given."""
    return Result(
        fold=fold, method=method, frames=[f"train-{fold}0", f"train-{fold}5"],
        measured_on="made-up slices", values=dict(zip(OF_MEMBRANES, values, strict=True)),
        thresholds=dict.fromkeys(OF_MEMBRANES, 0.5), steps=100 if method == "ours" else 50,
        cpu_seconds=99.0 if method == "ours" else 100.0, date="2026-01-02",
        settings=settings or SETTINGS,
    )  # fmt: skip


def both(fold, ours, theirs):
    return [made_up(fold, "ours", ours), made_up(fold, "monai", theirs)]


def write_result(path, result):
    path.write_text(json.dumps(vars(result)))


@pytest.fixture
def in_threads(monkeypatch):
    """Let both methods learn in threads of this process."""
    monkeypatch.setattr(quality, "ProcessPoolExecutor", lambda n, context: ThreadPoolExecutor(n))


@pytest.fixture
def asked(monkeypatch):
    """Learner that writes made-up results, and what it was asked for."""
    calls = []

    def learner(method, contest, path):
        calls.append((method, contest.fold))
        write_result(path, made_up(contest.fold, method, range(5), contest.settings()))

    return learner, calls


def test_learnt_folds_are_kept(tmp_path, without_monai, in_threads, asked):
    learner, calls = asked
    first = quality.learn(contest(), tmp_path, learner)
    assert [result.method for result in first] == ["ours", "monai"]
    assert sorted(calls) == [("monai", "4"), ("ours", "4")]
    assert quality.learn(contest(), tmp_path, learner) == first
    assert len(calls) == 2


def test_both_learn_again_where_one_is_missing_or_another_contest_s(
    tmp_path, without_monai, in_threads, asked
):
    learner, calls = asked
    quality.learn(contest(), tmp_path, learner)
    (tmp_path / "fold-4-ours.json").unlink()
    quality.learn(contest(), tmp_path, learner)
    assert len(calls) == 4
    quality.learn(contest(budget=31), tmp_path, learner)
    assert len(calls) == 6
    assert quality.learn(contest(fold="3"), tmp_path, learner)[0].fold == "3"
    assert len(calls) == 8


def test_code_that_changes_during_the_run_is_noticed(tmp_path, without_monai, in_threads):
    def learner(method, contest, path):
        settings = contest.settings() | {"code": "another"}
        write_result(path, made_up(contest.fold, method, range(5), settings))

    with pytest.raises(InputError, match="the code was changed during the run"):
        quality.learn(contest(), tmp_path, learner)


def fail_or_wait(method, contest, path):
    if method == "monai":
        raise InputError("monai: no such thing")
    time.sleep(600)


@pytest.mark.slow
def test_failure_of_one_process_ends_the_other(tmp_path, without_monai):
    started = time.monotonic()
    with pytest.raises(InputError, match="monai: no such thing"):
        quality.learn(contest(), tmp_path, fail_or_wait)
    assert time.monotonic() - started < 500  # it did not wait for the other


def test_comparison_where_smaller_is_better():
    compared = Comparison("rand_error", [0.1, 0.2, 0.6], [0.2, 0.4, 0.5])
    assert compared.differences == pytest.approx([-0.1, -0.2, 0.1])
    assert compared.n_better == 2
    assert compared.is_better  # 0.3 against 0.3667
    row = compared.row()
    assert (row.ours, row.peer) == pytest.approx((0.3, 1.1 / 3))
    assert row.ratio == pytest.approx(1.1 / 0.9)
    # the differences are 0.0333, 0.1333 and 0.1667 off their mean: the squares sum up to 0.0467
    assert compared.cells() == (
        "Rand error ↓", "0.3000 ± 0.2646", "0.3667 ± 0.1528", "-0.0667 ± 0.1528", "2 of 3",
    )  # fmt: skip


def test_comparison_where_larger_is_better():
    compared = Comparison("v_rand", [0.1, 0.2, 0.6], [0.2, 0.4, 0.5])
    assert compared.n_better == 1
    assert not compared.is_better
    assert compared.row().ratio == pytest.approx(0.9 / 1.1)


def test_equal_is_not_better():
    for metric in OF_MEMBRANES:
        compared = Comparison(metric, [0.5], [0.5])
        assert not compared.is_better
        assert compared.n_better == 0
    assert compared.cells()[1:4] == ("0.5000", "0.5000", "+0.0000")


GOOD, BAD = (0.001, 0.05, 0.04, 0.98, 0.99), (0.002, 0.06, 0.05, 0.97, 0.98)


@pytest.fixture
def in_folder(tmp_path, monkeypatch, without_monai):
    """Folder of a run in which every fold is learnt as `learnt` says, by default well by us."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/bench").mkdir(parents=True)
    monkeypatch.setattr(quality, "fetch_archive", lambda folder: folder / "archive.zip")
    learnt = {}
    monkeypatch.setattr(
        quality,
        "learn",
        lambda contest, folder: both(contest.fold, *learnt.get(contest.fold, (GOOD, BAD))),
    )
    (tmp_path / "results/bench/quality").mkdir()
    return tmp_path, learnt


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_and_page_of_a_whole_run(in_folder, capsys):
    folder, _ = in_folder
    quality.main([])
    rows = read_csv(folder / "results/bench/quality.csv")
    assert list(rows[0]) == ["name", "ours", "peer", "ratio", "unit", "peer_name"]
    assert [row["name"] for row in rows] == [
        f"{title}, held-out EM slices"
        for title in ("warping error", "Rand error", "pixel error", "V_rand", "V_info")
    ]
    assert float(rows[0]["ratio"]) == pytest.approx(2)
    of_folds = read_csv(folder / "results/bench/quality-folds.csv")
    assert len(of_folds) == 5 * 2 * 5
    assert of_folds[5] == {
        "fold": "0", "method": "monai", "metric": "warping_error", "value": "0.002",
        "steps": "50", "cpu_seconds": "100.0",
    }  # fmt: skip
    text = " ".join((folder / "docs/quality.md").read_text().split())  # columns are padded
    assert "## All five folds" in text
    assert "budget: 30 CPU seconds" in text
    assert "ours took 0.990 of the CPU time" in text
    assert "| 0.0500 ± 0.0000 | 0.0600 ± 0.0000 | -0.0100 ± 0.0000 |" in text
    assert "5 of 5" in capsys.readouterr().out


def test_mean_over_the_folds_that_took_no_part_in_the_choice(in_folder):
    folder, learnt = in_folder
    learnt["4"] = ((0.001, 0.01, 0.04, 0.98, 0.99), BAD)
    learnt["3"] = ((0.001, 0.07, 0.04, 0.98, 0.99), BAD)
    quality.main([])
    text = (folder / "docs/quality.md").read_text()
    every, _, rest = text.partition("## On slices that took no part")
    assert " 0.0460 ±" in every  # (0.01 + 0.07 + 3 * 0.05) / 5
    assert " 0.0600 ± 0.0141" in rest  # of 0.05 and 0.07
    assert "4 of 5" in every
    assert "1 of 2" in rest
    marked = [line for line in text.splitlines() if "(seen)" in line]
    assert [line.split(",")[0] for line in marked] == [f"| {n}" for n in (0, 0, 2, 2, 4, 4)]


def test_a_part_of_the_run_leaves_the_page_alone(in_folder):
    folder, _ = in_folder
    quality.main(["--folds", "4", "0"])
    quality.main(["--budget", "15"])
    assert not (folder / "docs").exists()
    assert "## All five folds" in (folder / "results/bench/quality/page.md").read_text()


def test_a_run_in_which_ours_is_not_better_fails_after_all_is_written(in_folder):
    folder, learnt = in_folder
    worse = (0.001, 0.05, 0.04, 0.80, 0.99)  # V_rand falls by 0.18 on one fold of five
    learnt["2"] = (worse, BAD)
    with pytest.raises(SystemExit, match=r"ours is not better on the mean: V_rand$"):
        quality.main([])
    assert (folder / "docs/quality.md").is_file()
    assert len(read_csv(folder / "results/bench/quality.csv")) == 5


@pytest.mark.parametrize("wrong", [["--folds", "5"], ["--budget", "0"], ["--budget", "nan"]])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(SystemExit) as stopped:
        quality.main(wrong)
    assert stopped.value.code == 2
