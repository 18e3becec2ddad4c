import json

import figure_overview
import figure_seams
import figure_segmentation
import figure_weight_map
import numpy as np
import pytest

from unetcore import figures
from unetcore.data.frames import Frame, write_frames
from unetcore.data.io import write_stack
from unetcore.errors import InputError
from unetcore.figures import (
    Example,
    Loss,
    colour_instances,
    compared_plans,
    loss_curves,
    match_cells,
    overview,
    save,
    seams,
    segmentation,
    tile_plan,
    weight_map,
)
from unetcore.figures.curves import smooth
from unetcore.metrics import warping_error
from unetcore.tiling import NaivePlan, plan_tiles, several_tiles
from unetcore.training_log import HeldOut, History

PLAIN = Loss("weighted-mean", 0)


def history(losses, rates=None):
    steps = 20.0 * np.arange(1, len(losses) + 1)
    return History(steps, np.array(losses), np.array(rates or [1e-3] * len(losses)))


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def rectangles(axes, gid):
    return [patch.get_bbox() for patch in axes.patches if patch.get_gid() == gid]


def example(labels, probability, instances=None):
    image = np.linspace(0, 255, labels.size).reshape(labels.shape).astype(np.uint8)
    return Example("f-0", 0, image, labels, probability, 0.5, instances)


def two_cells(membrane):
    """Label of two cells side by side, and a probability whose membrane is as given."""
    labels = np.full((24, 25), 255, np.uint8)
    labels[:, 12] = 0
    probability = np.where(labels > 0, 1.0, 0.0)
    probability[:, 12] = membrane
    return labels, probability


def test_one_curve_per_training_colour_by_fold_and_dash_by_seed():
    histories = {(f, s): history([0.7, 0.5, 0.4]) for f in ("0", "1") for s in (0, 1)}
    (axes,) = loss_curves(histories, PLAIN).axes
    curves = {c.get_label(): c for c in axes.lines if not c.get_label().startswith("_")}
    assert list(curves) == [f"fold {f}, seed {s}" for f in "01" for s in (0, 1)]
    assert curves["fold 0, seed 0"].get_color() == curves["fold 0, seed 1"].get_color()
    assert curves["fold 0, seed 0"].get_color() != curves["fold 1, seed 0"].get_color()
    assert curves["fold 0, seed 0"].get_linestyle() != curves["fold 0, seed 1"].get_linestyle()
    assert axes.get_yscale() == "log"


def test_legend_names_folds_and_seeds_apart_where_there_are_several_of_both():
    runs = [(fold, seed) for fold in "01" for seed in (0, 1, 2)]
    figure = loss_curves({run: history([0.5, 0.4]) for run in runs}, PLAIN)
    assert legend_texts(figure)[:5] == ["fold 0", "fold 1", "seed 0", "seed 1", "seed 2"]
    figure = loss_curves({("0", seed): history([0.5, 0.4]) for seed in (0, 1)}, PLAIN)
    assert legend_texts(figure)[:2] == ["fold 0, seed 0", "fold 0, seed 1"]


def test_trainings_without_a_course_are_counted_and_not_drawn():
    runs = {("0", 0): history([0.5, 0.4]), ("0", 1): history([]), ("0", 2): history([0.3])}
    figure = loss_curves(runs, PLAIN)
    lines = [line.get_label() for line in figure.axes[0].get_lines()]
    assert [label for label in lines if not label.startswith("_")] == ["fold 0, seed 0"]
    assert "not drawn: 2 with too\nfew losses on record" in legend_texts(figure)
    assert "not drawn" not in "".join(legend_texts(loss_curves(dict([*runs.items()][:1]), PLAIN)))


def test_a_long_title_does_not_run_into_the_legend():
    figure = loss_curves({("0", 0): history([0.5, 0.4])}, PLAIN, "many words " * 8)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert not figure._suptitle.get_window_extent().overlaps(legend.get_window_extent())


def test_smoothing_is_a_geometric_mean_in_which_a_loss_counts_by_its_steps():
    losses, steps = np.array([1.0, 0.5, 2.0, 4.0]), np.array([10, 20, 30, 32])
    counts = [10, 10, 10, 2]
    expected = []
    for i in range(4):
        weights = [counts[j] * np.exp(-((i - j) ** 2) / 2) for j in range(4)]
        expected.append(np.exp(np.average(np.log(losses), weights=weights)))
    np.testing.assert_allclose(smooth(losses, steps), expected, rtol=1e-12)


def test_logged_losses_are_drawn_as_they_are_and_constants_stay_under_smoothing():
    (axes,) = loss_curves({("0", 0): history([0.5] * 40)}, PLAIN).axes
    logged, smoothed = axes.lines[:2]
    assert logged.get_ydata().tolist() == [0.5] * 40
    np.testing.assert_allclose(smoothed.get_ydata(), 0.5)


def test_a_drop_of_the_learning_rate_is_marked_at_its_first_step():
    curve = history([0.5, 0.4, 0.3, 0.2], [1e-3, 1e-3, 1e-4, 1e-4])
    figure = loss_curves({("0", 0): curve}, PLAIN)
    (drop,) = [line for line in figure.axes[0].lines if line.get_label() == "_drop"]
    assert drop.get_xdata()[0] == 60
    assert "learning rate drops" in legend_texts(figure)


def test_the_end_of_a_cosine_is_no_drop():
    rates = [1e-3 * (1 + np.cos(np.pi * k / 6)) / 2 for k in range(7)]  # the last ones: 67e-6, 0
    figure = loss_curves({("0", 0): history([0.5] * 7, rates)}, PLAIN)
    assert not [line for line in figure.axes[0].lines if line.get_label() == "_drop"]
    assert "learning rate drops" not in legend_texts(figure)


@pytest.mark.parametrize(
    ("loss", "said", "undecided"),
    [
        (PLAIN, "weighted cross entropy", [np.log(2)]),
        (Loss("weighted-mean", 1.0), "weighted cross entropy + Dice", []),
        (Loss("sum", 0), "weighted cross entropy (sum)", []),
        (Loss("mean", 0.5), "weighted cross entropy (mean) + 0.5 Dice", []),
    ],
    ids=str,
)
def test_the_axis_says_what_the_loss_is_and_ln_2_is_marked_where_it_is_that_of_1_2(
    loss, said, undecided
):
    figure = loss_curves({("0", 0): history([0.5, 0.4])}, loss)
    (axes,) = figure.axes
    assert axes.get_ylabel() == said
    marked = [line.get_ydata()[0] for line in axes.lines if line.get_label() == "_undecided"]
    assert marked == undecided
    assert ("undecided network, ln 2" in legend_texts(figure)) == bool(undecided)


def held_out(**values):
    steps = 40.0 * np.arange(1, 1 + len(next(iter(values.values()))))
    return HeldOut(steps, {name: np.array(value) for name, value in values.items()})


def titles(figure):
    return [axes.get_title(loc="left").split("  ")[-1] for axes in figure.axes]


def test_held_out_values_have_a_panel_each_with_a_dot_at_the_best():
    values = {"loss": [0.6, 0.2, 0.4], "warping_error": [0.1, 0.001, 0.0001], "seg": [0, 0.9, 0.5]}
    figure = loss_curves({("0", 0): history([0.5] * 6)}, PLAIN, "t", {("0", 0): held_out(**values)})
    assert titles(figure) == [
        "augmented training tiles",
        "cross entropy ↓",
        "warping error ↓",
        "SEG ↑",
    ]
    for axes, name, best in zip(figure.axes[1:], values, (80, 120, 80), strict=True):
        curve, dot = axes.lines
        assert curve.get_ydata().tolist() == values[name]
        assert (dot.get_xdata(), dot.get_ydata()) == (best, values[name][int(best) // 40 - 1])
        assert axes.get_xlim() == figure.axes[0].get_xlim()
    assert [axes.get_yscale() for axes in figure.axes[1:]] == ["linear", "log", "linear"]


def test_an_error_of_0_is_shown():
    found = held_out(loss=[0.5, 0.5], rand_error=[0.5, 0.0])
    panel = loss_curves({("0", 0): history([0.5])}, PLAIN, "t", {("0", 0): found}).axes[2]
    assert panel.get_yscale() == "linear"
    assert panel.get_ylim()[0] <= 0


def test_trainings_keep_their_looks_in_all_panels_and_those_without_values_are_left_out():
    runs = [(fold, seed) for fold in "01" for seed in (0, 1)]
    measured = {run: held_out(loss=[0.5, 0.4]) for run in reversed(runs[:3])}
    measured[runs[3]] = HeldOut(np.array([]), {"loss": np.array([])})
    figure = loss_curves({run: history([0.5, 0.4]) for run in runs}, PLAIN, "t", measured)
    upper, lower = figure.axes
    known = {line.get_label(): line for line in upper.lines}
    shown = lower.lines[::2]  # each is followed by its dot
    assert len(shown) == 3
    for line, (fold, seed) in zip(shown, reversed(runs[:3]), strict=True):
        other = known[f"fold {fold}, seed {seed}"]
        assert line.get_color() == other.get_color()
        assert line.get_linestyle() == other.get_linestyle()


def test_without_held_out_values_there_is_one_panel_under_the_title():
    unmeasured = {("0", 0): HeldOut(np.array([]), {"loss": np.array([])})}
    figure = loss_curves({("0", 0): history([0.5])}, PLAIN, "title", unmeasured)
    assert len(figure.axes) == 1
    assert figure.get_suptitle() == "title"


@pytest.mark.parametrize(
    ("shape", "tile"), [((256, 256), None), ((100, 180), 68), ((40, 40), 4 + 16)]
)
def test_every_tile_of_the_plan_is_drawn_where_it_is(shape, tile):
    plan = plan_tiles(shape, tile)
    figure = tile_plan(np.zeros(shape, np.uint8), [plan, plan])
    for axes in figure.axes:
        drawn = rectangles(axes, "output")
        assert len(drawn) == len(plan)
        # Pixel k reaches from k - 0.5 to k + 0.5.
        expected = [(t.column - 0.5, t.row - 0.5, t.width, t.height) for t in plan]
        assert [box.bounds for box in drawn] == expected


def test_input_tile_is_larger_by_the_halo_and_the_margin_is_all_there():
    plan = plan_tiles((100, 100), 100)
    axes = tile_plan(np.zeros((100, 100)), [plan, plan]).axes[0]
    (box,) = rectangles(axes, "input")
    assert box.bounds == (-92.5, -92.5, 284, 284)
    assert axes.get_xlim() == (-92.5, 191.5)
    assert axes.get_ylim() == (191.5, -92.5)


def test_margin_is_the_mirrored_image():
    image = np.arange(100.0)[None] * np.ones((100, 1))  # grey value = column
    plan = plan_tiles(image.shape, 100)
    shown = tile_plan(image, [plan, plan]).axes[0].images[0].get_array()
    # Column -1 mirrors column 1 and column 100 mirrors column 98, without repeating the edge.
    assert shown[0, 92 - 1] == shown[0, 92 + 1]
    assert shown[0, 92 + 100] == shown[0, 92 + 98]


def test_compared_plan_has_three_tiles_a_side():
    used, compared = compared_plans(plan_tiles((512, 512)))
    assert (len(used), len(compared)) == (1, 9)


def seams_of(ways, shape=(70, 90), side=36):
    plans = plan_tiles(shape, side), NaivePlan(shape, (side, side))
    return seams(np.zeros(shape), ways, plans)


def panel(figure, letter):
    (found,) = [axes for axes in figure.axes if f"{{{letter}}}" in axes.get_title(loc="left")]
    return found


def test_borders_of_both_plans_are_drawn_at_their_steps():
    figure = seams_of(np.zeros((3, 70, 90)))
    for letter, step in (("b", 32), ("e", 32), ("c", 36), ("f", 36)):
        lines = [line for line in panel(figure, letter).lines if line.get_gid() == "border"]
        at = {float(v) for line in lines for v in (*line.get_xdata(), *line.get_ydata())} - {0, 1}
        assert at == {step - 0.5, 2 * step - 0.5}
    assert "step 32 = 2 × 16" in panel(figure, "b").get_title(loc="left")
    assert "step 36 = 2 × 16 + 4" in panel(figure, "c").get_title(loc="left")


def test_differences_and_flipped_labels_are_those_of_each_plan():
    ways = np.full((3, 70, 90), 0.4)
    ways[2, 50:, 60:] = 0.65
    ways[2, 0, :3] = 0.45
    figure = seams_of(ways)
    assert panel(figure, "e").get_xlabel() == "largest difference 0; 0 labels flip (0.00%)"
    # 20 rows x 30 columns of 70 x 90 px
    assert panel(figure, "f").get_xlabel() == "largest difference 0.25; 600 labels flip (9.52%)"
    shown = panel(figure, "f").images[0].get_array()
    np.testing.assert_allclose(shown[0, :4], [0.05, 0.05, 0.05, 1e-5])


@pytest.mark.parametrize(
    ("shape", "tile", "side"),
    [((512, 512), 388, 388), ((256, 200), 260, 132), ((256, 256), 196, 196), ((30, 40), 388, 20)],
)
def test_seams_are_shown_with_several_tiles(shape, tile, side):
    assert several_tiles(shape, tile) == side
    assert len(NaivePlan(shape, (side, side))) > 1


def test_a_gap_in_the_membrane_is_a_merger():
    membrane = np.zeros(24)
    membrane[10:13] = 1
    figure = segmentation(example(*two_cells(membrane)))
    assert legend_texts(figure)[1:] == ["split: 0 places, 0 px", "merger: 1 place, 3 px"]


def test_rings_are_where_the_warping_error_has_its_places():
    labels, probability = two_cells(0)
    probability[[4, 15, 16, 17], 12] = 1
    figure = segmentation(example(labels, probability))
    lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    places = warping_error(labels, probability, thresholds=[0.5]).mergers.largest
    assert len(places) == 2
    ringed = set(map(tuple, lines["_merger"].get_xydata()))
    assert ringed == {(place.x, place.y) for place in places} == {(12, 4), (12, 16)}
    assert lines["_split"].get_xydata().size == 0


def test_a_line_through_a_cell_is_a_split():
    labels, probability = two_cells(0)
    probability[12, :12] = 0
    texts = legend_texts(segmentation(example(labels, probability)))
    assert texts[1].startswith("split: 1 place,")
    assert texts[2] == "merger: 0 places, 0 px"


def test_cells_are_found_merged_missed_and_segments_wrong():
    labels = np.array([[1, 1, 2, 2, 0, 3, 3, 4, 4, 4, 0]])
    segments = np.array([[7, 7, 7, 7, 8, 9, 0, 5, 5, 0, 0]])
    matches = match_cells(labels, segments)
    assert (matches.found, matches.merged, matches.missed) == ([4], [1, 2], [3])  # 3: just a half
    assert (matches.merging, matches.wrong) == ([7], [8, 9])


def test_cell_figure_counts_in_its_legend():
    labels = np.zeros((20, 20), np.uint16)
    labels[2:8, 2:8], labels[12:18, 12:18] = 1, 2
    found = np.where(labels == 1, 5, 0).astype(np.uint16)
    texts = legend_texts(segmentation(example(labels, np.full((20, 20), 0.5), found)))
    assert set(texts) >= {"found: 1 cell", "merged: 0 cells", "missed: 1 cell"}


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_have_different_colours(seed):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 60, (12, 2))
    grid = np.stack(np.mgrid[:60, :60], axis=-1)
    labels = 1 + np.argmin(np.linalg.norm(grid[:, :, None] - centres, axis=-1), axis=-1)
    coloured = colour_instances(labels)
    colour_of = {}
    for label in np.unique(labels):
        inner = coloured[labels == label]
        colours, counts = np.unique(inner, axis=0, return_counts=True)
        colour_of[label] = tuple(colours[counts.argmax()])
    across = np.stack([labels[:, :-1], labels[:, 1:]])[:, labels[:, :-1] != labels[:, 1:]]
    for a, b in np.unique(across, axis=1).T:
        assert colour_of[a] != colour_of[b]


def test_background_is_dark_in_a_picture_and_clear_in_an_overlay():
    labels = np.array([[0, 0, 3]])
    np.testing.assert_allclose(colour_instances(labels)[0, 0], [0.15, 0.15, 0.15, 1])
    assert colour_instances(labels, alpha=0.5)[0, :, 3].tolist() == [0, 0, 0.5]


def test_weight_map_shows_components_of_a_mask_and_a_bar_from_zero():
    labels, _ = two_cells(0)
    weights = np.where(labels > 0, 0.5, 9.0)
    figure = weight_map(labels, labels, labels, weights)
    assert [axes.get_title(loc="left").split("  ")[1] for axes in figure.axes[:4]] == [
        "image",
        "cells, as labelled",
        "segmentation mask",
        "loss weight $w(x)$",
    ]
    overlay = figure.axes[1].images[1].get_array()
    assert not np.array_equal(overlay[5, 3], overlay[5, 20])  # two components, two colours
    assert figure.axes[3].images[0].get_clim() == (0, 9)


def test_overview_has_five_panels():
    labels, probability = two_cells(0)
    assert len(overview(example(labels, probability), np.ones(labels.shape)).axes) == 5


def test_equal_figures_make_equal_files(tmp_path):
    for name in ("a.svg", "b.svg", "a.png", "b.png"):
        save(loss_curves({("0", 0): history([0.7, 0.5])}, PLAIN, "title"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.fixture
def prediction(tmp_path):
    """Files of a dataset of three frames, of which the last two were predicted."""
    labels, probability = two_cells(0)
    frames = [
        Frame(k, f"f-{k}", "s", labelled=True, partial=k == 1, split="train") for k in range(3)
    ]
    write_frames(tmp_path / "frames.csv", frames)
    write_stack(tmp_path / "images.tif", np.stack([labels // (k + 1) for k in range(3)]))
    write_stack(tmp_path / "labels.tif", np.stack([labels] * 3))
    write_stack(tmp_path / "weights.tif", np.ones((3, *labels.shape), np.float32))
    write_stack(tmp_path / "probability.tif", np.stack([probability] * 2).astype(np.float32))
    metrics = {"frames": ["f-1", "f-2"], "metrics": {"warping_error": {"threshold": 0.2}}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path


def paths(folder, *names):
    return [folder / name for name in names]


DATASET = ("images.tif", "labels.tif", "frames.csv")
PREDICTION = ("probability.tif", "metrics.json")


def test_example_is_the_first_complete_frame_at_the_best_threshold(prediction):
    read = figures.read_example(*paths(prediction, *DATASET, *PREDICTION))
    assert (read.id, read.page, read.threshold) == ("f-2", 2, 0.2)
    assert read.image.max() == 255 // 3


def test_prediction_of_other_frames_is_refused(prediction):
    (prediction / "metrics.json").write_text('{"frames": ["f-1"], "metrics": {}}')
    with pytest.raises(InputError, match="2 pages for the 1 frames"):
        figures.read_example(*paths(prediction, *DATASET, *PREDICTION))


def test_scripts_draw_from_files(prediction):
    out = prediction / "figure.png"
    dataset, predicted = paths(prediction, *DATASET), paths(prediction, *PREDICTION)
    weights = prediction / "weights.tif"
    three_ways = prediction / "three_ways.tif"
    write_stack(three_ways, np.full((3, 24, 25), 0.5, np.float32))
    figure_seams.main(prediction / "images.tif", three_ways, out, tile=20, depth=4, title="t")
    figure_segmentation.main(*dataset, *predicted, None, out, title="t")
    figure_overview.main(*dataset, weights, *predicted, None, out)
    figure_weight_map.main(*dataset, prediction / "labels.tif", weights, out, title="t")
    assert out.read_bytes().startswith(b"\x89PNG")
