"""Studies: one-factor experiments, by which settings that the paper leaves open are chosen.

A study takes one experiment, its base, and trains variants of it that change a setting or two. All
variants see the same folds, and the same seeds where none has its own, so a difference between them
is that of the change or of chance; the spread over seeds says how large chance is.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unetcore.errors import InputError
from unetcore.tables import (
    MEASURES,
    PROVENANCE_HEADING,
    Measurement,
    describe_provenance,
    markdown_table,
    mean_and_spread,
    read_measurement,
    training_of,
)
from unetcore.tables.grouping import distinct, grouped
from unetcore.tables.records import read_record
from unetcore.tidy import csv_lines
from unetcore.training_log import HeldOut, History, read_history, read_validation

LAST_PART = 0.1  # of the steps, over which the training loss is averaged: one row alone is noise
COLUMNS = (
    "study",
    "variant",
    "change",
    "method",
    "fold",
    "seed",
    "metric",
    "value",
    "training_loss",
    "steps",
    "train_seconds",
    "measured_on",
    "provenance",
)


@dataclass(frozen=True)
class Study:
    """A study as it was planned.

    Attributes
    ----------
    name, title : of the study.
    base : experiment whose settings the variants change.
    experiments : name of the experiment that is a variant; the base itself for one without changes.
    changes : what each variant changes, in words (`describe_change`), in the order of the table.
    unseen_folds : folds of the base that no variant was measured on.
    chosen : the variant that the recipe took, None while nothing is chosen.
    reason : why, a sentence.
    axis : what the variants are, where their names are numbers: "learning rate".
    """

    name: str
    title: str
    base: str
    experiments: Mapping[str, str]
    changes: Mapping[str, str]
    unseen_folds: Sequence[str] = ()
    chosen: str | None = None
    reason: str | None = None
    axis: str = ""

    def __post_init__(self):
        if self.chosen is not None and self.chosen not in self.changes:
            raise InputError(
                f"study {self.name}: chosen {self.chosen!r} is not among {', '.join(self.changes)}"
            )


@dataclass(frozen=True)
class Result:
    """One prediction of a study, and the training behind it.

    Attributes
    ----------
    variant : name of the variant.
    measurement : fold, seed, method and metrics.
    frames : ids of the slices that were measured.
    history : loss over the steps.
    """

    variant: str
    measurement: Measurement
    frames: Sequence[str]
    history: History

    @property
    def training_loss(self) -> float:
        """Mean of the logged losses over the last tenth of the steps, at least one row."""
        last = self.history.step > (1 - LAST_PART) * self.history.step[-1]
        return float(self.history.loss[last].mean())


def read_results(study: Study, metrics: Sequence[Path], histories: Sequence[Path]) -> list[Result]:
    """Read what the variants of a study have left behind.

    Parameters
    ----------
    study : the plan.
    metrics : metrics.json of predictions of the variants.
    histories : files .../EXPERIMENT/fold-FOLD/seed-SEED/history.csv of their trainings.

    Returns
    -------
    list of Result, variants in the order of the plan.

    Raises
    ------
    InputError : a file is damaged, is of no variant of the study, or has no training beside it, or
        one without a loss on record.
    """
    curves = {training_of(path): read_history(path) for path in histories}
    variants = {experiment: variant for variant, experiment in study.experiments.items()}
    results = []
    for path in metrics:
        measured = read_measurement(path)
        training = measured.experiment, measured.fold, measured.seed
        if measured.experiment not in variants:
            raise InputError(f"{path}: experiment {measured.experiment!r} is not of {study.name}")
        if training not in curves:
            raise InputError(f"{path}: no history.csv of its training, experiment, fold, seed")
        if not len(curves[training].step):
            raise InputError(f"{path}: the history.csv of its training has no row")
        frames = tuple(read_record(path).get("frames", ()))
        variant = variants[measured.experiment]
        results.append(Result(variant, measured, frames, curves[training]))
    order = list(study.changes)
    return sorted(results, key=lambda result: order.index(result.variant))


def read_held_out(study: Study, validations: Sequence[Path]) -> dict[str, list[HeldOut]]:
    """Read what was measured on held-out slices during training, by variant.

    Parameters
    ----------
    study : the plan.
    validations : files .../EXPERIMENT/fold-FOLD/seed-SEED/validation.csv of the trainings.

    Returns
    -------
    dict of lists of HeldOut; one without a row is of a training that was not validated.
    """
    by_experiment = grouped(validations, lambda path: training_of(path)[0])
    return {
        variant: [read_validation(path) for path in by_experiment.get(experiment, [])]
        for variant, experiment in study.experiments.items()
    }


def curves(results: Sequence[Result]) -> dict[str, list[History]]:
    """Histories by variant; a training that was predicted by several methods counts once."""
    return {
        variant: list({(r.measurement.fold, r.measurement.seed): r.history for r in group}.values())
        for variant, group in grouped(results, lambda r: r.variant).items()
    }


def scores(results: Sequence[Result]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Values by metric, method and variant, one per fold and seed."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for metric in measured_metrics(results):
        for result in results:
            if metric in (m := result.measurement).values:
                by_variant = values.setdefault(metric, {}).setdefault(m.method, {})
                by_variant.setdefault(result.variant, []).append(m.values[metric])
    return values


def measured_metrics(results: Sequence[Result]) -> list[str]:
    """Metrics that any of the results has, in the order of all tables."""
    return [m for m in MEASURES if any(m in result.measurement.values for result in results)]


def csv_text(study: Study, results: Sequence[Result]) -> str:
    """Write a study in tidy form: one row per number, columns as in `COLUMNS`."""
    rows = []
    for result in results:
        m = result.measurement
        begin = (study.name, result.variant, study.changes[result.variant])
        end = (
            result.training_loss,
            m.provenance.get("steps", ""),
            m.provenance.get("train_seconds", ""),
            m.measured_on,
            describe_provenance([m]),
        )
        for metric, value in m.values.items():
            rows.append((*begin, m.method, m.fold, m.seed, metric, value, *end))
    return csv_lines(COLUMNS, rows)


def markdown_text(study: Study, results: Sequence[Result]) -> str:
    """Write a study for people: a line per variant, then what was chosen, why, and by what.

    The best mean of each metric is bold, unless some are of more predictions than others.
    """
    origins = [
        f"- **{variant}**: {describe_provenance([r.measurement for r in group])}"
        for variant, group in grouped(results, lambda r: r.variant).items()
    ]
    parts = [
        f"# {study.title}",
        f"Every variant is the experiment {study.base} with the change that its line names; one "
        "without a change is that experiment itself. Training loss: mean over the last tenth of "
        "the steps; not comparable where a change is of the loss or of the weight map. Metrics: "
        "mean ± standard deviation over n predictions (folds and seeds), smaller is better where ↓ "
        "stands, larger where ↑ stands; the best of a column is bold where all n are the same.",
        _table(study, results),
        f"Measured on: **{_images(results)}**",
        "## Choice",
        _choice(study),
        f"## {PROVENANCE_HEADING}",
        "\n".join(origins),
    ]
    return "\n\n".join(parts) + "\n"


def _table(study: Study, results: Sequence[Result]) -> str:
    """One line per variant and method."""
    metrics, methods = measured_metrics(results), distinct(r.measurement.method for r in results)
    lines = list(grouped(results, lambda r: (r.variant, r.measurement.method)).items())
    columns = [_metric_column([group for _, group in lines], metric) for metric in metrics]
    body = []
    for row, ((variant, method), group) in enumerate(lines):
        name = f"**{variant}** (chosen)" if variant == study.chosen else variant
        minutes = [r.measurement.provenance["train_seconds"] / 60 for r in group]
        cells = (
            f"{statistics.fmean(r.training_loss for r in group):.4f}",
            *(column[row] for column in columns),
            str(len(group)),
            " / ".join(distinct(r.measurement.provenance.get("steps", "") for r in group)),
            f"{statistics.fmean(minutes):.1f}",
        )
        shown = [method] if len(methods) > 1 else []
        body.append((name, study.changes[variant], *shown, *cells))
    titles = [f"{MEASURES[m].title} {MEASURES[m].arrow}" for m in metrics]
    shown = ["method"] if len(methods) > 1 else []
    header = ("variant", "change", *shown, "training loss", *titles, "n", "steps", "mean minutes")
    return markdown_table(header, body)


def _metric_column(groups: Sequence[Sequence[Result]], metric: str) -> list[str]:
    """Cells of one metric; the best mean of as many numbers is bold, an unmeasured one empty."""
    measure = MEASURES[metric]
    values = [[v for r in g if (v := r.measurement.values.get(metric)) is not None] for g in groups]
    means = [statistics.fmean(v) if v else None for v in values]
    best = (min if measure.arrow == "↓" else max)(mean for mean in means if mean is not None)
    comparable = len({len(numbers) for numbers in values if numbers}) == 1
    cells = []
    for mean, numbers in zip(means, values, strict=True):
        cell = mean_and_spread(numbers, measure.decimals) if numbers else ""
        cells.append(f"**{cell}**" if comparable and mean == best else cell)
    return cells


def _images(results: Sequence[Result]) -> str:
    """Which frames the numbers are from, fold by fold."""
    texts = []
    for measured_on, of_images in grouped(results, lambda r: r.measurement.measured_on).items():
        texts.append(measured_on)
        for fold, group in grouped(of_images, lambda r: r.measurement.fold).items():
            frames = distinct(frame for result in group for frame in result.frames)
            which = f"{len(frames)} frames, {frames[0]} to {frames[-1]}" if frames else "unnamed"
            texts.append(f"fold {fold}: {which}")
    return "; ".join(texts)


def _choice(study: Study) -> str:
    """What was chosen and why, and what a choice by these numbers does to them."""
    if study.chosen is None:
        return "Nothing was chosen by this study."
    begin = f"Chosen: **{study.chosen}** ({study.changes[study.chosen]}). {study.reason or ''}"
    bias = (
        "A choice made by these numbers biases them: on these frames the chosen variant looks "
        "better than it is."
    )
    unseen = ", ".join(study.unseen_folds)
    rest = (
        f"The other folds of {study.base} ({unseen}) were not measured here: their numbers took "
        "no part in the choice."
        if unseen
        else f"No fold of {study.base} was kept out of it."
    )
    return f"{begin.strip()}\n\n{bias} {rest}"
