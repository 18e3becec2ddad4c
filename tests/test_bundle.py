"""Bundles: made here, run where there is nothing but torch and NumPy, taken back."""

import json
import os
import subprocess
import sys
import time
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest
import unbundle
import yaml
from test_bare_node import BARE
from test_workflow import OFFLINE, copy_workflow, snakemake
from training_cases import AUGMENTATION, NETWORK, PAPER, random_arrays

from unetcore.bundle.archive import Archive
from unetcore.bundle.maps import ROUNDING, from_levels, to_levels
from unetcore.bundle.pack import pack_bundle
from unetcore.bundle.plan import Plan, Training
from unetcore.bundle.unpack import unpack_results
from unetcore.checkpoint import load_model
from unetcore.data.dataset import Dataset
from unetcore.data.frames import Frame, split_frames, write_frames
from unetcore.data.io import read_probability, write_stack
from unetcore.errors import InputError
from unetcore.fold_prediction import predict_frames
from unetcore.fold_training import Held, train_fold
from unetcore.produce import Products, Settings

N_FRAMES = 4
CODES = {"training": "0123", "prediction": "4567", "seams": "89ab"}
OF_THE_WATCH = ("log_every", "checkpoint_every", "checkpoint_minutes", "validate_every")
TRAINING = asdict(PAPER)
EXPERIMENT = {
    "dataset": "noise",
    "split": {"blocks": 2},
    "folds": ["0", "1"],
    "seeds": [3],
    "network": asdict(NETWORK),
    "augmentation": asdict(AUGMENTATION),
    "training": {key: value for key, value in TRAINING.items() if key not in OF_THE_WATCH},
    "watch": {key: TRAINING[key] for key in OF_THE_WATCH} | {"validate_every": 2},
    "prediction": {"tile": None, "memory_mb": None, "precision": "float32", "single_windows": 4},
    "seams": True,
    "methods": {"u-net": "none", "u-net+mirror4": "mirror4", "u-net+rot7": "rot7"},
}
FIRST, SECOND = Training("tiny", "0", 3), Training("tiny", "1", 3)


def make_dataset(folder):
    """Four frames of noise in their canonical files."""
    images, classes, weights = random_arrays(n=N_FRAMES)
    names = ("images.tif", "labels.tif", "frames.csv", "classes.tif", "weights.tif")
    found = Dataset(*(folder / name for name in names))
    write_stack(found.images, (255 * images).astype(np.uint8))
    write_stack(found.labels, 255 * classes)
    write_stack(found.classes, classes)
    write_stack(found.weights, weights)
    write_frames(
        found.frames, [Frame(k, f"a-{k}", "a", True, False, "train") for k in range(N_FRAMES)]
    )
    return found


def pack(folder, changes=None, codes=CODES):
    """Bundle of two tiny trainings; some settings of the experiment may be others."""
    dataset = make_dataset(folder / "dataset")
    experiments = {"tiny": EXPERIMENT | (changes or {})}
    plan = pack_bundle(folder / "tiny.zip", "small", experiments, {"tiny": dataset}, codes)
    return folder / "tiny.zip", plan, dataset


def run(bundle, *arguments):
    """Run a bundle beside itself, by a Python that has torch and NumPy, and nothing else."""
    folder = bundle.parent / "bare"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(BARE)
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, bundle.name, "--out", "out.zip", "--device", "cpu", *arguments]
    return subprocess.Popen(
        command,
        cwd=bundle.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output_of(process):
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Folder with a bundle, what it is made of, and what came of it on a bare machine."""
    folder = tmp_path_factory.mktemp("ran")
    bundle, plan, dataset = pack(folder)
    code, output = output_of(run(bundle))
    assert code == 0, output
    return folder, plan, dataset, output


@pytest.mark.parametrize(
    ("family", "network", "training", "augmentation"),
    [
        ("fcn", {}, {}, {}),
        ("sliding-window", {"depth": 4, "dropout": 0.0}, {"output_tile": 1}, {"balanced": True}),
    ],
)
def test_the_networks_compared_with_run_on_a_bare_machine(
    tmp_path, family, network, training, augmentation
):
    changes = {
        "network": EXPERIMENT["network"] | {"family": family} | network,
        "training": EXPERIMENT["training"] | {"steps": 2} | training,
        "augmentation": EXPERIMENT["augmentation"] | augmentation,
        "seams": family == "fcn",  # single windows have none
        "methods": {family: "none"},
        "folds": ["0"],
    }
    bundle, plan, _ = pack(tmp_path, changes)
    code, output = output_of(run(bundle))
    assert code == 0, output
    unpacked = unpack_results(tmp_path / "out.zip", plan, tmp_path / "home")
    assert unpacked.missing == []
    there = tmp_path / "home/predictions" / FIRST.folder / family
    record = json.loads((there / "prediction.json").read_text())
    assert ("one_by_one" in record) == (family == "sliding-window")
    assert record["plan"]["cost"] is None  # which is counted for the U-Net
    assert read_probability(there / "probability.tif").shape == (2, 40, 48)


def by_the_rules(folder, dataset):
    """What the scripts of the workflow make of the first training: maps by method, and run.json."""
    names = ("model.safetensors", "history.csv", "validation.csv", "run.json")
    products = Products(*(folder / name for name in names))
    train_fold(
        dataset,
        Settings(NETWORK, AUGMENTATION, PAPER, FIRST.seed, CODES["training"], "cpu"),
        products,
        name=str(FIRST),
        states=folder / "states",
        board=None,
        split=EXPERIMENT["split"],
        fold=FIRST.fold,
        held=Held((), {}),
    )
    _, tested = split_frames(dataset.read_frames(), EXPERIMENT["split"], FIRST.fold)
    maps = {
        method: predict_frames(
            dataset.read_grey([frame.index for frame in tested]),
            tested,
            load_model(products.model),
            averaging=averaging,
            prediction=EXPERIMENT["prediction"],
            device="cpu",
            code="4567",
        )[0]
        for method, averaging in EXPERIMENT["methods"].items()
    }
    return maps, json.loads(products.provenance.read_text())


def test_levels_keep_every_comparison_with_a_tenth():
    tenths = np.arange(11) / 10
    near = np.float32(tenths)
    rng = np.random.default_rng(0)
    drawn = rng.uniform(0, 1, 100_000).astype(np.float32)
    given = np.concatenate([
        near,
        np.nextafter(near, np.float32(0)),
        np.nextafter(near[:-1], np.float32(1)),
        drawn,
    ])  # fmt: skip
    found = from_levels(to_levels(given))
    for threshold in tenths:
        np.testing.assert_array_equal(
            found.astype(float) > threshold, given.astype(float) > threshold
        )
    assert np.abs(found.astype(float) - given).max() <= ROUNDING + 2**-25  # of float32
    assert found[0] == 0
    assert found.dtype == np.float32


def test_a_bare_machine_makes_what_the_rules_make(ran, tmp_path):
    folder, plan, dataset, output = ran
    unpacked = unpack_results(folder / "out.zip", plan, tmp_path)
    assert unpacked.missing == []
    # of two trainings: maps, a frame in three ways, and how far tiles are from the whole
    assert len(unpacked.placed) == 2 * (3 + 2)
    for training in plan.trainings():
        seam = json.loads((tmp_path / "seams" / training.folder / "seam.json").read_text())
        assert (seam["fold"], seam["seed"]) == (training.fold, training.seed)
        assert 0 <= seam["seam"] <= 1e-5
        assert seam["provenance"]["code"] == CODES["training"]
    maps, record = by_the_rules(tmp_path / "rules", dataset)
    for method, expected in maps.items():
        there = tmp_path / "predictions" / FIRST.folder / method
        found = read_probability(there / "probability.tif")
        # 1e-6: on a bare machine torch cuts the tiles, elsewhere compiled code
        np.testing.assert_allclose(found, expected, atol=ROUNDING + 1e-6, rtol=0)
        provenance = json.loads((there / "prediction.json").read_text())
        assert provenance["prediction_code"] == "4567"
        assert provenance["probability_rounding"] == ROUNDING
    found = json.loads((tmp_path / "runs" / FIRST.folder / "run.json").read_text())
    for clock in (found, record):
        assert clock.pop("train_seconds") >= 0
    assert found == record
    ways = read_probability(tmp_path / "seams" / FIRST.folder / "probability.tif")
    assert ways.shape == (3, 40, 48)
    assert not (tmp_path / "runs" / FIRST.folder / "model.safetensors").exists()
    assert "training 2 of 2: tiny fold 1 seed 3" in output


def test_a_second_call_repeats_nothing_and_can_add_the_models(ran):
    folder, *_ = ran
    before = (folder / "out.zip").read_bytes()
    model = folder / "out-work/runs" / FIRST.folder / "model.safetensors"
    written = model.stat().st_mtime_ns
    code, output = output_of(run(folder / "tiny.zip"))
    assert (code, output.count("training")) == (0, 1), output  # "2 of 2 trainings"
    assert (folder / "out.zip").read_bytes() == before
    code, output = output_of(run(folder / "tiny.zip", "--models"))
    assert code == 0, output
    inside = Archive(folder / "out.zip").read(f"runs/{FIRST.folder}/model.safetensors")
    assert inside == model.read_bytes()
    assert model.stat().st_mtime_ns == written
    output_of(run(folder / "tiny.zip"))  # as it was, for the other tests


@pytest.mark.slow
def test_a_bundle_that_is_stopped_goes_on_and_loses_no_finished_training(tmp_path):
    long = dict(EXPERIMENT["training"], steps=200)
    watch = dict(EXPERIMENT["watch"], log_every=1, checkpoint_every=10)
    bundle, plan, _ = pack(tmp_path, {"training": long, "watch": watch})
    process = run(bundle)
    work = tmp_path / "out-work"
    deadline = time.monotonic() + 120
    while not list((work / "state" / SECOND.folder).glob("step-*.pt")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    code, output = output_of(process)
    assert code == 143, output
    assert "1 of 2 trainings" in output
    stopped_at = max((work / "state" / SECOND.folder).glob("step-*.pt")).name
    first = work / "runs" / FIRST.folder / "run.json"
    written = first.stat().st_mtime_ns
    unpacked = unpack_results(tmp_path / "out.zip", plan, tmp_path / "results")
    assert unpacked.missing == [SECOND]
    code, output = output_of(run(bundle))
    assert code == 0, output
    assert first.stat().st_mtime_ns == written
    step = int(stopped_at.removeprefix("step-").removesuffix(".pt"))
    assert step > 0
    assert f"step {step}/200" not in output  # it went on behind it
    assert "2 of 2 trainings" in output
    assert not (work / "state" / SECOND.folder).exists()
    unpacked = unpack_results(tmp_path / "out.zip", plan, tmp_path / "results")
    assert unpacked.missing == []


def test_a_time_limit_stops_a_bundle_as_a_scheduler_does(tmp_path):
    bundle, _, _ = pack(tmp_path, {"training": dict(EXPERIMENT["training"], steps=100_000)})
    code, output = output_of(run(bundle, "--hours", str(2 / 3600)))
    assert code == 143
    assert "the state is in" in output


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--experiments", "tinny"], "unknown experiment 'tinny': there are tiny"),
        (["--hours", "0"], "0 hours: need more than 0"),
        (["--device", "gpu"], "a GPU was asked for and none can be seen"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(ran, arguments, line):
    folder, *_ = ran
    code, output = output_of(run(folder / "tiny.zip", *arguments))
    assert code == 2
    assert len(output.splitlines()) == 1
    assert line in output


def test_without_torch_a_bundle_says_so(ran):
    folder, *_ = ran
    command = [sys.executable, "-S", "-E", "tiny.zip", "--out", "out.zip"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "error: this Python has no numpy: a bundle needs numpy and torch\n"


def test_a_damaged_bundle_says_so(ran, tmp_path):
    folder, plan, *_ = ran
    content = bytearray((folder / "tiny.zip").read_bytes())
    with zipfile.ZipFile(folder / "tiny.zip") as file:
        info = file.getinfo(plan.experiments["tiny"]["weights"])
    content[info.header_offset + 200] ^= 255
    (tmp_path / "tiny.zip").write_bytes(content)
    code, output = output_of(run(tmp_path / "tiny.zip"))
    assert code == 2
    assert output.startswith("error: ")
    assert "tiny.zip: damaged (" in output
    assert len(output.splitlines()) == 1


def test_the_folder_of_another_bundle_is_refused(ran, tmp_path):
    folder, *_ = ran
    bundle, *_ = pack(tmp_path, {"seeds": [4]})
    code, output = output_of(run(bundle, "--work", str(folder / "out-work")))
    assert code == 2
    assert "belongs to another bundle: choose another --work" in output


def with_experiment(plan, **changes):
    return replace(plan, experiments={"tiny": {**plan.experiments["tiny"], **changes}})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda plan: replace(plan, codes={**CODES, "training": "feed"}),
            r'tiny fold 0 seed 3: made otherwise .* \(code.training "0123", now "feed"\)',
        ),
        (
            lambda plan: with_experiment(
                plan, training={**EXPERIMENT["training"], "learning_rate": 0.5}
            ),
            r"\(training.learning_rate 0.01, now 0.5\)",
        ),
        (
            lambda plan: with_experiment(plan, weights="arrays/other.npy"),
            r'\(data.weights "arrays/\w+.npy", now "arrays/other.npy"\)',
        ),
        (
            lambda plan: with_experiment(plan, folds=["1"]),
            "tiny fold 0 seed 3: the configuration asks for no such training of small",
        ),
        (
            lambda plan: with_experiment(plan, methods={"u-net+d4": "d4"}),
            r"tiny fold 0 seed 3: holds no prediction u-net\+d4",
        ),
    ],
    ids=["code", "setting", "data", "fold", "method"],
)
def test_results_that_do_not_belong_are_refused_and_nothing_is_written(
    ran, tmp_path, change, complaint
):
    folder, plan, *_ = ran
    with pytest.raises(InputError, match=r"out\.zip: " + "(?s:.*)" + complaint):
        unpack_results(folder / "out.zip", change(plan), tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_another_training_in_the_place_is_not_overwritten(ran, tmp_path):
    folder, plan, *_ = ran
    there = tmp_path / "runs" / SECOND.folder / "run.json"
    there.parent.mkdir(parents=True)
    there.write_text("{}")
    with pytest.raises(InputError, match=r"run\.json: another training is there"):
        unpack_results(folder / "out.zip", plan, tmp_path)
    assert there.read_text() == "{}"
    assert not (tmp_path / "predictions").exists()


@pytest.fixture
def overlapping(ran, tmp_path):
    """Results in place, of which the second training came of another bundle that has it, too."""
    folder, plan, *_ = ran
    unpack_results(folder / "out.zip", plan, tmp_path)
    path = tmp_path / "runs" / SECOND.folder / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"train_seconds": 12345, "hardware": "another GPU"}))
    return path


def test_a_training_of_two_bundles_stays_as_it_came_first(ran, tmp_path, overlapping):
    folder, plan, *_ = ran
    before = overlapping.read_text()
    again = unpack_results(folder / "out.zip", plan, tmp_path)
    assert overlapping.read_text() == before
    first = unpack_results(folder / "out.zip", plan, tmp_path / "anew")
    expected = {path.relative_to(tmp_path / "anew") for path in first.placed}
    assert {path.relative_to(tmp_path) for path in again.placed} == expected


def test_a_training_of_two_bundles_must_have_all_predictions(ran, tmp_path, overlapping):
    folder, plan, *_ = ran
    path = next((tmp_path / "predictions" / SECOND.folder).glob("*/prediction.json"))
    path.unlink()
    with pytest.raises(InputError, match=r"prediction\.json: the same training is there without"):
        unpack_results(folder / "out.zip", plan, tmp_path)


@pytest.mark.parametrize("pattern", ["predictions/{}/*/prediction.json", "seams/{}/seam.json"])
def test_a_training_is_not_put_beside_maps_of_another(ran, tmp_path, overlapping, pattern):
    folder, plan, *_ = ran
    overlapping.unlink()
    path = next(tmp_path.glob(pattern.format(SECOND.folder)))
    path.write_text("{}")
    with pytest.raises(InputError, match=rf"{path.name}: of another training"):
        unpack_results(folder / "out.zip", plan, tmp_path)
    assert not overlapping.exists()


def test_the_same_content_makes_the_same_bundle(ran, tmp_path):
    folder, plan, *_ = ran
    bundle, again, _ = pack(tmp_path)
    assert bundle.read_bytes() == (folder / "tiny.zip").read_bytes()
    assert Plan.from_json(again.to_json(), "plan") == plan


def test_the_script_puts_results_beside_the_folder_of_bundles_and_lists_the_maps(ran, tmp_path):
    folder, plan, *_ = ran
    wanted, placed = tmp_path / "small.json", tmp_path / "results/bundle/small.placed.txt"
    wanted.write_text(plan.to_json())
    unbundle.main(folder / "out.zip", wanted, placed)
    maps = [p for n in ("probability.tif", "seam.json") for p in (tmp_path / "results").rglob(n)]
    assert set(placed.read_text().split()) == set(map(str, maps))
    assert (tmp_path / "results/runs" / SECOND.folder / "run.json").exists()


SMALL = {
    "experiments": {
        "demo": {
            "folds": ["0"],
            "network": {"width": 2},
            "training": {"steps": 4, "output_tile": 68, "warmup_steps": 1, "precision": "float32"},
            "prediction": {"precision": "float32"},
            "averaging": ["none", "d4"],
        }
    },
    "tables": {"demo": ["demo"]},
}
OVERLAYS = ("--configfile", "small.yaml", "changed.yaml")
TABLE = ("results/tables/demo.csv", "--cores", "1", *OVERLAYS)


def small_workflow(folder):
    folder.mkdir()
    copy_workflow(folder)
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    (folder / "changed.yaml").write_text("{}")
    return folder


def made(folder, *arguments):
    result = snakemake(folder, *arguments, **OFFLINE)
    assert result.returncode == 0, result.stdout[-5000:]
    return result.stdout


@pytest.fixture(scope="module")
def returned(tmp_path_factory):
    """Copy of the workflow to which the results of its bundle have come back."""
    place = tmp_path_factory.mktemp("returned")
    folder = small_workflow(place / "home")
    made(folder, "results/bundle/demo.zip", "--cores", "1", *OVERLAYS)
    there = place / "there"
    there.mkdir()
    bundle = there / "demo.zip"
    bundle.write_bytes((folder / "results/bundle/demo.zip").read_bytes())
    code, output = output_of(run(bundle))
    assert code == 0, output
    back = folder / "results/bundle/demo.results.zip"
    back.write_bytes((there / "out.zip").read_bytes())
    made(folder, "results/bundle/demo.placed.txt", "--cores", "1", *OVERLAYS)
    placed = (folder / "results/bundle/demo.placed.txt").read_text().split()
    touched = ("--touch", "--forcerun", "train", "predict", "seams", "--cores", "1")
    made(folder, *placed, *touched, *OVERLAYS)
    return folder


@pytest.mark.slow
def test_of_what_came_back_nothing_is_trained_or_predicted_again(returned):
    figures = [f"results/figures/demo/{name}.png" for name in ("overview", "seams", "segmentation")]
    for targets in (["results/tables/demo.csv"], figures):
        plan = made(returned, *targets, "-n", *OVERLAYS)
        assert "rule evaluate:" in plan
        for rule in ("train", "predict", "seams", "weight_maps", "canonical"):
            assert f"rule {rule}:" not in plan


@pytest.mark.slow
def test_a_setting_that_changes_later_repeats_what_came_back(returned):
    change = {"experiments": {"demo": {"training": {"learning_rate": 0.5}}}}
    (returned / "changed.yaml").write_text(yaml.safe_dump(change))
    try:
        plan = made(returned, "results/tables/demo.csv", "-n", *OVERLAYS)
    finally:
        (returned / "changed.yaml").write_text("{}")
    assert "rule train:" in plan
    assert "Params have changed since last execution" in plan


@pytest.mark.slow
def test_numbers_of_what_came_back_are_those_of_the_rules(returned, tmp_path):
    """Networks that have learnt nothing: their maps lie around a half, where a tenth decides."""
    rules = small_workflow(tmp_path / "rules")
    made(rules, *TABLE)
    made(returned, *TABLE)
    for method in ("u-net", "u-net+d4"):
        name = f"results/predictions/demo/fold-0/seed-0/{method}/metrics.json"
        found, expected = (json.loads((f / name).read_text()) for f in (returned, rules))
        for metric, value in expected["metrics"].items():
            assert found["metrics"][metric]["value"] == pytest.approx(value["value"], abs=1e-4)
        provenance = found["provenance"]
        for key in ("code", "hardware", "torch", "prediction_code", "evaluation_code"):
            assert provenance[key] == expected["provenance"][key]
        assert provenance["probability_rounding"] == ROUNDING
