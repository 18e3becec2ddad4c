"""The contract of docs/determinism.md: what changes no byte, and how the rest is measured."""

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from training_cases import (
    AUGMENTATION,
    FAST,
    NETWORK,
    PAPER,
    changed,
    new_network,
    random_arrays,
    weights_of,
)

from benchmarks import determinism as bench
from benchmarks.determinism import Difference
from benchmarks.page import around
from benchmarks.ways_to_train import (
    AVX2,
    MUST_AGREE,
    ON_CPU,
    ON_GPU,
    OTHER_SEED,
    RECIPES,
    REFERENCE,
    RESUMED,
    Sizes,
    Way,
    settings_of,
)
from unetcore.checkpoint import save_model
from unetcore.errors import Interrupted
from unetcore.predict import Predictor, predict_probability
from unetcore.recipes import FAST as RECIPE_FAST
from unetcore.settings import OF_THE_WATCH
from unetcore.train import TrainingData, _environment, _Training, train

ROOT = Path(__file__).resolve().parents[1]
KINDS = {
    "sgd": PAPER,
    "adamw": FAST,
    "adamw, two parts": changed(FAST, batch=2, accumulate=2),
}


class Looks:
    """Stands in the place of a validation, and does something after each step."""

    def __init__(self, act):
        self.act = act

    def __call__(self, network, step):
        self.act(network, step)

    def rewind(self, step):
        pass


def digest(training=PAPER, **rest):
    """SHA-256 of the tensors that a training makes, with their names and types."""
    given = {"network": NETWORK, "augmentation": AUGMENTATION, "seed": 0, "device": "cpu"}
    network, _ = train(TrainingData(*random_arrays()), training=training, **given | rest)
    return digest_of(network)


def digest_of(network):
    found = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


@pytest.fixture(params=KINDS)
def training(request):
    return KINDS[request.param]


def draw(network, step):
    """What a careless look at the network draws from every generator."""
    random.random()
    np.random.random()  # noqa: NPY002
    torch.rand(step)


def seed_all(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def change_last_digit(network):
    """Take the next float for one weight."""
    with torch.no_grad():
        weight = next(network.parameters()).view(-1)[:1]
        weight.copy_(torch.nextafter(weight, weight + 1))


def test_digest_sees_the_last_digit_of_one_weight():
    network = new_network()
    before = digest_of(network)
    assert digest_of(new_network()) == before
    change_last_digit(network)
    assert digest_of(network) != before


def test_same_training_again(training):
    assert digest(training) == digest(training)
    assert digest(training) != digest(training, seed=1)


def test_resumed_after_any_step(training, tmp_path):
    expected = digest(training)
    told = changed(training, log_every=1)
    for stop in range(1, training.steps):

        def ask(row, stop=stop):
            if row.step == stop:
                os.kill(os.getpid(), signal.SIGTERM)

        folder = tmp_path / str(stop)
        with pytest.raises(Interrupted, match=f"stopped at step {stop} of"):
            digest(told, states=folder, report=ask)
        assert digest(told, states=folder) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"log_every": 1},
        {"log_every": 7},
        {"checkpoint_every": 1},
        {"checkpoint_minutes": 1e-9},
        {"validate_every": 1},
        {"validate_every": 4, "log_every": 3, "checkpoint_every": 2},
    ],
)
def test_how_it_is_watched_and_kept(training, tmp_path, changes):
    watched = changed(training, **changes)
    assert digest(watched, states=tmp_path, validate=Looks(draw)) == digest(training)
    assert set(changes) <= set(OF_THE_WATCH)


def test_global_seeds_of_the_caller(training):
    found = set()
    for seed in (1, 2):
        seed_all(seed)
        found.add(digest(training))
    assert len(found) == 1


PROGRAM = """
import sys
import torch
sys.path[:0] = sys.argv[1:]
torch.set_num_threads(1)
from test_determinism import KINDS, digest
print(*map(digest, KINDS.values()))
"""


def test_two_processes_at_once_with_other_hashes():
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(ROOT), str(ROOT / "tests")],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    expected = [digest(training) for training in KINDS.values()]
    assert [process.communicate(timeout=600)[0].split() for process in started] == 2 * [expected]


def test_a_look_that_changes_the_last_digit_of_a_weight_would_be_noticed(training):
    def act(network, step):
        if step == 5:
            change_last_digit(network)

    watched = changed(training, validate_every=1)
    assert digest(watched, validate=Looks(act)) != digest(training)


def tile_of_the_global_generator(self, step, number):
    return self.augmenter(np.random.default_rng(random.getrandbits(32))), step


def drop_out_of_the_global_generator(self, step, number):
    return self.augmenter(np.random.default_rng(step)), random.getrandbits(32)


@pytest.mark.parametrize("wrong", [tile_of_the_global_generator, drop_out_of_the_global_generator])
def test_a_step_that_draws_from_a_global_generator_would_be_noticed(monkeypatch, wrong):
    monkeypatch.setattr(_Training, "_tile", wrong)
    found = []
    for seed in (1, 1, 2):
        seed_all(seed)
        found.append(digest())
    assert found[0] == found[1] != found[2]
    seed_all(1)
    watched = changed(PAPER, validate_every=1)
    assert digest(watched, validate=Looks(draw)) != found[0]


def test_the_contract_names_its_tests_and_settings():
    text = bench.PAGE.read_text("utf-8")
    cited = re.findall(r"`(test_\w+\.py)`:\s+`(test_\w+)`", text)
    assert len(cited) >= 8
    for file, name in cited:
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text("utf-8"), name
    for name in (*OF_THE_WATCH, *_environment(torch.device("cpu"))):
        assert f"`{name}`" in text, name


TINY = Sizes(
    steps=(1, 2, 4), interrupted_after=2, width=2, depth=1, output_tile=20, side=96, held_out=1
)


@pytest.mark.slow
def test_measured_in_processes_of_their_own():
    ways = (
        Way(REFERENCE),
        *(way for way in ON_CPU if way.name in MUST_AGREE),
        Way("torch", compiled=False),
        Way("AVX2", variables=AVX2),
        Way(OTHER_SEED, seed=1),
    )
    again, resumed, by_torch, avx2, seed = bench.measure(ways, "paper", TINY)[0]
    for each in (again, resumed):
        assert each.same_bytes == (True, True, True)
        assert each.weights == (0, 0, 0)
        assert (each.probability, each.flipped, each.rand_error, each.prediction) == (0, 0, 0, 0)
    assert by_torch.prediction == seed.prediction == 0  # the network and its use are the same
    assert max(by_torch.weights + avx2.weights) < 1e-4
    assert not any(by_torch.same_bytes)
    assert min(seed.weights) > 0.1


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_is_itself_only_smaller_and_shorter(recipe):
    whole = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))["defaults"]
    if recipe == "fast":
        whole |= RECIPE_FAST.sections("mask")
    small = settings_of(recipe, TINY)
    for name in ("augmentation", "weight_map"):
        assert small[name] == whole[name]
    for name, smaller in {
        "network": {"width", "depth"},
        "training": {"steps", "warmup_steps", "output_tile", "precision", "validate_every"},
    }.items():
        changes = {key for key in whole[name] if small[name][key] != whole[name][key]}
        assert changes <= smaller
        assert small[name].keys() == whole[name].keys()


def found(probability, weight, file, rand_error, prediction):
    """What came of a training, after steps 1 and 2; the first is as good as the other's."""
    weights = [np.float32([1, 2]), np.float32([1, weight])]
    maps = np.float32(probability), rand_error, np.float32(prediction)
    return bench._Found([b"1", file], weights, *maps)


def test_difference_by_hand():
    one = found([0.25, 0.5, 0.75, 1], 2, b"a", 0.5, [0.5, 0.5])
    other = found([0.375, 0.375, 0.375, 1], 2.25, b"b", 0.25, [0.5, 0.75])
    expected = Difference("b", (0, 0.25), (True, False), 0.375, 0.5, -0.25, 0.25)
    assert bench._difference("b", one, other, 0.4) == expected
    same = Difference("a", (0, 0), (True, True), 0, 0, 0, 0)
    assert bench._difference("a", one, one, 0.4) == same


def test_reference_is_judged_at_its_best_threshold():
    """Above 0.3 are all four white pixels and one other; above 0.4 only three of them."""
    labels = np.array([[[1, 1, 1, 1, 0, 0, 0, 0]]])
    probability = np.float32([[[0.9, 0.9, 0.9, 0.35, 0.6, 0.25, 0.25, 0.25]]])
    judged = bench._reference(found(probability, 2, b"a", 0.125, [0]), labels)
    assert judged.threshold == pytest.approx(0.3)
    assert (judged.wrong, judged.rand_error) == (1 / 8, 0.125)


def test_what_a_process_left(tmp_path):
    for step in TINY.steps:
        save_model(tmp_path / f"{step}.safetensors", new_network(step), {})
    np.save(tmp_path / "prediction.npy", np.ones(3))
    images, labels = np.zeros((2, 30, 30), np.float32), np.ones((2, 30, 30), int)
    left = bench._found(tmp_path, TINY, images, labels)
    for step, file, row in zip(TINY.steps, left.files, left.weights, strict=True):
        assert file == (tmp_path / f"{step}.safetensors").read_bytes()
        np.testing.assert_array_equal(row, weights_of(new_network(step)))
    np.testing.assert_array_equal(left.prediction, np.ones(3))
    expected = predict_probability(images[0], Predictor(new_network(4).eval(), device="cpu"))
    np.testing.assert_array_equal(left.probability, [expected, expected])
    assert left.rand_error == 0  # all is one cell, and so is a map above 0


DIFFERENCES = [
    Difference(RESUMED, (0, 0), (True, False), 0, 0, 0, 0),
    Difference("b", (1e-9, 0.25), (False, False), 0.5, 0.125, -0.03125, 1e-7),
    Difference(OTHER_SEED, (0.5, 0.5), (False, False), 1, 0.25, 0.5, 0),
]


def test_table_by_hand():
    lines = bench.table(DIFFERENCES, Sizes(steps=(1, 20))).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0][1:3] == ["weights, step 1", "weights, step 20"]
    # Weights that differ in the sign of a zero only are not the same bytes.
    assert cells[2][1:] == ["identical", "0.0e+00", "identical", "none", "same", "identical"]
    assert cells[3][1:] == ["1.0e-09", "2.5e-01", "5.0e-01", "12.50%", "-0.0312", "1.0e-07"]


def test_rows_by_hand():
    resumed, b = bench._shares("sgd", DIFFERENCES)
    assert (resumed.ours, resumed.peer) == (0, 25)
    assert (b.ours, b.peer, b.ratio) == (12.5, 25, 2)
    assert bench._promise("sgd", DIFFERENCES).ours == 1  # of the two models of the resumed one


@pytest.mark.parametrize("ways", [ON_CPU, ON_GPU])
def test_every_way_is_measured_against_the_first_and_the_last_is_another_seed(ways):
    names = [way.name for way in ways]
    assert len(set(names)) == len(names)
    assert (names[0], names[-1]) == (REFERENCE, OTHER_SEED)
    assert set(MUST_AGREE) < set(names)
    assert all(way.against in names[:k] for k, way in enumerate(ways) if k)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_page_has_a_place_for_the_numbers_of_each_device(device):
    before, after = around(bench.PAGE, name := f"measured on a {device}")
    assert before.endswith(f"<!-- {name}: begin -->")
    assert after.startswith(f"<!-- {name}: end -->")
