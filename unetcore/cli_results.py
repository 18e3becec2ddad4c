"""`unet evaluate` of a folder of results: what it reads, prints and writes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from tqdm import tqdm

from unetcore.cli_data import ENTRY, own_data
from unetcore.data.entry import SUFFIXES as OF_ENTRIES
from unetcore.data.entry import DataSettings
from unetcore.data.files import check_writable, is_folder, refuse_overwriting
from unetcore.data.label_map import LabelMap
from unetcore.data.predicted import SUMMARY, Predicted, label_map_of, read_results
from unetcore.data.samples import holds_images_and_labels
from unetcore.data.sizes import in_words
from unetcore.errors import InputError
from unetcore.exchanged import remark
from unetcore.measurements import write_table
from unetcore.tables import MEASURES
from unetcore.terminal import be_quiet, count, is_quiet, print_table, say

if TYPE_CHECKING:
    from unetcore.picture_evaluation import Evaluated, Judged, Meaning

# Metrics need numba, which takes a moment to import; they are imported where needed.

ALL, EACH, AT_ONE = "all", "all, each at its best", "all, at one threshold"  # rows of the table


def evaluate_results(
    labels: Path,
    folder: Path,
    out: Path | None,
    said: Mapping[str, Any],
    *,
    threads: int,
    as_json: bool,
) -> None:
    """Evaluate the images of a folder of results, and print and write what was found.

    Parameters
    ----------
    labels : folder of labels, sample sheet, or what `unet new` wrote; or labels of one image.
    folder : as `unet predict -o FOLDER` wrote it.
    out : CSV file for the table, None for none.
    said : options by name: `labels_are`, `label_map` and `ignore_label`.
    threads : slices that are judged at a time.
    as_json : whether JSON is printed, and not words.

    Raises
    ------
    InputError, ExceptionGroup : see `unetcore.picture_evaluation`.
    """
    from unetcore.evaluate import over_images
    from unetcore.picture_evaluation import evaluate_picture, meaning_of

    be_quiet(is_quiet() or as_json)
    if out is not None and out.suffix.lower() != ".csv":
        raise InputError(f"--out {out}: a table is written, need a name like NAME.csv")
    results = read_results(folder)
    pairs, settings, read = _paired(labels, results, said)
    if out is not None:
        of_labels = [*read, *(pair.labels for pair in pairs)]
        of_results = [file for result in results.values() for file in result.files]
        refuse_overwriting(out, [*of_labels, *of_results, folder / SUMMARY])
        check_writable(out.parent)
    meaning = meaning_of(pairs, settings, label_map_of(folder))
    _say_meaning(meaning, settings)
    hidden = is_quiet() or None  # None: shown on a terminal
    found = [
        evaluate_picture(pair, meaning, threads)
        for pair in tqdm(pairs, desc="evaluate", unit="image", disable=hidden, leave=False)
    ]
    _warn_of_exchanged(found, meaning)
    told = [one.metrics for one in found if one.metrics]
    if not told:
        raise InputError(f"{labels}: no cell is labelled in {count(len(found), 'image')}")
    overall = over_images(told)
    rows = [_facts(one, overall) for one in found]
    if out is not None:
        write_table(out, _columns(rows, overall))
    if as_json:
        facts = {"results": str(folder), "labels_are": meaning.kind}
        facts |= {"label_map": str(meaning.label_map), "images": rows, ALL: overall}
        typer.echo(json.dumps(facts, indent=1))
        return
    _print(rows, overall)
    if out is not None:
        say(f"{out}: the same as a table")


def _paired(
    labels: Path, results: Mapping[str, Predicted], said: Mapping[str, Any]
) -> "tuple[list[Judged], DataSettings, tuple[Path, ...]]":
    """Pair results with labels, and say how these are to be read, and by which files."""
    from unetcore.picture_evaluation import pair_by_name, pair_by_sheet

    if labels.suffix.lower() in (".csv", *OF_ENTRIES) or (
        is_folder(labels) and ((labels / ENTRY).is_file() or holds_images_and_labels(labels))
    ):
        unused = dict.fromkeys(("pixel_size", "allow_empty", "trust_pairs"))
        data = own_data(labels, None, **said, **unused)
        return pair_by_sheet(data.samples, results), data.settings, data.files
    label_map = LabelMap.given(said["label_map"], said["ignore_label"])
    return pair_by_name(labels, results), DataSettings(said["labels_are"], label_map), ()


def _say_meaning(meaning: "Meaning", settings: DataSettings) -> None:
    label_map = str(meaning.label_map) or "0 is background, all else cell"
    origin = "" if meaning.label_map == settings.label_map else ", as in the training"
    say(f"Labels: {meaning.kind}, {label_map}{origin}\n")


def _warn_of_exchanged(found: "Sequence[Evaluated]", meaning: "Meaning") -> None:
    """Say in one line in which images cells and background seem to be exchanged."""
    if told := [one for one in found if one.sides.look_exchanged]:
        first = told[0]
        more = len(told) - 1
        line = remark(first.judged.labels, first.sides, meaning.label_map, more)
        typer.echo(line, err=True)


def _facts(one: "Evaluated", overall: Mapping[str, dict]) -> dict:
    """What is known of an image, as plain JSON values."""
    n_slices, height, width = one.shape
    facts = {"image": one.judged.results.name, "labels": str(one.judged.labels)}
    facts |= {"slices": n_slices, "height_px": height, "width_px": width}
    facts |= {"slices_without_cells": list(one.without_cells)}
    if one.metrics is None:
        return facts | {"metrics": None}
    metrics = {}
    for name, found in one.metrics.items():
        metrics[name] = found
        if "values" in found:
            at = found["thresholds"].index(overall[name]["threshold"])
            metrics[name] = found | {"at_common": found["values"][at]}
    return facts | {"metrics": metrics}


def _print(rows: Sequence[Mapping], overall: Mapping[str, dict]) -> None:
    """Print a row for each image and of all."""
    swept = any("values" in found for found in overall.values())
    lines = [("image", "px", *(MEASURES[name].title for name in overall), "")]
    for row in rows:
        size = in_words([row["height_px"], row["width_px"]])
        metrics = row["metrics"] or {}
        values = [_value(name, metrics.get(name)) for name in overall]
        lines.append((row["image"], size, *values, _remark(row)))
    if swept:
        each = {
            name: {"value": found.get("mean_of_best", found["value"])}
            for name, found in overall.items()
        }
        lines.append((EACH, "", *(_value(name, found) for name, found in each.items()), ""))
    values = [_value(name, found) for name, found in overall.items()]
    lines.append((AT_ONE if swept else ALL, "", *values, ""))
    print_table(lines)
    scores = [MEASURES[name].title for name in overall if MEASURES[name].arrow == "↑"]
    say(f"\nMeans are over images. 1 is best of {', '.join(scores)}; 0 of the others.")
    if swept:
        say(
            "In brackets the threshold: of an image its own best one, of all the one that is best "
            "for their mean. SEG and IoU are of the instances."
        )


def _value(name: str, found: Mapping | None) -> str:
    """Value of a metric, and its threshold."""
    if found is None:
        return "-"
    at = f" ({found['threshold']:.1f})" if "threshold" in found else ""
    return f"{found['value']:.{MEASURES[name].decimals}f}{at}"


def _remark(row: Mapping) -> str:
    if row["metrics"] is None:
        return "no cell labelled"
    n = len(row["slices_without_cells"])
    return f"{n} of {row['slices']} slices show no cell" if n else ""


def _columns(rows: Sequence[Mapping], overall: Mapping[str, dict]) -> dict[str, list]:
    """Table for programs: of all images the means stand in its last row."""
    last = {"image": ALL, "metrics": {name: _of_all(found) for name, found in overall.items()}}
    every = [*rows, last]
    names = ("image", "slices", "height_px", "width_px")
    columns = {name: [row.get(name) for row in every] for name in names}
    for name, found in overall.items():
        of_images = [(row["metrics"] or {}).get(name, {}) for row in every]
        columns[name] = [one.get("value") for one in of_images]
        if "threshold" in found:
            columns[f"{name}_threshold"] = [one.get("threshold") for one in of_images]
            columns[f"{name}_at_common"] = [one.get("at_common") for one in of_images]
            columns[f"{name}_common_threshold"] = [found["threshold"]] * len(every)
    return columns


def _of_all(found: Mapping) -> dict:
    """Means over images, named as what they are means of."""
    if "values" not in found:
        return {"value": found["value"]}
    return {"value": found["mean_of_best"], "at_common": found["value"]}
