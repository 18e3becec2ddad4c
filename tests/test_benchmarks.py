"""The peers compute what we compute, and the tables have the promised form."""

import csv

import numpy as np
import pytest
from scipy import ndimage

from benchmarks import __main__ as program
from benchmarks import comparisons, peers
from benchmarks.timing import Row, compare, ratio_row
from unetcore.augment import elastic_basis
from unetcore.weights import border_weight


def test_border_weight_of_the_peer_is_ours():
    labels = comparisons._discs(9, 96)
    assert labels.max() == 9
    np.testing.assert_allclose(border_weight(labels), peers.border_weight(labels), atol=1e-5)


def test_deformation_of_the_peer_follows_our_field():
    """On an image that is its own row number, the deformed image is the field of row positions."""
    size, vectors = 60, np.random.default_rng(0).normal(0, 2, (2, 3, 3))
    rows = np.broadcast_to(np.arange(size, dtype=float)[:, None], (size, size))
    image, classes, weights = peers.elastic_deformation(rows, rows, rows, vectors, halo=20)
    basis = elastic_basis(size, 3, "bicubic")
    expected = rows + basis @ vectors[0] @ basis.T
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(image[inner], expected[inner], atol=1e-4)
    np.testing.assert_allclose(weights, expected[inner], atol=1e-9)
    np.testing.assert_allclose(classes, expected[inner], atol=0.5 + 1e-9)


def test_discs_do_not_touch():
    labels = comparisons._discs(50, 256)
    assert ndimage.label(labels, np.ones((3, 3)))[1] == len(np.unique(labels)) - 1 == 50


def test_ratio_says_how_many_times_better_we_are():
    calls = []
    row = compare(
        "x", lambda: calls.append("o"), lambda: calls.append("p"), peer_name="p", repeats=2
    )
    assert "".join(calls) == "opopop"  # in turns, the first round to warm up
    assert row.ratio == pytest.approx(row.peer / row.ours)
    assert ratio_row("x", 2.0, 6.0, unit="ms", peer_name="p").ratio == 3


def test_tables_are_written_and_printed(tmp_path, monkeypatch, capsys):
    rows = [Row("a, b", 1.5, 3.0, 2.0, "ms", "obvious way")]
    monkeypatch.setattr(program, "COMPARISONS", {"some": lambda: rows})
    monkeypatch.chdir(tmp_path)
    program.main([])
    with open("results/bench/some.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == ["name", "ours", "peer", "ratio", "unit", "peer_name"]
    assert (row["name"], float(row["ratio"]), row["peer_name"]) == ("a, b", 2, "obvious way")
    assert "obvious way" in capsys.readouterr().out


def test_unknown_comparison_is_named():
    with pytest.raises(SystemExit, match="speed: need some of tiling, forward"):
        program.main(["speed"])
