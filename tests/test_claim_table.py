"""The table of claims as it is written and drawn."""

import csv
import json

import claim_table
import pytest
from test_claims import claim, judged, measured, pairs

from unetcore.claim_table import (
    COLUMNS,
    csv_text,
    drawn,
    html_text,
    markdown_text,
    pairs_csv_text,
    written,
)
from unetcore.claims import NOT_SUPPORTED, SEAM, SECONDS, SUPPORTED, UNDECIDED, Verdict
from unetcore.figures import claim_intervals


def verdict(**changed):
    given = {"claim": "c", "experiment": "em: SEG", "effect": 0.25, "low": 0.125, "high": 0.5}
    given |= {"n": 3, "verdict": SUPPORTED, "provenance": "p", "source": "Sec. 4"}
    given |= {"cost": "no training", "evidence": "3 seeds", "measure": "SEG; width 8"}
    return Verdict(**(given | changed))


def test_page_of_the_report_holds_every_cell():
    page = html_text([verdict(claim="<b> & c"), verdict()], 0.95)
    assert "&lt;b&gt; &amp; c" in page
    assert page.count("<tr>") == 3
    assert "<th>95% interval</th>" in page
    assert "<li>em: SEG: p</li>" in page


def lines(axes, name):
    return [line for line in axes.lines if line.get_gid() == name]


def test_figure_puts_supported_claims_right_of_no_effect():
    decided = judged(claim(), pairs([(0.6, 0.5), (0.7, 0.59), (0.8, 0.7)]), 0.95)
    turned = judged(claim(), pairs([(0.5, 0.6), (0.59, 0.7), (0.7, 0.8)]), 0.95)
    single = judged(claim(), pairs([(0.5, 0.6)]), 0.95)
    figure = claim_intervals([drawn(v) for v in (decided, turned, single)], 0.95)
    (axes,) = figure.axes
    bars = [line.get_xdata() for line in lines(axes, "interval")]
    assert len(bars) == 2  # a single seed has none
    assert min(bars[0]) > 0 > max(bars[1])
    assert [len(line.get_xdata()) for line in lines(axes, "gains")] == [3, 3, 1]
    means = lines(axes, "effect")
    assert [line.get_markerfacecolor() == "white" for line in means] == [False, False, True]
    texts = [text.get_text() for text in axes.texts]
    assert texts[::2] == [SUPPORTED, NOT_SUPPORTED, UNDECIDED]


def test_figure_draws_gains_as_shares_of_the_other_side_on_one_scale():
    small = judged(claim(), pairs([(0.51, 0.5), (0.52, 0.5)]), 0.5)  # by 2 and by 4 per cent
    large = judged(claim(), pairs([(0.6, 0.5), (0.9, 0.5)]), 0.95)  # by 20 and by 80 per cent
    limit = claim(metric=SEAM, against_experiment=None, against_method=None, limit=0.5)
    kept = judged(limit, [measured(0.1, method="u-net+rot7", metric=SEAM)], 0.95)
    (axes,) = claim_intervals([drawn(v) for v in (small, large, kept)], 0.95).axes
    effects = [float(line.get_xdata()[0]) for line in lines(axes, "effect")]
    assert effects == pytest.approx([0.03, 0.5, 0.8])  # 0.1 keeps the limit of 0.5 by 80 per cent
    bars = [line.get_xdata() for line in lines(axes, "interval")]
    assert bars[0] == pytest.approx([0.02, 0.04])
    # Of two seeds the interval of 95 % reaches far beyond the gains; arrows say so.
    assert bars[1] == pytest.approx(axes.get_xlim())
    assert sorted(line.get_marker() for line in lines(axes, "goes on")) == ["<", ">"]


def test_effect_beyond_the_scale_is_an_arrow_at_its_end():
    limit = claim(metric=SEAM, against_experiment=None, against_method=None, limit=1.0)
    far = judged(limit, [measured(4.2, method="u-net+rot7", metric=SEAM)], 0.95)
    near = judged(claim(), pairs([(0.6, 0.5)]), 0.95)
    (axes,) = claim_intervals([drawn(far), drawn(near)], 0.95).axes
    assert axes.get_xlim() == (-1.5, 1.5)
    assert not lines(axes, "goes on")  # one arrow is enough
    assert lines(axes, "gains")[0].get_xdata() == [-1.5]
    arrow, dot = lines(axes, "effect")
    assert (arrow.get_marker(), arrow.get_xdata()) == ("<", [-1.5])
    assert (dot.get_marker(), dot.get_xdata()) == ("o", pytest.approx([0.2]))


def test_figure_has_a_scale_of_its_own_for_quotients():
    ratio = claim(metric=SECONDS, ratio=True)
    runs = [
        measured(value, seed=seed, method=method, metric=SECONDS)
        for method, values in (("u-net+rot7", (1.0, 1.0)), ("u-net", (100.0, 400.0)))
        for seed, value in enumerate(values)
    ]
    faster, better = judged(ratio, runs, 0.5), judged(claim(), pairs([(0.6, 0.5)]), 0.95)
    times, shares = claim_intervals([drawn(better), drawn(faster)], 0.95).axes
    assert (times.get_xscale(), shares.get_xscale()) == ("log", "linear")
    assert lines(times, "effect")[0].get_xdata() == pytest.approx([200])
    assert lines(times, "no effect")[0].get_xdata() == [1, 1]
    assert lines(times, "interval")[0].get_xdata() == pytest.approx([100, 400])
    assert lines(shares, "effect")[0].get_xdata() == pytest.approx([0.2])


def test_csv_has_exactly_the_agreed_columns():
    text = csv_text([verdict(), verdict(claim="a, b", low=None, high=None, verdict=UNDECIDED)])
    assert text.splitlines() == [
        "claim,experiment,effect,low,high,n,verdict,provenance",
        "c,em: SEG,0.25,0.125,0.5,3,supported,p",
        '"a, b",em: SEG,0.25,,,3,not decided by this evidence,p',
    ]


def test_readable_table_says_interval_verdict_and_sources():
    rows = [
        verdict(),
        verdict(claim="d", effect=-0.25, low=None, high=None, verdict=UNDECIDED),
        verdict(effect=40.0, low=10.0, high=160.0, ratio=True),
    ]
    lines = markdown_text(rows, 0.9).splitlines()
    table = [line.strip("| ").split("|") for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in table]
    assert cells[0] == [
        "claim", "where", "measured", "effect", "90% interval", "over", "verdict"
    ]  # fmt: skip
    assert cells[2] == [
        "c", "Sec. 4", "SEG; width 8", "+0.25", "+0.125 to +0.5", "3 seeds", "**supported**"
    ]  # fmt: skip
    assert cells[3][3:5] == ["-0.25", ""]
    assert cells[4][3:5] == ["40 times", "10 to 160 times"]
    assert "- **c**: em: SEG: p" in lines


def test_script_judges_files(tmp_path):
    paths = []
    for seed, values in enumerate([(0.125, 0.25), (0.25, 0.5)]):
        for method, value in zip(("u-net+rot7", "u-net"), values, strict=True):
            paths.append(tmp_path / f"{method}-{seed}.json")
            content = {
                "experiment": "em",
                "dataset": "isbi2012",
                "fold": "0",
                "method": method,
                "seed": seed,
                "measured_on": "slices",
                "metrics": {"rand_error": {"value": value}},
            }
            paths[-1].write_text(json.dumps(content))
    comparison = vars(claim(metric="rand_error"))
    made = [tmp_path / f"claims.{suffix}" for suffix in ("csv", "md", "html", "svg")]
    table, markdown, html, figure = made
    numbers = tmp_path / "claim_pairs.csv"
    claim_table.main(paths, *made, numbers, comparisons=[comparison], confidence=0.5)
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert tuple(row) == COLUMNS
    assert float(row["effect"]) == 0.1875
    # Two gains at half confidence: the interval ends at them.
    assert (float(row["low"]), float(row["high"])) == pytest.approx((0.125, 0.25))
    assert (row["n"], row["verdict"]) == ("2", SUPPORTED)
    assert row["provenance"] == "experiment em; fold 0; seeds 0, 1; cost: no training"
    assert "**supported**" in markdown.read_text()
    assert "<td>supported</td>" in html.read_text()
    assert "<svg" in figure.read_text()
    first, *lines = numbers.read_text().splitlines()
    assert first == "claim,experiment,fold,seed,value,against,gain"
    where = "Averaging helps,em: Rand error of u-net+rot7 against u-net"
    assert lines == [f"{where},0,0,0.125,0.25,0.125", f"{where},0,1,0.25,0.5,0.25"]


def test_of_a_limit_people_see_what_was_measured():
    limited = claim(metric=SEAM, against_experiment=None, against_method=None, limit=2e-5)
    values = [(0, 1e-6), (1, 2.5e-6)]
    seams = [measured(value, seed=s, method="u-net+rot7", metric=SEAM) for s, value in values]
    result = judged(limited, seams, 0.95)
    assert written(result) == ("measured 1e-06 to 2.5e-06", "limit 2e-05")
    assert (result.low, result.high) == pytest.approx((1.75e-5, 1.9e-5))
    assert drawn(result).text == "measured 1e-06 to 2.5e-06 (limit 2e-05)"


def test_pairs_are_written_a_row_each():
    limited = claim(against_experiment=None, against_method=None, limit=0.5)
    result = judged(limited, [measured(0.75, method="u-net+rot7")], 0.95)
    assert pairs_csv_text([result]).splitlines()[1].endswith(",0,0,0.75,0.5,0.25")
