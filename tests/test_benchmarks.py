"""The peers compute what we compute, the tables have the promised form, and goals are judged."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from scipy import ndimage

from benchmarks import __main__ as program
from benchmarks import images, page, peers, timing
from benchmarks.goals import Goal, read_goals, verdict, without_row
from benchmarks.settings import AUGMENTATION, NETWORK, TRAINING
from benchmarks.timing import Row
from unetcore.augment import elastic_basis
from unetcore.errors import InputError
from unetcore.metrics import seg
from unetcore.tiling import predict_tiled
from unetcore.weights import border_weight


def test_settings_are_the_defaults_of_the_configuration():
    defaults = yaml.safe_load(Path("config.yaml").read_text("utf-8"))["defaults"]
    assert asdict(NETWORK) == defaults["network"]
    assert asdict(AUGMENTATION) == defaults["augmentation"]
    assert asdict(TRAINING) == defaults["training"]


def test_border_weight_of_the_peer_is_ours():
    labels = images.discs(9, 96)
    assert labels.max() == 9
    np.testing.assert_allclose(border_weight(labels), peers.border_weight(labels), atol=1e-5)


def deformed_rows(deform, size, vectors):
    """Deform an image that is its own row number: the result is the field of row positions."""
    rows = np.broadcast_to(np.arange(size, dtype=np.float32)[:, None], (size, size)).copy()
    return deform(rows, rows, rows, vectors, halo=20)


def test_deformation_by_scipy_follows_our_field():
    size, vectors = 60, np.random.default_rng(0).normal(0, 2, (2, 3, 3))
    image, classes, weights = deformed_rows(peers.scipy_deformation, size, vectors)
    basis = elastic_basis(size, 3, "bicubic")
    expected = np.arange(size)[:, None] + basis @ vectors[0] @ basis.T
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(image[inner], expected[inner], atol=1e-4)
    np.testing.assert_allclose(weights, expected[inner], atol=1e-5)
    np.testing.assert_allclose(classes, expected[inner], atol=0.5 + 1e-5)


def test_deformation_by_opencv_moves_by_as_much():
    pytest.importorskip("cv2", reason="make bench installs OpenCV")
    vectors = np.zeros((2, 3, 3))
    vectors[0] = 2.5  # all nodes alike: every row comes from 2.5 px below
    image, classes, weights = deformed_rows(peers.opencv_deformation, 60, vectors)
    expected = np.broadcast_to(np.arange(60)[:, None] + 2.5, (60, 60))
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(image[inner], expected[inner], atol=0.05)
    np.testing.assert_allclose(weights, expected[inner], atol=0.05)
    np.testing.assert_allclose(classes, expected[inner], atol=0.55)


def test_seg_of_the_peer_is_ours(tmp_path):
    pytest.importorskip("ctc_metrics", reason="make bench installs py-ctcmetrics")
    rng = np.random.default_rng(0)
    reference = np.stack([ndimage.label(rng.random((30, 40)) > 0.5)[0] for _ in range(3)])
    segmentation = reference * (rng.random(reference.shape) > 0.3)
    files = []
    for name, stack in (("r", reference), ("s", segmentation)):
        files.append([tmp_path / f"{name}{z}.tif" for z in range(3)])
        for path, frame in zip(files[-1], stack.astype(np.uint16), strict=True):
            tifffile.imwrite(path, frame)
    assert peers.ctc_seg(*files) == pytest.approx(seg(reference, segmentation), abs=1e-12)


def test_windows_of_monai_cover_the_image():
    pytest.importorskip("monai", reason="make bench installs MONAI")
    scores = peers.MonaiPrediction(2, "cpu")(np.zeros((260, 300), np.float32))
    assert scores.shape == (2, 260, 300)
    assert np.isfinite(scores).all()


def test_tiles_side_by_side_are_those_of_the_image_where_the_network_has_no_phase():
    image = np.random.default_rng(0).normal(size=(70, 45)).astype(np.float32)

    def blur(tiles):  # no pooling: any step is seamless
        return ndimage.uniform_filter(tiles, (0, 0, 5, 5))[:, :, 92:-92, 92:-92]

    stitched = peers.stitch_by_own_side(image, blur, 20)
    np.testing.assert_allclose(stitched, predict_tiled(image, blur, 20), atol=1e-6)


def test_discs_do_not_touch():
    labels = images.discs(50, 256)
    assert ndimage.label(labels, np.ones((3, 3)))[1] == len(np.unique(labels)) - 1 == 50


def test_drawn_probability_resembles_its_labels():
    labels, probability = images.sections(1, 128)
    assert 0 <= probability.min() < probability.max() <= 1
    assert np.mean((probability > 0.5) == (labels > 0)) > 0.9


def test_ratio_says_how_many_times_better_we_are():
    calls = []
    named = {"p": lambda: calls.append("p"), "q": lambda: calls.append("q")}
    rows = timing.compare("x", lambda: calls.append("o"), named, repeats=2)
    assert "".join(calls) == "opqopqopq"  # in turns, the first round to warm up
    assert [row.peer_name for row in rows] == ["p", "q"]
    assert rows[0].ratio == pytest.approx(rows[0].peer / rows[0].ours)
    assert timing.smaller_is_better("x", 2.0, 6.0, unit="ms", peer_name="p").ratio == 3
    assert timing.smaller_is_better("x", 0.0, 6.0, unit="", peer_name="p").ratio == np.inf
    assert timing.larger_is_better("x", 2.0, 8.0, unit="GFLOP/s", peer_name="p").ratio == 0.25


def test_median_is_of_each_function_alone():
    times = iter([0, 1, 0, 10, 0, 3, 0, 30, 0, 2, 0, 20])
    functions = [lambda: None, lambda: None]
    clock = lambda: next(times)  # noqa: E731
    assert timing.medians(functions, repeats=3, warm_up=False, clock=clock) == [2, 20]


def row(ratio=2.0, ours=1.0):
    return Row("a, b", ours, 3.0, ratio, "ms", "obvious way")


@pytest.mark.parametrize(
    ("goal", "measured", "word"),
    [
        ({"column": "ratio", "at_least": 3, "floor": 1.5}, row(ratio=3), "reached"),
        ({"column": "ratio", "at_least": 3, "floor": 1.5}, row(ratio=2.9), "missed"),
        ({"column": "ratio", "at_least": 3, "floor": 1.5}, row(ratio=1.4), "FAILED"),
        ({"column": "ratio", "at_least": 3}, row(ratio=0.1), "missed"),
        ({"column": "ours", "at_most": 0, "floor": 0}, row(ours=0), "reached"),
        ({"column": "ours", "at_most": 0, "floor": 0}, row(ours=1e-9), "FAILED"),
    ],
)
def test_verdict(goal, measured, word):
    assert verdict(Goal("a, b", "obvious way", **goal), measured) == word


def test_every_goal_names_a_column_and_one_figure():
    goals = read_goals()
    assert len(goals) > 20
    for goal in goals.values():
        assert goal.column in ("ours", "ratio")
        assert (goal.at_least is None) != (goal.at_most is None)


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tables_are_written_and_printed(in_folder, monkeypatch, capsys):
    def some():
        """Something against something else."""
        return [row()]

    monkeypatch.setattr(program, "COMPARISONS", {"some": some})
    monkeypatch.setattr(program, "read_goals", dict)
    program.main([])
    with open("results/bench/some.csv", newline="") as file:
        (record,) = csv.DictReader(file)
    assert list(record) == ["name", "ours", "peer", "ratio", "unit", "peer_name"]
    assert (record["name"], float(record["ratio"])) == ("a, b", 2)
    assert page.read_csv(in_folder / "results/bench/some.csv") == [row()]
    assert "obvious way" in capsys.readouterr().out
    text = (in_folder / "docs/benchmarks.md").read_text()
    machine = json.loads((in_folder / "results/bench/machine.json").read_text())
    assert machine["date"] in text
    assert machine["hardware"] in text
    assert "## some\n\nSomething against something else.\n\n|" in text
    assert "| a, b | obvious way |   ms |    1 |      3 |     2 |" in text


def test_a_part_of_the_run_leaves_the_page_alone(in_folder, monkeypatch):
    monkeypatch.setattr(program, "COMPARISONS", {"some": lambda: [row()]})
    program.main(["some"])
    assert not (in_folder / "docs").exists()


def test_a_row_below_its_floor_fails_the_run(in_folder, monkeypatch):
    goal = Goal("a, b", "obvious way", "ratio", at_least=4, floor=2.5)
    monkeypatch.setattr(program, "COMPARISONS", {"some": lambda: [row()]})
    monkeypatch.setattr(program, "read_goals", lambda: {("a, b", "obvious way"): goal})
    with pytest.raises(SystemExit, match="below the floor: a, b"):
        program.main([])
    assert "FAILED" in (in_folder / "docs/benchmarks.md").read_text()


def test_unknown_comparison_is_named():
    with pytest.raises(SystemExit, match="speed: need some of all_metrics, rand"):
        program.main(["speed"])


def test_a_goal_without_a_row_fails_the_run(in_folder, monkeypatch):
    goal = Goal("renamed", "obvious way", "ratio", at_least=4)
    monkeypatch.setattr(program, "COMPARISONS", {"some": lambda: [row()]})
    monkeypatch.setattr(program, "read_goals", lambda: {("renamed", "obvious way"): goal})
    with pytest.raises(SystemExit, match=r"renamed \(no row\)"):
        program.main([])


def test_rows_in_bfloat16_are_missing_where_the_hardware_does_not_compute_in_it():
    names = ("fast, bfloat16", "fast, float32")
    goals = {(name, "p"): Goal(name, "p", "ratio", at_least=1) for name in names}
    assert without_row(goals, [], ["float32"]) == ["fast, float32"]
    assert without_row(goals, [], ["float32", "bfloat16"]) == ["fast, bfloat16", "fast, float32"]


def test_a_row_of_another_target_is_not_missing():
    goals = {
        (target, "p"): Goal(target, "p", "ours", at_most=1, target=target)
        for target in ("bench", "bench-training")
    }
    assert without_row(goals, [], []) == ["bench"]


def test_a_missed_row_is_explained_below_its_table(in_folder, monkeypatch):
    goal = Goal("a, b", "obvious way", "ratio", at_least=4, note="the reason.")
    monkeypatch.setattr(program, "COMPARISONS", {"some": lambda: [row()]})
    monkeypatch.setattr(program, "read_goals", lambda: {("a, b", "obvious way"): goal})
    program.main([])
    assert "- a, b: the reason." in (in_folder / "docs/benchmarks.md").read_text()


def test_a_missed_row_that_nothing_is_known_of_has_no_note():
    goal = Goal("a, b", "obvious way", "ratio", at_least=4)
    table = page.judged([row()], {("a, b", "obvious way"): goal})
    assert table.splitlines()[-1].endswith("| ratio ≥ 4 | missed |")


def test_what_stands_beside_the_marks_of_a_page_is_kept(tmp_path):
    path = tmp_path / "some.md"
    text = "A\n<!-- x: begin -->\nold\n<!-- x: end -->\nB"
    path.write_text(text)
    page.put_between(path, "x", "new")
    assert path.read_text() == text.replace("old", "\nnew\n")
    page.put_between(path, "x", "newer")
    assert path.read_text() == text.replace("old", "\nnewer\n")


def test_what_was_measured_is_printed_and_written(tmp_path, capsys):
    path = tmp_path / "some.md"
    path.write_text("<!-- measured: begin --><!-- measured: end -->")
    page.write_measured(path, "two cores", "| a table |")
    assert capsys.readouterr().out == "two cores\n\n| a table |\n"
    assert "\n\ntwo cores\n\n| a table |\n\n" in path.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- x: begin --><!-- x: end -->" * 2,
        "<!-- x: end --><!-- x: end -->",
        "<!-- x: end --><!-- x: begin -->",
    ],
)
def test_a_page_without_its_marks_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "some.md"
    with pytest.raises(InputError, match=r"some\.md: no such page$"):
        page.put_between(path, "x", "new")
    path.write_text(text)
    with pytest.raises(
        InputError, match=r"some\.md: expected <!-- x: begin --> and then <!-- x: e"
    ):
        page.put_between(path, "x", "new")
    assert path.read_text() == text
