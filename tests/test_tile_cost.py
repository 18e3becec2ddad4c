"""What updates of tiles and batches cost: arithmetic, measurement, table, figure, equal budgets."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import figure_tiles_or_batches
import numpy as np
import pytest
import tiles_or_batches as script
import yaml

from unetcore.errors import InputError
from unetcore.figures import tiles_or_batches
from unetcore.geometry import multiply_accumulates
from unetcore.recipes import PAPER
from unetcore.settings import OF_THE_WATCH, NetworkConfig, TrainConfig
from unetcore.tables import Measurement
from unetcore.tile_cost import COLUMNS, Grid, TileCost, csv_text, operations, read_costs
from unetcore.tile_timing import random_tiles, tile_costs

TINY = NetworkConfig(
    family="u-net", variant="figure1", width=2, depth=1, dropout=0.5, normalised=False,
    skip_connections=True, expansive_width=None,
)  # fmt: skip
TRAINING = TrainConfig(**{**PAPER.training, "precision": "float32"})


def cost(output_tile, batch, **changed):
    given = {"seconds": 0.5, "memory_bytes": 1e6, "computed": 300, "needed": 100.0}
    return TileCost("em", output_tile, batch, **(given | changed), provenance="width 2")


def test_operations_of_a_tile_derived_by_hand():
    # Depth 1, width 2, output 4 px: input 20, then 18 and 16; pooled 8, then 6 and 4; up 8, then
    # 6 and 4. Nine multiplications per pair of channels and pixel of a 3x3 convolution.
    contracting = 9 * (18**2 * 1 * 2 + 16**2 * 2 * 2)
    bottom = 9 * (6**2 * 2 * 4 + 4**2 * 4 * 4)
    up = 4 * 4**2 * 4 * 2
    expansive = 9 * (6**2 * 4 * 2 + 4**2 * 2 * 2)
    scores = 4**2 * 2 * 2
    computed, needed = operations(TINY, 4, batch=3)
    assert computed == 3 * (contracting + bottom + up + expansive + scores)
    # With no halo every pixel of a level is made once; the bottom has a quarter of the pixels.
    per_pixel = 9 * (2 + 4) + 9 * (8 + 16) / 4 + 4 * 4 * 2 / 4 + 9 * (8 + 4) + 4
    assert needed == 3 * 16 * per_pixel


def test_cost_by_output_pixel():
    one = cost(4, 5)
    assert one.pixels == 5 * 4 * 4
    assert one.seconds_per_pixel == 0.5 / 80
    assert one.memory_bytes_per_pixel == 1e6 / 80
    assert one.computed_per_needed == 3


@pytest.mark.parametrize(
    "changed", [{"family": "fcn"}, {"skip_connections": False}, {"expansive_width": 1}], ids=str
)
def test_network_whose_operations_are_not_counted_is_refused(changed):
    with pytest.raises(InputError, match=r"counted for the u-net of Fig\. 1"):
        operations(replace(TINY, **changed), 4, 1)


def test_tile_that_does_not_fit_the_network_is_refused():
    with pytest.raises(InputError, match="output tile of 5 px"):
        operations(TINY, 5, 1)


def test_csv_comes_back_as_it_was_and_has_a_row_per_update(tmp_path):
    costs = [cost(4, 1), cost(36, 16, seconds=0.125, memory_bytes=math.inf)]
    path = tmp_path / "em.csv"
    path.write_text(csv_text(costs))
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert read_costs(path) == costs


@pytest.mark.parametrize(
    ("text", "complaint"), [("tile,batch\n", "columns"), (",".join(COLUMNS) + "\n", "no row")]
)
def test_bad_table_of_costs_is_refused(tmp_path, text, complaint):
    (tmp_path / "em.csv").write_text(text)
    with pytest.raises(InputError, match=rf"em\.csv: {complaint}"):
        read_costs(tmp_path / "em.csv")


def test_random_tiles_are_a_batch_of_input_tiles_with_both_classes():
    training = replace(TRAINING, output_tile=20, batch=3)
    images, classes, weights = random_tiles(TINY, training, "cpu")
    assert images.shape == (3, 1, 36, 36)  # 8 px of halo at depth 1
    assert classes.shape == weights.shape == (3, 20, 20)
    assert classes.unique().tolist() == [0, 1]
    assert 0.5 <= weights.min() <= weights.max() < 1.5


@pytest.mark.slow
def test_a_grid_is_measured_and_what_takes_too_much_is_named(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="unetcore")
    path = tmp_path / "tiny.csv"
    grid = Grid(tiles=[4, 20, 4004], batches=[1, 2], repeats=1, memory_mb=100)
    script.main(
        path,
        experiment="tiny",
        network=TINY,
        training=TRAINING.decisive(),
        watch={name: getattr(TRAINING, name) for name in OF_THE_WATCH},
        grid=grid,
        device="cpu",
        code="c0de",
    )
    costs = read_costs(path)
    assert [(one.output_tile, one.batch) for one in costs] == [(4, 1), (4, 2), (20, 1), (20, 2)]
    measured = np.array([(one.seconds, one.memory_bytes) for one in costs])
    assert np.isfinite(measured).all()
    assert (measured > 0).all()
    for one in costs:
        assert (one.computed, one.needed) == operations(TINY, one.output_tile, one.batch)
        assert one.provenance.startswith("width 2; float32; ")
        assert "1 thread(s); torch " in one.provenance
        assert one.provenance.endswith("; 1 turn(s); code c0de")
    left_out = [record.getMessage() for record in caplog.records if "left out" in record.msg]
    assert [text.partition(": about")[0] for text in left_out] == [
        "left out: output tile 4004 px, batch 1",
        "left out: output tile 4004 px, batch 2",
    ]


def test_a_width_of_the_expansive_path_that_changes_nothing_is_measured_too():
    grid = Grid(tiles=[4], batches=[1], repeats=1, memory_mb=1000)
    network = replace(TINY, width=3, expansive_width=3)
    (measured,) = tile_costs("tiny", network, TRAINING, grid, device="cpu")
    assert measured.seconds > 0


def test_a_limit_below_every_update_is_refused():
    grid = Grid(tiles=[4], batches=[1], repeats=1, memory_mb=1)
    with pytest.raises(InputError, match="memory_mb 1: no update takes so little"):
        tile_costs("tiny", TINY, TRAINING, grid, device="cpu")


def settings(path):
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("study", "path", "width", "steps", "tolerance"),
    [
        ("em-tiles", "config.yaml", 64, 30000, 2e-5),
        ("em-cpu-tiles", "config/cpu.yaml", 8, 600, 2e-3),
    ],
)
def test_variants_of_the_study_compute_equally_much(study, path, width, steps, tolerance):
    """By update within a hundredth or so, as batches are whole; in all as near as steps allow."""
    paper = multiply_accumulates(572, 572, width)
    variants = settings(path)["studies"][study]["variants"]
    for name, change in variants.items():
        given = {"output_tile": 388, "batch": 1, "steps": steps} | change.get("training", {})
        tile, batch = given["output_tile"], given["batch"]
        assert name == f"{tile}x{batch}"
        one_tile = multiply_accumulates(tile + 184, tile + 184, width)
        assert batch == round(paper / one_tile)
        assert given["steps"] == round(steps * paper / (batch * one_tile))
        in_all = given["steps"] * batch * one_tile
        assert in_all == pytest.approx(steps * paper, rel=tolerance)
        # Three nodes span the input tile: displacements by the distance of nodes, as of 572 px.
        std = change.get("augmentation", {"displacement_std": 10})["displacement_std"]
        assert std / (tile + 183) == pytest.approx(10 / 571, rel=0.002)


def test_batches_of_equal_operations_at_the_papers_width():
    # 150.43, 51.21, 30.16 and 9.86 billion: 150.43 / 30.16 = 4.99, so five tiles of 132 px.
    billions = [multiply_accumulates(t + 184, t + 184) / 1e9 for t in (388, 196, 132, 36)]
    assert [round(b, 2) for b in billions] == [150.43, 51.21, 30.16, 9.86]
    assert [round(billions[0] / b, 2) for b in billions] == [1, 2.94, 4.99, 15.26]


COSTS = [
    cost(
        tile,
        batch,
        seconds=1e-3 * batch * tile,
        computed=batch * (tile + 184),
        needed=batch * 100.0,
    )
    for tile in (4, 196, 388)
    for batch in (1, 4)
]
VARIANTS = {"em-tiles-388x1": "388 px × 1", "em-tiles-132x5": "132 px × 5"}


def scored(experiment, seed, **values):
    return Measurement(experiment, "d", "4", "u-net", seed, "slices", values, {})


def lines_of(axes, gid):
    return [line for line in axes.lines if line.get_gid() == gid]


def titles(figure):
    return [axes.get_title(loc="left").split("  ")[-1] for axes in figure.axes]


def test_panels_show_time_memory_and_halo_by_tile_with_a_line_per_batch():
    figure = tiles_or_batches(COSTS, [], {}, "t", marked=388)
    assert titles(figure) == [
        "time per output pixel, µs",
        "memory per output pixel, kB",
        "operations computed / needed",
    ]
    time, memory, halo = figure.axes
    (one,) = lines_of(time, "batch 1")
    # 1e-3 tile / tile**2 seconds: 250, 1000 / 196 and 1000 / 388 microseconds.
    np.testing.assert_allclose(one.get_xydata(), [[t, 1000 / t] for t in (4, 196, 388)])
    (four,) = lines_of(memory, "batch 4")
    np.testing.assert_allclose(four.get_ydata(), [1000 / (4 * t * t) for t in (4, 196, 388)])
    (line,) = lines_of(halo, "halo")
    assert line.get_xdata().tolist() == [4, 196, 388]
    for axes in figure.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        (band,) = lines_of(axes, "marked")
        assert band.get_xdata()[0] == 388
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *("one tile", "batch of 4", "tile of the paper, 388 px")
    ]
    # Computed (t + 184) against 100 needed, whatever the batch.
    said = [text.get_text() for text in halo.texts if text.get_gid() == "ratio"]
    assert said == ["1.88", "3.8", "5.72"]


def test_scores_are_shown_where_they_are_given_with_a_point_per_seed_and_the_mean():
    measured = [
        scored("em-tiles-388x1", 0, rand_error=0.25, v_info=0.75),
        scored("em-tiles-388x1", 1, rand_error=0.5, v_info=0.875),
        scored("em-tiles-132x5", 0, rand_error=0.125, v_info=0.5),
    ]
    figure = tiles_or_batches(COSTS, measured, VARIANTS)
    assert titles(figure)[3:] == [
        "Rand error at equal computation ↓",
        "V_info at equal computation ↑",
    ]
    rand, info = figure.axes[3:]
    (points,) = lines_of(rand, "em-tiles-388x1")
    assert points.get_xydata().tolist() == [[0, 0.25], [0, 0.5]]
    (mean,) = lines_of(rand, "mean em-tiles-388x1")
    assert mean.get_xydata().tolist() == [[0, 0.375]]
    (mean,) = lines_of(info, "mean em-tiles-132x5")
    assert mean.get_xydata().tolist() == [[1, 0.5]]
    assert [tick.get_text() for tick in rand.get_xticklabels()] == list(VARIANTS.values())


def test_without_v_info_there_is_one_panel_of_scores():
    measured = [scored("em-tiles-388x1", 0, rand_error=0.25)]
    assert len(tiles_or_batches(COSTS, measured, VARIANTS).axes) == 4


def test_script_draws_from_a_file_to_a_file(tmp_path):
    table, figure = tmp_path / "em.csv", tmp_path / "f.svg"
    table.write_text(csv_text(COSTS))
    figure_tiles_or_batches.main(
        table, [], figure, title="t", variants={}, marked=388, memory_mb=100
    )
    assert "</svg>" in figure.read_text()
