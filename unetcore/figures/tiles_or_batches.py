"""Figure of what tiles and batches cost, and of what they reach at equal computation."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FormatStrFormatter, LogLocator, NullLocator

from unetcore.figures.panels import legend_below, letter, new_figure
from unetcore.figures.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, styled
from unetcore.tables import MEASURES, Measurement
from unetcore.tile_cost import TileCost

OF_BATCHES = (
    {"color": BLUE, "marker": "o"},
    {"color": ORANGE, "marker": "s"},
    {"color": GREEN, "marker": "D"},
    {"color": PURPLE, "marker": "^"},
    {"color": SKY, "marker": "v"},
    {"color": VERMILION, "marker": "P"},
)
SHOWN = ("rand_error", "v_info")  # of the metrics of a study, where they were measured
BAND = "0.9"
APART = 1.6  # least ratio of two tiles whose sides can stand below an axis
TALL, WIDE = 2.6, 9.2  # inches: a row, the figure
MICRO, KILO = 1e6, 1e-3


@styled
def tiles_or_batches(
    costs: Sequence[TileCost],
    measured: Sequence[Measurement],
    variants: Mapping[str, str],
    title: str = "",
    *,
    marked: int | None = None,
) -> Figure:
    """Time, memory and halo by tile and batch; scores of trainings that compute equally much.

    Parameters
    ----------
    costs : of updates of one network.
    measured : predictions of the variants of a study; without any there are no panels of scores.
    variants : tile and batch of a variant in words, by the name of its experiment.
    title : heading of the figure.
    marked : side of an output tile in px that a band marks, the paper's.

    Returns
    -------
    Figure: above, against the side of the output tile and on logarithmic axes, a line per batch of
    the microseconds and of the kB by output pixel, and the operations computed by operation needed.
    Below, a panel per metric with a point per fold and seed and a dash at the mean of a variant.
    """
    metrics = [m for m in SHOWN if any(m in one.values for one in measured)]
    figure, above, below = _panels(title, len(metrics))
    _draw_by_batch(above[0], costs, lambda cost: MICRO * cost.seconds_per_pixel)
    above[0].set_title("time per output pixel, µs")
    _draw_by_batch(above[1], costs, lambda cost: KILO * cost.memory_bytes_per_pixel)
    above[1].set_title("memory per output pixel, kB")
    _draw_halo(above[2], costs, marked)
    above[2].set_title("operations computed / needed")
    for axes in above:
        _mark_tiles(axes, sorted({cost.output_tile for cost in costs}), marked)
    for axes, metric in zip(below, metrics, strict=True):
        _draw_scores(axes, measured, variants, metric)
        axes.set_title(f"{MEASURES[metric].title} at equal computation {MEASURES[metric].arrow}")
    letter([*above, *below])
    legend_below(figure, _legend(costs, marked))
    return figure


def labelled_tiles(tiles: Sequence[int], marked: int | None = None) -> list[int]:
    """Tiles whose sides have room below a logarithmic axis, the marked one first of all.

    Examples
    --------
    >>> labelled_tiles([4, 36, 68, 132, 196, 260, 388, 516], 388)
    [4, 36, 68, 132, 388]
    """
    kept: list[int] = []
    for tile in sorted(tiles, key=lambda tile: (tile != marked, tile)):
        if all(max(tile, other) >= APART * min(tile, other) for other in kept):
            kept.append(tile)
    return sorted(kept)


def _panels(title: str, n_metrics: int) -> tuple[Figure, list[Axes], list[Axes]]:
    """Figure with three panels, and with a row of one per metric below, where there is one."""
    rows = 2 if n_metrics else 1
    figure = new_figure(WIDE, TALL * rows + 0.7, title)
    grid = GridSpec(rows, 6, figure)
    above = [figure.add_subplot(grid[0, 2 * k : 2 * k + 2]) for k in range(3)]
    span = 6 // max(1, n_metrics)
    below = [figure.add_subplot(grid[1, span * k : span * (k + 1)]) for k in range(n_metrics)]
    return figure, above, below


def _looks(costs: Sequence[TileCost]) -> dict[int, dict]:
    """Colour and marker of each batch."""
    batches = sorted({cost.batch for cost in costs})
    return {batch: OF_BATCHES[k % len(OF_BATCHES)] for k, batch in enumerate(batches)}


def _draw_by_batch(axes: Axes, costs: Sequence[TileCost], value) -> None:
    """One line per batch."""
    for batch, look in _looks(costs).items():
        shown = sorted((cost for cost in costs if cost.batch == batch), key=_side)
        across, up = [cost.output_tile for cost in shown], [value(cost) for cost in shown]
        axes.plot(across, up, **look, ms=4.5, lw=1.4, gid=f"batch {batch}")
    _logarithmic(axes)


def _draw_halo(axes: Axes, costs: Sequence[TileCost], marked: int | None) -> None:
    """Operations computed by operation needed, which no batch changes; the number at each tile."""
    by_tile = dict(sorted((cost.output_tile, cost.computed_per_needed) for cost in costs))
    axes.plot(list(by_tile), list(by_tile.values()), "o-", color="0.3", ms=4, lw=1.4, gid="halo")
    _logarithmic(axes)
    axes.set_ylim(1, 2 * max(by_tile.values()))
    for tile in labelled_tiles(list(by_tile), marked):
        inside = {"xytext": (5, 4)} if tile < max(by_tile) else {"xytext": (0, 7), "ha": "center"}
        how = inside | {"textcoords": "offset points", "fontsize": 7.5, "color": "0.3"}
        axes.annotate(f"{by_tile[tile]:.3g}", (tile, by_tile[tile]), **how, gid="ratio")


def _side(cost: TileCost) -> int:
    return cost.output_tile


def _logarithmic(axes: Axes) -> None:
    axes.set(xscale="log", yscale="log", xlabel="output tile, px")
    axes.yaxis.set_major_locator(LogLocator())
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="y")


def _mark_tiles(axes: Axes, tiles: Sequence[int], marked: int | None) -> None:
    """Ticks at the tiles, named where there is room, and a band at one of them."""
    named = labelled_tiles(tiles, marked)
    axes.xaxis.set_major_locator(FixedLocator(named))
    axes.set_xticks(named, list(map(str, named)))
    axes.xaxis.set_minor_locator(FixedLocator([tile for tile in tiles if tile not in named]))
    axes.xaxis.set_minor_formatter("")
    if marked in tiles:
        axes.axvline(marked, color=BAND, lw=9, zorder=0, gid="marked")


def _draw_scores(
    axes: Axes, measured: Sequence[Measurement], variants: Mapping[str, str], metric: str
) -> None:
    """Points of all trainings over their variants, and the means."""
    for place, experiment in enumerate(variants):
        of_variant = (one for one in measured if one.experiment == experiment)
        values = [one.values[metric] for one in of_variant if metric in one.values]
        if values:
            across = [place] * len(values)
            axes.plot(across, values, "o", color=VERMILION, ms=5, alpha=0.8, gid=experiment)
            mean = [statistics.fmean(values)]
            axes.plot([place], mean, "_", color="0.3", ms=22, mew=1.6, gid=f"mean {experiment}")
    axes.set_xlim(-0.5, len(variants) - 0.5)
    axes.set_xticks(range(len(variants)), list(variants.values()))
    axes.set_xlabel("output tile × batch")
    axes.grid(True, axis="y")
    axes.locator_params(axis="y", nbins=5)


def _legend(costs: Sequence[TileCost], marked: int | None) -> list[Artist]:
    """Batches by colour and marker, and the band."""
    entries: list[Artist] = [
        Line2D(
            [], [], **look, ms=4.5, lw=1.4, label=f"batch of {batch}" if batch > 1 else "one tile"
        )
        for batch, look in _looks(costs).items()
    ]
    if any(cost.output_tile == marked for cost in costs):
        entries.append(Patch(color=BAND, label=f"tile of the paper, {marked} px"))
    return entries
