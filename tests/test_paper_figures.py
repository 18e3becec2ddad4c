"""Figures 1 to 4 of the paper, and the strip of tiles: what is drawn is what runs."""

import json
from itertools import combinations

import architecture as architecture_script
import figure_1
import figure_2
import figure_4
import numpy as np
import pytest
import torch
from matplotlib.text import Annotation

from unetcore.architecture import trace_architecture
from unetcore.data.frames import Frame, write_frames
from unetcore.data.io import write_stack
from unetcore.errors import InputError
from unetcore.families import build_network
from unetcore.figures import (
    Example,
    architecture,
    cell_results,
    overlap_tile,
    plan_of_several_tiles,
    read_example,
    tiling,
)
from unetcore.geometry import skip_margin
from unetcore.operations import COPY, UP, read_architecture, write_architecture
from unetcore.recipes import PAPER
from unetcore.settings import NetworkConfig
from unetcore.tiling import TilePlan, plan_tiles

# Fig. 1 of the paper, as printed: sides and channels from left to right. A copy and the
# up-convolution beside it are counted together.
PRINTED_SIDES = [
    *(572, 570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28),
    *(56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388, 388),
]
PRINTED_CHANNELS = [
    *(1, 64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024),
    *(1024, 512, 512, 512, 256, 256, 256, 128, 128, 128, 64, 64, 2),
]
PRINTED_LEGEND = {"conv 3×3, ReLU", "max pool 2×2", "up-conv 2×2", "copy and crop", "conv 1×1"}


def network(**changes):
    return NetworkConfig(**{**PAPER.network, **changes})


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def texts(axes, gid):
    return [text.get_text() for text in axes.texts if text.get_gid() == gid]


def boxes(axes, *gids):
    return [patch.get_bbox() for patch in axes.patches if patch.get_gid() in gids]


def titles(figure):
    return [axes.get_title(loc="left").split("  ")[-1] for axes in figure.axes]


def test_the_network_on_a_tile_of_572_px_is_that_of_the_papers_figure_1():
    traced = trace_architecture(network(), 388)
    made = [operation.side for operation in traced.operations if operation.kind != COPY]
    assert [traced.side, *made] == PRINTED_SIDES
    assert (traced.n_convolutions, traced.parameters) == (23, 31_030_658)
    copies = [operation for operation in traced.operations if operation.kind == COPY]
    # From 64 to 56 px, 136 to 104, 280 to 200, 568 to 392; channels of the contracting path.
    assert [(c.given, c.side, c.margin, c.channels) for c in copies] == [
        (64, 56, 4, 512),
        (136, 104, 16, 256),
        (280, 200, 40, 128),
        (568, 392, 88, 64),
    ]


@pytest.mark.parametrize(
    ("depth", "width", "changes"),
    [
        (1, 3, {}),
        (2, 4, {"normalised": True}),
        (3, 2, {"skip_connections": False}),
        (3, 6, {"expansive_width": 2}),
        (4, 2, {"variant": "release"}),
        (5, 2, {}),
    ],
)
def test_operations_are_those_of_the_network_that_a_training_builds(depth, width, changes):
    config = network(depth=depth, width=width, **changes)
    traced = trace_architecture(config, 4 + 2**depth)
    built = build_network(config).eval()
    scores = built(torch.zeros(1, 1, traced.side, traced.side))
    last = traced.operations[-1]
    assert (1, last.channels, last.side, last.side) == tuple(scores.shape)
    assert traced.parameters == sum(parameter.numel() for parameter in built.parameters())
    assert traced.n_convolutions == 5 * depth + 3  # five per level, two at the bottom, the scores
    margins = [o.margin for o in traced.operations if o.kind == COPY]
    copied = reversed(range(depth)) if config.skip_connections else []
    assert margins == [skip_margin(level, depth) for level in copied]


def test_what_the_release_does_otherwise_is_noted():
    traced = trace_architecture(network(variant="release"), 388)
    ups = [operation for operation in traced.operations if operation.kind == UP]
    assert [up.channels for up in ups] == [512, 256, 128, 128]
    assert {up.name for up in ups} == {"up-conv 2×2, ReLU"}
    assert traced.parameters == 31_100_354


def test_a_normalisation_belongs_to_its_convolution():
    plain, normalised = (
        trace_architecture(network(width=4, normalised=n), 20).operations[0] for n in (False, True)
    )
    assert normalised.name == "conv 3×3, normalisation, ReLU"
    # 4 kernels of 9 weights; 4 biases, or 4 scales and 4 shifts.
    assert (plain.parameters, normalised.parameters) == (40, 44)


def test_another_family_and_a_tile_that_does_not_fit_are_refused():
    with pytest.raises(InputError, match=r"network of family fcn: Fig\. 1 shows a u-net"):
        trace_architecture(network(family="fcn"), 388)
    with pytest.raises(InputError, match="the nearest are 388 and 404"):
        trace_architecture(network(), 390)


def test_an_architecture_is_read_as_it_was_written(tmp_path):
    traced = trace_architecture(network(width=2, depth=2), 20)
    path = tmp_path / "architecture.json"
    write_architecture(path, traced)
    read = read_architecture(path)
    assert (read.side, read.channels) == (traced.side, traced.channels)
    assert [o.name for o in read.operations] == [o.name for o in traced.operations]
    assert read.parameters == traced.parameters


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"operations": [{"kind": "conv"}]}'])
def test_another_file_is_no_architecture(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"other\.json: not an architecture"):
        read_architecture(path)


def test_figure_1_says_what_the_papers_says():
    figure = architecture(trace_architecture(network(), 388))
    (axes,) = figure.axes
    assert texts(axes, "side") == [f"{side}²" for side in PRINTED_SIDES]
    assert texts(axes, "channels") == [str(channels) for channels in PRINTED_CHANNELS]
    assert set(legend_texts(figure)) == {*PRINTED_LEGEND, "part that is copied"}
    assert axes.get_title(loc="left").startswith("23 convolutional layers, 31,030,658 parameters")


def test_the_dashed_part_of_a_map_is_what_is_copied():
    (axes,) = architecture(trace_architecture(network(), 388)).axes
    parts, copies = boxes(axes, "part"), boxes(axes, COPY)
    assert len(parts) == len(copies) == 4
    convolved = boxes(axes, "conv")
    for part, (side, of) in zip(parts, [(56, 64), (104, 136), (200, 280), (392, 568)], strict=True):
        (whole,) = [box for box in convolved if box.contains(part.x0, part.y0)]
        assert part.height / whole.height == pytest.approx(side / of)
        assert part.y0 + part.y1 == pytest.approx(whole.y0 + whole.y1)


@pytest.mark.parametrize("depth", range(1, 7))
@pytest.mark.parametrize("changes", [{}, {"skip_connections": False}, {"expansive_width": 1}])
def test_no_box_lies_over_another_and_arrows_up_and_down_are_upright(depth, changes):
    traced = trace_architecture(network(depth=depth, width=16, **changes), 4 + 2**depth)
    (axes,) = architecture(traced).axes
    drawn = boxes(axes, "input", *{operation.kind for operation in traced.operations})
    assert len(drawn) == 1 + len(traced.operations)
    for a, b in combinations(drawn, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(wide, high) < 1e-9
    arrows = [text for text in axes.texts if isinstance(text, Annotation)]
    assert len(arrows) == len(traced.operations)
    for arrow in arrows:
        (x, y), (to_x, to_y) = arrow.xyann, arrow.xy
        upright = "pool" in arrow.get_gid() or "up-conv" in arrow.get_gid()
        assert (x, y)[0 if upright else 1] == pytest.approx((to_x, to_y)[0 if upright else 1])


def test_without_copies_the_legend_has_none():
    figure = architecture(trace_architecture(network(width=2, skip_connections=False), 20))
    assert set(legend_texts(figure)) == PRINTED_LEGEND - {COPY}


@pytest.fixture
def slice_256():
    """Noise of 256 x 256 px with a probability."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (256, 256)).astype(np.uint8), rng.random((256, 256))


SINGLE = TilePlan((256, 256), (260, 260), crops=True)


def test_a_plan_of_one_tile_gives_way_to_one_of_several():
    shown = plan_of_several_tiles(SINGLE)
    assert (shown.tile, len(shown)) == ((100, 100), 9)
    several = plan_tiles((256, 256), 68)
    assert plan_of_several_tiles(several) is several


def test_figure_2_shows_the_input_of_the_first_tile_and_says_that_another_plan_is_in_use(slice_256):
    figure = overlap_tile(*slice_256, SINGLE)
    left, right = figure.axes
    said = "9 output tiles of 100 × 100 px (in use: one of 260 × 260)"
    assert titles(figure) == [said, "segmentation, probability > 0.5"]
    assert [box.bounds for box in boxes(left, "input")] == [(-92.5, -92.5, 284, 284)]
    assert [box.bounds for box in boxes(left, "output")] == [
        (96 * j - 0.5, 96 * i - 0.5, 100, 100) for i in range(3) for j in range(3)
    ]
    for axes in (left, right):
        assert [box.bounds for box in boxes(axes, "shown")] == [(-0.5, -0.5, 100, 100)]
    assert left.get_xlim() == right.get_xlim() == (-92.5, 2 * 96 + 100 + 92 - 0.5)
    np.testing.assert_array_equal(right.images[0].get_array(), slice_256[1] > 0.5)


def test_figure_2_of_the_plan_in_use_names_no_other(slice_256):
    figure = overlap_tile(*slice_256, plan_tiles((256, 256), 132))
    assert titles(figure)[0] == "4 output tiles of 132 × 132 px"


def test_the_strip_has_the_sizes_of_the_plan(slice_256):
    figure = tiling(*slice_256, SINGLE)
    assert titles(figure) == [
        "slice: 256 × 256 px",
        "mirrored around: 476 × 476 px",  # 92 px, two steps of 96, a tile of 100, 92 px
        "9 output tiles: 100 × 100 px each",
        "input of tile 1: 284 × 284 px",
        "output of tile 1: 100 × 100 px",
        "stitched: 256 × 256 px",
    ]
    explained = [axes.get_xlabel() for axes in figure.axes]
    assert explained[2].endswith("6 × 16 px")
    assert explained[4] == "92 px less per side: no convolution is padded"
    assert "tile 1 fills 96 × 96 px" in explained[5]
    assert [t.get_text() for t in figure.axes[4].texts if t.get_text()] == ["92 px", "92 px"]
    assert [text.get_text() for text in figure.axes[2].texts] == list("123456789")


def test_the_strip_shows_what_the_network_gets_and_what_it_makes(slice_256):
    image, probability = slice_256
    _, _, _, given, made, stitched = tiling(image, probability, SINGLE).axes
    mirrored = np.pad(image, 92, mode="reflect")
    np.testing.assert_array_equal(given.images[0].get_array(), mirrored[:284, :284])
    np.testing.assert_array_equal(made.images[0].get_array(), probability[:100, :100])
    np.testing.assert_array_equal(stitched.images[0].get_array(), probability)
    assert given.images[0].get_extent() == [-92.5, 191.5, 191.5, -92.5]
    assert made.images[0].get_extent() == [-0.5, 99.5, 99.5, -0.5]
    assert made.get_xlim() == given.get_xlim() == (-92.5, 191.5)


@pytest.mark.parametrize(
    ("shape", "tile", "crops"),
    [((256, 256), 100, False), ((70, 180), 68, True), ((50, 300), 36, True)],
)
def test_tiles_fill_each_pixel_of_the_slice_once(shape, tile, crops):
    plan = TilePlan(shape, (tile, tile), crops=crops)
    figure = tiling(np.zeros(shape), np.full(shape, 0.5), plan)
    count = np.zeros(shape, int)
    for box in boxes(figure.axes[5], "filled"):
        (left, top), (right, bottom) = (np.array(box.get_points()) + 0.5).astype(int)
        count[top:bottom, left:right] += 1
    assert (count == 1).all()
    computed = plan.output_shape(next(iter(plan)))
    assert titles(figure)[4] == f"output of tile 1: {computed[0]} × {computed[1]} px"
    assert ("only what it fills" in figure.axes[4].get_xlabel()) == crops


def cells(seg=0.75):
    """Two reference cells that are one segment, and one that is a segment of its own."""
    labels = np.zeros((20, 30), np.uint16)
    labels[2:8, 2:8], labels[2:8, 9:15], labels[12:18, 4:10] = 1, 2, 7
    segments = np.zeros_like(labels)
    segments[2:8, 2:15], segments[12:18, 4:10] = 1, 2
    return Example("f-0", 0, labels % 5, labels, labels / 7, 0.5, segments, seg)


def test_figure_4_has_a_border_per_reference_cell_and_a_colour_per_segment():
    figure = cell_results(["a", "b"], [cells(), cells(None)])
    assert titles(figure) == ["a, f-0", "result, SEG of the fold 0.7500", "b, f-0", "result"]
    result = figure.axes[1]
    assert len(result.collections) == 3
    overlay = result.images[1].get_array()
    assert overlay[5, 5].tolist() == overlay[5, 12].tolist() != overlay[15, 5].tolist()
    assert overlay[0, 0, 3] == 0


@pytest.fixture
def files(tmp_path):
    """Files of a dataset of two frames of cells and of their prediction."""
    example = cells()
    frames = [Frame(k, f"f-{k}", "s", labelled=True, partial=False, split="train") for k in (0, 1)]
    write_frames(tmp_path / "frames.csv", frames)
    for name, page in (
        ("images.tif", example.image.astype(np.uint8)),
        ("labels.tif", example.labels),
        ("probability.tif", example.probability.astype(np.float32)),
        ("segmentation.tif", example.instances),
    ):
        write_stack(tmp_path / name, np.stack([page] * 2))
    metrics = {"frames": ["f-0", "f-1"], "metrics": {"seg": {"value": 0.25}}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "prediction.json").write_text('{"plan": {"tile": [20, 36], "crops": true}}')
    return tmp_path


def paths(folder, *names):
    return [folder / name for name in names]


STACKS = ("images.tif", "labels.tif", "frames.csv", "probability.tif")


def test_seg_of_the_fold_is_read_with_the_example(files):
    read = read_example(*paths(files, *STACKS, "metrics.json", "segmentation.tif"))
    assert read.seg == 0.25


def test_scripts_draw_from_files(files):
    png, svg, traced = paths(files, "figure.png", "figure.svg", "architecture.json")
    architecture_script.main(traced, network=network(width=2, depth=1), output_tile=8)
    figure_1.main(traced, svg, title="t")
    assert "</svg>" in svg.read_text()
    steps, predicted = files / "steps.png", paths(files, "prediction.json", "metrics.json")
    figure_2.main(*paths(files, *STACKS), *predicted, png, steps, depth=4, title="t")
    assert steps.read_bytes().startswith(b"\x89PNG")
    one = [[path] for path in paths(files, *STACKS, "metrics.json", "segmentation.tif")]
    figure_4.main(*one, png, datasets=["a"])
    assert png.read_bytes().startswith(b"\x89PNG")
