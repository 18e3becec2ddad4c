"""Recipes: every number of a training in one place.

A recipe has the sections of config.yaml. `PAPER` is the workflow's default, `FAST` that of the
command line, for people's own images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from unetcore.errors import InputError
from unetcore.weight_settings import FORMS, LATER_GAP, WeightMapConfig


@dataclass(frozen=True)
class Recipe:
    """Settings of a training that do not depend on the images.

    Attributes
    ----------
    name : one word.
    network : arguments of `unetcore.settings.NetworkConfig`.
    augmentation : arguments of `unetcore.augment.AugmentConfig`.
    training : arguments of `unetcore.settings.TrainConfig`.
    weight_map : arguments of `unetcore.weight_settings.WeightMapConfig`.
    even_masks : whether all pixels of a mask weigh the same.
    postprocessing : arguments of `unetcore.instances.instances`.
    """

    name: str
    network: Mapping
    augmentation: Mapping
    training: Mapping
    weight_map: Mapping
    even_masks: bool
    postprocessing: Mapping

    def weight_map_of(self, kind: str) -> Mapping:
        """Weight map for labels of a kind."""
        even = self.even_masks and kind == "mask"
        return self.weight_map | EVEN if even else self.weight_map

    def sections(self, kind: str) -> dict[str, dict]:
        """Settings as the sections of config.yaml, for labels of a kind."""
        return {
            "network": dict(self.network),
            "weight_map": dict(self.weight_map_of(kind)),
            "augmentation": dict(self.augmentation),
            "training": dict(self.training),
        }

    def changed(
        self,
        *,
        steps: int | None = None,
        learning_rate: float | None = None,
        width: int | None = None,
        batch: int | None = None,
        validate_every: int | None = None,
        largest_tile: int | None = None,
    ) -> "Recipe":
        """Copy with other numbers; None leaves one as it is.

        `largest_tile` bounds output tiles. The warm-up is at most a quarter of the steps.
        """
        tile = largest_tile and min(largest_tile, self.training["output_tile"])
        warmup = steps and min(steps // 4, self.training["warmup_steps"])
        return replace(
            self,
            training=_changed(
                self.training,
                steps=steps,
                learning_rate=learning_rate,
                warmup_steps=warmup,
                batch=batch,
                validate_every=validate_every,
                output_tile=tile,
            ),
            network=_changed(self.network, width=width),
        )


EVEN = {"w0": 0, "balance": "none"}  # changes to a weight map that make all pixels weigh the same


def _changed(section: Mapping, **numbers) -> Mapping:
    given = {name: number for name, number in numbers.items() if number is not None}
    return MappingProxyType(section | given)


# As the defaults of config.yaml, where the source of every number stands.
PAPER = Recipe(
    name="paper",
    network=MappingProxyType(
        {
            "family": "u-net",
            "variant": "figure1",
            "width": 64,
            "depth": 4,
            "dropout": 0.5,
            "normalised": False,
            "skip_connections": True,
            "expansive_width": None,
        }
    ),
    augmentation=MappingProxyType(
        {
            "shift": True,
            "balanced": False,
            "rotation": 180,  # degrees
            "mirror": True,
            "displacement_std": 10,  # px
            "grid": 3,
            "kernel": "bicubic",
            "grey_shift": 0.1,
            "grey_scale": 0.1,
        }
    ),
    training=MappingProxyType(
        {
            "steps": 30_000,
            "batch": 1,  # tiles
            "accumulate": 1,
            "output_tile": 388,  # px
            "normalisation": "slice",
            "initial_weights": "he",
            "optimiser": "sgd",
            "momentum": 0.99,
            "learning_rate": 3e-3,
            "weight_decay": 0,
            "schedule": "step",
            "warmup_steps": 300,
            "reduction": "weighted-mean",
            "dice": 0,
            "clip": None,
            "precision": "auto",
            "deterministic": True,
            "log_every": 20,  # steps
            "checkpoint_every": 500,  # steps
            "checkpoint_minutes": 10,
            "validate_every": 0,  # steps
        }
    ),
    weight_map=MappingProxyType(
        {
            "form": "ronneberger2015",
            "w0": 10,
            "sigma": 5,  # px
            "balance": "inverse-frequency",
            "gap": 3,  # px
            "background": 0.1,  # this and the next three: form falk2019 only
            "background_sigma": 10,  # px
            "separation": 50,
            "separation_sigma": 6,  # px
            "ignore_label": None,
        }
    ),
    even_masks=False,
    postprocessing=MappingProxyType({"threshold": 0.5, "smallest_object": 500}),  # px
)
# What closed membranes soonest in trials on EM sections with the same CPU time: AdamW with a
# cosine, and maps that are normalised (by the statistics of the image when one is predicted). The
# Dice loss came with them; neither it nor drop-out made a difference in the study em-cpu-closing of
# config/cpu.yaml.
FAST = replace(
    PAPER,
    name="fast",
    # A quarter of the width costs a sixteenth of the time.
    network=_changed(PAPER.network, width=16, dropout=0.0, normalised=True),
    training=_changed(
        PAPER.training,
        steps=2500,
        optimiser="adamw",
        momentum=0.9,  # AdamW's first decay rate
        learning_rate=2e-3,
        schedule="cosine",
        warmup_steps=100,
        dice=1.0,
        log_every=10,
        checkpoint_every=100,
        checkpoint_minutes=5,
        validate_every=250,
    ),
    # Between membranes there are no gaps to stress, and it is with plain cross entropy that this
    # was tried on them.
    even_masks=True,
    # People's images have no field of interest, and a nucleus or a bubble is part of its cell.
    postprocessing=_changed(PAPER.postprocessing, fill_holes=True, border=0),
)
RECIPES = {recipe.name: recipe for recipe in (FAST, PAPER)}


def weight_map_config(recipe: Recipe, form: str, **given) -> WeightMapConfig:
    """Settings of a weight map: those given, and for None the recipe's or the form's.

    Parameters
    ----------
    recipe : whose settings are taken where none are given.
    form : name of the weight map.
    given : settings by name. The gap of "falk2019" is by default that of its authors.

    Raises
    ------
    InputError : a setting was given that only another form has, or one is out of range.
    """
    given = {name: value for name, value in given.items() if value is not None}
    for other, names in FORMS.items():
        for name in names:
            if other != form and name in given:
                raise InputError(
                    f"{name} = {given[name]}: only the form {other} has it, not {form}"
                )
    of_form = {"gap": LATER_GAP} if form == "falk2019" else {}
    return WeightMapConfig(**{**recipe.weight_map, **of_form, **given, "form": form})
