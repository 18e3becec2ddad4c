"""What `unetcore.evaluate` found, as the page draws it: curves, scores, splits and mergers."""

from collections.abc import Mapping, Sequence
from typing import Any

from unetcore.tables import MEASURES


def curves(metrics: Mapping[str, Mapping]) -> list[dict[str, Any]]:
    """Metrics that have a value for every threshold, in the words of the tables."""
    return [
        {"name": name, "title": MEASURES[name].title, "isError": MEASURES[name].arrow == "↓"}
        | {key: found[key] for key in ("value", "threshold", "thresholds", "values")}
        for name, found in metrics.items()
        if "thresholds" in found
    ]


def scores(metrics: Mapping[str, Mapping]) -> list[dict[str, Any]]:
    """Metrics of a segmentation: one value each."""
    return [
        {"title": MEASURES[name].title, "value": found["value"]}
        for name, found in metrics.items()
        if "thresholds" not in found
    ]


def places(
    metrics: Mapping[str, Mapping], pages: Sequence[int], factor: int
) -> dict[str, dict[str, Any]]:
    """Splits and mergers by metric, at the places of the page's slices.

    Parameters
    ----------
    metrics : as `unetcore.evaluate.evaluate` returns them.
    pages : slices that the page shows, by their numbers in the stack that was evaluated.
    factor : px of the stack per px of the page.

    Returns
    -------
    dict of metric -> dict with "threshold", at which they were found, and for "splits" and
    "mergers" a dict of "n", how many there are, and "shown", those on slices of the page: dicts of
    "slice", counted on the page from 0, "points", [y, x] in px of the page, and "pixels".
    """
    at = {page: place for place, page in enumerate(pages)}
    return {
        name: {
            "threshold": found["threshold"],
            "splits": _on_page(found["splits"], at, factor),
            "mergers": _on_page(found["mergers"], at, factor),
        }
        for name, found in metrics.items()
        if "splits" in found
    }


def _on_page(found: Mapping[str, Any], at: Mapping[int, int], factor: int) -> dict[str, Any]:
    shown = [
        {
            "slice": at[place["z"]],
            "points": [[p["y"] / factor, p["x"] / factor] for p in place.get("parts", [place])],
            "pixels": place["pixels"],
        }
        for place in found["largest"]
        if place["z"] in at
    ]
    return {"n": found["n"], "shown": shown}
