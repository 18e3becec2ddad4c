"""Validation: values by hand, a training that it leaves alone, what it keeps and takes up again."""

import csv
import errno
import math
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from unetcore import geometry, validation
from unetcore.errors import InputError
from unetcore.evaluate import OF_MEMBRANES, evaluate
from unetcore.model import UNet, initialise
from unetcore.predict import Predictor, predict_probability
from unetcore.tables import MEASURES
from unetcore.validation import Validation, ValidationRow

SHAPE = (36, 40)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(seed=0, channels=1):
    """Network in the middle of its training: training mode, gradients present."""
    net = UNet(in_channels=channels, width=2, depth=1, dropout=0.5, variant="figure1")
    initialise(net, torch.Generator().manual_seed(seed))
    return net.train()


def constant(score):
    """Network that scores every pixel 0 for the background and `score` for the interior."""
    net = network()
    last = list(net.modules())[-1]
    assert isinstance(last, torch.nn.Conv2d)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, score]))
    return net


def slices(seed=0, n=2, channels=None):
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 1, (n, *([channels] if channels else []), *SHAPE)).astype(np.float32)
    labels = (rng.uniform(0, 1, (n, *SHAPE)) < 0.7).astype(np.uint8) * 255
    return {
        "images": images,
        "labels": labels,
        "classes": (labels > 0).astype(np.uint8),
        "weights": rng.uniform(0.2, 5, (n, *SHAPE)).astype(np.float32),
    }


def watch(folder, data=None, **changes):
    how = {
        "metrics": ["rand_error", "pixel_error"],
        "postprocessing": None,
        "path": folder / "validation.csv",
        "precision": "float32",
    }
    return Validation(**(data or slices()), **(how | changes))


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_loss_and_pixel_error_of_a_constant_network_by_hand(tmp_path):
    # p = 3/4 everywhere: a pixel of the interior costs ln 4/3, one of the background ln 4.
    data = slices()
    data["classes"][:] = 1
    data["classes"][0, 0, :2] = 0
    data["weights"][:] = 1
    data["weights"][0, 0, :2] = 100, 0.5
    data["labels"] = np.where(data["classes"] == 1, 255, 0)
    row = watch(tmp_path, data, metrics=["pixel_error"])(constant(math.log(3)), 7)
    n = 2 * 36 * 40
    energy = 100.5 * math.log(4) + (n - 2) * math.log(4 / 3)
    assert row.loss == pytest.approx(energy / (n - 2 + 100.5), rel=1e-6)
    # All is white below 3/4: recall 1, precision (n - 2) / n.
    precision = (n - 2) / n
    assert row.metrics["pixel_error"] == pytest.approx(1 - 2 * precision / (1 + precision))
    assert row.step == 7
    assert row.seconds > 0


def test_loss_of_a_sure_and_wrong_network_is_finite(tmp_path):
    data = slices()
    data["classes"][:] = 0  # exp(1000) would overflow, and 1 - p is 0
    assert watch(tmp_path, data)(constant(1000.0), 1).loss == pytest.approx(1000, rel=1e-6)


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("seed", range(3))
def test_loss_equals_that_of_the_mirrored_image_as_a_whole(tmp_path, seed, channels):
    data, net = slices(seed, channels=channels), network(seed, channels or 1)
    found = watch(tmp_path, data)(net, 1).loss
    halo = geometry.halo(1)
    energy = 0.0
    for image, classes, weights in zip(
        data["images"], data["classes"], data["weights"], strict=True
    ):
        image = image if channels else image[None]
        mirrored = np.pad(image, [(0, 0), (halo, halo), (halo, halo)], mode="reflect")
        with torch.no_grad():
            scores = net.eval()(torch.as_tensor(mirrored)[None]).double()
        cost = functional.cross_entropy(
            scores, torch.as_tensor(classes)[None].long(), reduction="none"
        )
        energy += float((cost[0].numpy() * weights).sum())
    assert found == pytest.approx(energy / data["weights"].sum(dtype=float), rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_metrics_and_picture_are_those_of_the_prediction(tmp_path, precision):
    data, net, board = slices(n=3), network(), FakeBoard()
    row = watch(tmp_path, data, metrics=OF_MEMBRANES, precision=precision, board=board)(net, 5)
    predictor = Predictor(net.eval(), precision)
    probability = np.stack([predict_probability(image, predictor) for image in data["images"]])
    expected = evaluate(OF_MEMBRANES, data["labels"], probability)
    assert row.metrics == {name: expected[name]["value"] for name in OF_MEMBRANES}
    ((step, values, picture),) = board.validations
    assert (step, values) == (5, {"loss": row.loss, **row.metrics})
    grey, middle, right = np.split(picture, 3, axis=1)
    np.testing.assert_array_equal(middle, np.round(255 * probability[0]))
    np.testing.assert_array_equal(right, data["labels"][0])
    first = data["images"][0]
    assert (grey.min(), grey.max()) == (0, 255)
    assert grey[np.unravel_index(first.argmax(), SHAPE)] == 255


class FakeBoard:
    """Keeps what a board is told."""

    def __init__(self):
        self.validations, self.rewound = [], []

    def add_validation(self, step, values, picture):
        self.validations.append((step, dict(values), picture))

    def rewind(self, step):
        self.rewound.append(step)


def train_a_little(validate):
    """A training whose drop-out draws from the global generators; its weights, byte for byte."""
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    net = network()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.99)
    image = torch.linspace(-1, 1, 36 * 36).reshape(1, 1, 36, 36)
    for step in range(1, 5):
        optimiser.zero_grad()
        net(image + torch.randn(1)).square().mean().backward()
        optimiser.step()
        validate(net, step)
    return b"".join(p.detach().numpy().tobytes() for p in net.parameters())


def state_of_everything(net):
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "modes": [module.training for module in net.modules()],
        "weights": [p.detach().numpy().tobytes() for p in net.parameters()],
        "gradients": [p.grad.numpy().tobytes() for p in net.parameters()],
        "strides": [p.stride() for p in net.parameters()],
        "places": [p.data_ptr() for p in net.parameters()],
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_that_is_validated_ends_with_the_same_bytes(tmp_path, precision):
    watched = watch(tmp_path, metrics=OF_MEMBRANES, precision=precision)

    def validate(net, step):
        before = state_of_everything(net)
        watched(net, step)
        assert state_of_everything(net) == before

    assert train_a_little(validate) == train_a_little(lambda net, step: None)
    assert [row.step for row in watched.rows] == [1, 2, 3, 4]


def test_parts_of_a_network_keep_their_own_modes(tmp_path):
    net = network()
    frozen = next(module for module in net.modules() if isinstance(module, torch.nn.Dropout))
    frozen.eval()
    watch(tmp_path)(net, 1)
    assert net.training
    assert not frozen.training


def test_file_has_every_row_to_the_last_digit(tmp_path):
    watched = watch(tmp_path)
    for step in (10, 20):
        watched(network(step), step)
    header, *rows = rows_of(tmp_path / "validation.csv")
    assert header == ["step", "seconds", "loss", "rand_error", "pixel_error"]
    expected = [[row.step, row.seconds, *row.values.values()] for row in watched.rows]
    assert [[float(value) for value in row] for row in rows] == expected


def test_a_measured_step_is_not_measured_again(tmp_path):
    row = watch(tmp_path)(network(), 10)
    again = watch(tmp_path)
    again.rewind(10)
    assert again.rows == [row]
    assert again(None, 10) == row  # no network is needed


@pytest.mark.parametrize(
    ("step", "kept"), [(0, []), (9, []), (10, [10]), (25, [10, 20]), (40, [10, 20, 30])]
)
def test_a_training_that_falls_back_forgets_what_came_later(tmp_path, step, kept):
    first = watch(tmp_path)
    for done in (10, 20, 30):
        first(constant(done / 10), done)
    board = FakeBoard()
    resumed = watch(tmp_path, board=board)
    resumed.rewind(step)
    assert resumed.rows == first.rows[: len(kept)]
    assert [int(row[0]) for row in rows_of(tmp_path / "validation.csv")[1:]] == kept
    assert board.rewound == [step]


def test_rows_of_another_training_are_not_taken_up_without_a_rewind(tmp_path):
    watch(tmp_path)(network(), 10)
    other = watch(tmp_path)
    assert other.rows == []
    other(network(1), 5)
    assert [row[0] for row in rows_of(tmp_path / "validation.csv")] == ["step", "5"]


def test_steps_that_go_back_are_a_bug(tmp_path):
    watched = watch(tmp_path)
    watched(network(), 20)
    with pytest.raises(ValueError, match="step 10 comes after step 20: rewind first") as caught:
        watched(network(), 10)
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"step,seconds,loss,seg\n10,1,0.5,0.5\n",
        b"step,seconds,loss,rand_error,pixel_error\n10,1,0.5,0.5\n",
        b"step,seconds,loss,rand_error,pixel_error\n10,1,much,0.5,0.5\n",
        b"\xff\xfe\x00",
    ],
    ids=["empty", "other metrics", "short row", "word", "binary"],
)
def test_a_damaged_file_costs_the_earlier_rows_and_no_more(tmp_path, caplog, content):
    (tmp_path / "validation.csv").write_bytes(content)
    watched = watch(tmp_path)
    watched.rewind(10)
    assert watched.rows == []
    assert "validation.csv: earlier measurements are lost (" in caplog.text
    watched(network(), 20)
    assert len(rows_of(tmp_path / "validation.csv")) == 2


def test_a_missing_file_is_no_trouble(tmp_path, caplog):
    watched = watch(tmp_path)
    watched.rewind(10)  # of a training that was not validated until now
    assert watched.rows == []
    assert caplog.text == ""


def test_a_full_disk_costs_no_measurement(tmp_path, caplog, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    watched = watch(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        watched(network(), 10)
    assert "validation.csv: not written, no space left on the disk" in caplog.text
    assert not (tmp_path / "validation.csv").exists()
    watched(network(), 20)
    assert [row[0] for row in rows_of(tmp_path / "validation.csv")] == ["step", "10", "20"]


def test_another_trouble_of_the_file_is_not_hidden(tmp_path):
    (tmp_path / "validation.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        watch(tmp_path)(network(), 10)


def filled(folder, **changes):
    """Validation of three steps, of which the second is best but in V_rand."""
    watched = watch(folder, metrics=["rand_error", "v_rand"], **changes)
    watched.rows = [
        ValidationRow(10, 1.0, 0.6, {"rand_error": 0.4, "v_rand": 0.9}),
        ValidationRow(20, 1.0, 0.3, {"rand_error": 0.1, "v_rand": 0.8}),
        ValidationRow(30, 1.0, 0.3, {"rand_error": 0.2, "v_rand": 0.9}),
    ]
    return watched


def test_best_is_the_least_error_or_the_highest_score_and_the_first_of_equals(tmp_path):
    watched = filled(tmp_path)
    best = {name: watched.best(name).step for name in ("loss", "rand_error", "v_rand")}
    assert best == {"loss": 20, "rand_error": 20, "v_rand": 10}


def test_the_best_is_where_the_tables_point():
    rising = [name for name, measure in MEASURES.items() if measure.arrow == "↑"]
    assert tuple(rising) == validation.HIGHEST_IS_BEST


def test_summary_tells_the_best_and_the_last(tmp_path):
    assert filled(tmp_path).summary() == {
        "slices": 2,
        "last": {"step": 30, "loss": 0.3, "rand_error": 0.2, "v_rand": 0.9},
        "best": {
            "loss": {"step": 20, "value": 0.3},
            "rand_error": {"step": 20, "value": 0.1},
            "v_rand": {"step": 10, "value": 0.9},
        },
    }
    assert watch(tmp_path).summary() == {"slices": 2, "last": {}, "best": {}}


def test_report_has_a_line_for_every_value(tmp_path, caplog):
    caplog.set_level("INFO")
    watch(tmp_path).report()
    assert caplog.messages == []
    filled(tmp_path).report()
    assert caplog.messages == [
        "held-out images: loss 0.3 at the end, 0 is best; it was never better",
        "held-out images: rand error 0.2 at the end, 0 is best; it was 0.1 after step 20",
        "held-out images: v rand 0.9 at the end, 1 is best; it was never better",
    ]


def test_every_measurement_is_logged(tmp_path, caplog):
    caplog.set_level("INFO")
    row = watch(tmp_path)(network(), 10)
    (line,) = caplog.messages
    assert line.startswith(
        f"step 10, held-out images: loss {row.loss:.4g}, "
        f"rand_error {row.metrics['rand_error']:.4g}, pixel_error "
    )


def cells():
    """Two squares of 12 x 12 px and their slices; a network sees them as they are."""
    labels = np.zeros((1, *SHAPE), np.uint16)
    labels[0, 2:14, 2:14], labels[0, 20:32, 20:32] = 1, 2
    data = {
        "images": labels.astype(np.float32),
        "labels": labels,
        "classes": (labels > 0).astype(np.uint8),
        "weights": np.ones(labels.shape, np.float32),
    }
    return data


@pytest.mark.parametrize(("smallest", "iou"), [(0, 0.5), (72, 0)])  # px, not more are removed
def test_cells_are_parted_as_by_the_postprocessing(tmp_path, monkeypatch, smallest, iou):
    # The upper half of each cell is found, 72 of 144 px; then one more row of the first.
    found = np.zeros(SHAPE)
    found[2:8, 2:14] = found[20:26, 20:32] = 1
    scores = np.stack((np.zeros(SHAPE), 20 * found - 10)).astype(np.float32)
    monkeypatch.setattr(validation, "predict_tiled", lambda image, predictor: scores)
    settings = {"threshold": 0.5, "smallest_object": smallest}
    watched = watch(tmp_path, cells(), metrics=["seg", "iou"], postprocessing=settings)
    # Half of a cell is not more than half of it: no match, although half of the pixels agree.
    assert watched(network(), 1).metrics == {"seg": 0.0, "iou": iou}
    found[8, 2:14] = 1
    scores[1] = 20 * found - 10
    second = watched(network(), 2).metrics["seg"]
    assert second == pytest.approx((84 / 144) / 2)


def test_report_says_where_cells_are_cut_out(tmp_path, caplog):
    settings = {"threshold": 0.4, "smallest_object": 0}
    watched = watch(tmp_path, cells(), metrics=["seg"], postprocessing=settings)
    watched.rows = [ValidationRow(10, 1.0, 0.5, {"seg": 0.75})]
    caplog.set_level("INFO")
    watched.report()
    assert caplog.messages == [
        "held-out images: loss 0.5 at the end, 0 is best; it was never better",
        "held-out images: seg 0.75 at the end (cells above 0.4), 1 is best; it was never better",
    ]


def test_frames_with_missing_labels_do_not_count_in_the_iou(tmp_path, monkeypatch):
    one = cells()
    data = {name: np.concatenate([array, array]) for name, array in one.items()}
    pages = iter([one["labels"][0] > 0, np.ones(SHAPE, bool)])
    monkeypatch.setattr(
        validation,
        "predict_tiled",
        lambda image, predictor: np.stack((np.zeros(SHAPE), 20.0 * next(pages) - 10)),
    )
    settings = {"threshold": 0.5, "smallest_object": 0}
    watched = watch(
        tmp_path, data, metrics=["iou"], postprocessing=settings, complete=[True, False]
    )
    assert watched(network(), 1).metrics["iou"] == 1


def test_scores_that_are_not_finite_stop_the_training(tmp_path):
    watched = watch(tmp_path)
    with pytest.raises(FloatingPointError, match="step 3, held-out slice 0: network output is not"):
        watched(constant(math.nan), 3)
    assert watched.rows == []


def changed(name, change):
    data = slices()
    data[name] = change(data[name])
    return data


@pytest.mark.parametrize(
    ("data", "how", "complaint"),
    [
        ({k: v[:0] for k, v in slices().items()}, {}, "no held-out slices"),
        (changed("classes", lambda a: a[:, 1:]), {}, r"classes \(2, 35, 40\), weights .* the same"),
        (changed("images", lambda a: a * np.nan), {}, "held-out images: hold NaN"),
        (changed("weights", lambda a: 0 * a), {}, "held-out slices: every pixel is ignored"),
        (changed("weights", lambda a: -a), {}, "weights of the held-out slices: -"),
        (changed("labels", lambda a: a - 0.5), {}, "labels of the held-out slices"),
        (slices(), {"metrics": ["dice"]}, "metric 'dice': need one of"),
        (slices(), {"metrics": ["seg"]}, "metric 'seg' compares cells"),
        (
            changed("labels", np.zeros_like),
            {"metrics": ["seg"], "postprocessing": {"smallest_object": 0}},
            "labels of the held-out slices: holds no object",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_the_training(tmp_path, data, how, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        watch(tmp_path, data, **how)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


WITHOUT = """
import sys
class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{package}":
            raise ModuleNotFoundError("No module named " + name, name=name)
sys.meta_path.insert(0, Refusal())
import numpy as np
from unetcore.errors import InputError
from unetcore.validation import Validation
ones = np.ones((1, 8, 8))
try:
    Validation(ones, ones, ones, ones, metrics=[], postprocessing=None, path=".", precision="auto")
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("package", ["scipy", "numba"])
def test_a_missing_package_is_named(package):
    code = WITHOUT.format(package=package)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = f"validation needs the package {package}: install it, or set validate_every: 0\n"
    assert said.stdout == expected
