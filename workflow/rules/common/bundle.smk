"""What bundles take."""


def settings_of_bundle(bundle):
    """Settings of the experiments of a table, or of the variants of a study, by their names."""
    if bundle in config["tables"]:
        return {name: EXPERIMENTS[name] for name in config["tables"][bundle]}
    return dict(VARIANTS[bundle].values())


def bundle_files(pattern):
    """Input function: a file of each experiment of a bundle."""
    return lambda wildcards: [
        pattern.format(experiment=name, dataset=EXPERIMENTS[name]["dataset"])
        for name in settings_of_bundle(wildcards.bundle)
    ]


def bundled_experiments(wildcards):
    """Param function: settings, folds, seeds and methods of the experiments of a bundle."""
    is_study = wildcards.bundle in VARIANTS
    return {
        name: bundled_experiment(name, settings)
        | {
            "folds": settings["folds"] if is_study else folds(name),
            "seams": has_phase(name) and not is_study,  # the figures of studies show none
        }
        for name, settings in settings_of_bundle(wildcards.bundle).items()
    }


def bundled_experiment(name, settings):
    """Settings of an experiment as a bundle wants them, see `unetcore.bundle.plan`."""
    as_they_are = ("dataset", "split", "seeds", "network", "augmentation", "prediction")
    training, network = settings["training"], network_of(name)
    return {key: settings[key] for key in as_they_are} | {
        "training": decisive_training(name),
        "watch": {key: training[key] for key in OF_THE_WATCH},
        "methods": {network + ("" if a == "none" else f"+{a}"): a for a in settings["averaging"]},
    }


def bundled_codes(wildcards):
    """Param function: digests of the code of the rules that a bundle stands for."""
    scripts = {"prediction": code_of("predict"), "seams": code_of("seams")}
    codes = {"training": training_code} | scripts
    return {name: code(wildcards) for name, code in codes.items()}
