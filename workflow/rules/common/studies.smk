"""What studies take, and the one of tiles and batches."""

from unetcore.tables import describe_change


def study_experiments(name):
    """Names of the experiments that are the variants of a study."""
    return [experiment for experiment, _ in VARIANTS[name].values()]


def study_variants(study):
    """Experiment and settings of every variant of a study that is asked for."""
    for name, settings in VARIANTS[study].values():
        check_placed_records(name)
        yield name, settings


def study_metrics(study):
    """Every metrics.json of the networks of a study, on its folds alone."""
    return [
        f"results/predictions/{name}/fold-{fold}/{method}/metrics.json"
        for name, settings in study_variants(study)
        for fold in settings["folds"]
        for method in network_methods(settings)
    ]


def study_runs(study, name):
    """A file of every training of a study."""
    return [
        f"results/runs/{experiment}/fold-{fold}/seed-{seed}/{name}"
        for experiment, settings in study_variants(study)
        for fold in settings["folds"]
        for seed in settings["seeds"]
    ]


def study_plan(wildcards):
    """Param function: what a study set out to do, and what was chosen by it."""
    name, study = wildcards.study, config["studies"][wildcards.study]
    base = EXPERIMENTS[study["base"]]
    sections = ["split", *config["defaults"]]
    before = {section: base[section] for section in sections}
    changes = {}
    for variant, (_, settings) in VARIANTS[name].items():
        changed = {section: settings[section] for section in sections}
        changes[variant] = describe_change(before, changed, study["base"])
    return {
        "name": name,
        "title": study["title"],
        "base": study["base"],
        "experiments": dict(zip(changes, study_experiments(name), strict=True)),
        "changes": changes,
        "unseen_folds": [fold for fold in base["folds"] if fold not in study["folds"]],
        "chosen": study.get("chosen"),
        "axis": study.get("axis", ""),
        "reason": study.get("reason"),
    }


def study_files(names):
    """Tables, their readable twins and figures of studies."""
    return expand("results/studies/{study}.{format}", study=names, format=["csv", "md", "svg"])


def tile_grid(wildcards):
    """Param function: which updates are measured, see `unetcore.tile_cost.Grid`."""
    names = ("tiles", "batches", "repeats", "memory_mb")
    return {name: config["tiles_or_batches"][name] for name in names}


def tile_study_metrics(wildcards):
    """Input function: every metrics.json of the study of tiles and batches, none without one."""
    study = config["tiles_or_batches"]["study"]
    return study_metrics(study) if study else []


def tile_figure_title(wildcards):
    """Param function: whose updates were measured and, below it, which study was scored."""
    asked = config["tiles_or_batches"]
    measured = EXPERIMENTS[asked["experiment"]]["title"]
    if not asked["study"]:
        return measured
    return f"Above: {measured}\nBelow: {config['studies'][asked['study']]['title']}"


def tile_study_variants(wildcards):
    """Param function: tile and batch in words, by experiment of the study of tiles and batches."""
    study = config["tiles_or_batches"]["study"]
    trainings = {e: EXPERIMENTS[e]["training"] for e in (study_experiments(study) if study else [])}
    return {e: f"{t['output_tile']} px × {t['batch']}" for e, t in trainings.items()}
