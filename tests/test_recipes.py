from dataclasses import FrozenInstanceError, asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from unetcore.augment import AugmentConfig
from unetcore.errors import InputError
from unetcore.recipes import FAST, PAPER, weight_map_config
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.weight_settings import LABEL_KINDS, WeightMapConfig
from unetcore.weights import training_targets, weight_maps


def targets(labels, kind, recipe):
    """Classes and weights of a stack, as a training by a recipe gets them."""
    return weight_maps(labels, kind, WeightMapConfig(**recipe.weight_map_of(kind)))


TWO_CELLS = np.array([[[1, 1, 0, 0, 2, 2], [1, 1, 0, 0, 2, 2]]])


def test_the_papers_recipe_is_the_default_of_the_configuration():
    defaults = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))["defaults"]
    assert defaults["recipe"] == PAPER.name
    for kind in LABEL_KINDS:
        sections = PAPER.sections(kind) | {"postprocessing": dict(PAPER.postprocessing)}
        assert sections == {name: defaults[name] for name in sections}
    assert set(defaults) - set(sections) == {"recipe", "prediction", "evaluation"}


def test_the_papers_recipe_is_what_its_search_chose_and_what_the_other_search_compares_with():
    defaults = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))["defaults"]
    studies = yaml.safe_load(Path("config/cpu.yaml").read_text(encoding="utf-8"))["studies"]
    training = defaults["training"]
    assert float(studies["em-cpu-rate"]["chosen"]) == training["learning_rate"]
    assert studies["em-cpu-schedule"]["chosen"] == training["schedule"]
    sgd = studies["em-cpu-closing"]["variants"]["sgd-as-in-the-paper"]["training"]
    assert sgd == {name: training[name] for name in sgd}


@pytest.mark.parametrize("recipe", [FAST, PAPER])
def test_recipe_is_accepted_by_what_it_is_for(recipe):
    assert asdict(NetworkConfig(**recipe.network)) == recipe.network
    assert asdict(AugmentConfig(**recipe.augmentation)) == recipe.augmentation
    assert asdict(TrainConfig(**recipe.training)) == recipe.training
    assert asdict(WeightMapConfig(**recipe.weight_map)) == recipe.weight_map


def test_recipe_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        FAST.name = "slow"
    with pytest.raises(TypeError):
        FAST.training["steps"] = 1


def test_changed_copy_differs_in_the_given_numbers_only():
    changed = FAST.changed(steps=700, width=3, learning_rate=None)
    assert dict(changed.training) == {**FAST.training, "steps": 700}
    assert dict(changed.network) == {**FAST.network, "width": 3}
    assert changed.augmentation == FAST.augmentation
    assert changed.weight_map == FAST.weight_map
    assert FAST.changed() == FAST


@pytest.mark.parametrize(("steps", "warmup_steps"), [(400, 100), (399, 99), (100, 25), (3, 0)])
def test_a_short_training_has_a_short_warm_up(steps, warmup_steps):
    assert FAST.training["warmup_steps"] == 100
    assert FAST.changed(steps=steps).training["warmup_steps"] == warmup_steps


def test_pixels_of_a_mask_count_the_same():
    classes, weights = targets(np.array([[[0, 255, 255]]]), "mask", FAST)
    assert classes.tolist() == [[[0, 1, 1]]]
    assert weights.tolist() == [[[1, 1, 1]]]


def test_pixels_of_a_mask_count_by_their_class_in_the_papers_recipe():
    """w_c is 3 px / (2 x 1 px of background) and 3 / (2 x 2 of cells); one cell has no border."""
    _, weights = targets(np.array([[[0, 255, 255]]]), "mask", PAPER)
    assert weights.tolist() == [[[1.5, 0.75, 0.75]]]


def test_gaps_between_instances_weigh_more():
    """In the gap d1 + d2 = 3; w_c is 12 px / (2 x 4 px of background) and 12 / (2 x 8)."""
    classes, weights = targets(TWO_CELLS, "instances", FAST)
    np.testing.assert_array_equal(classes, TWO_CELLS > 0)
    gap = 12 / (2 * 4) + 10 * np.exp(-9 / 50)
    np.testing.assert_allclose(weights[0, 0], [0.75, 0.75, gap, gap, 0.75, 0.75], rtol=1e-6)


def test_ignored_pixels_of_a_mask_weigh_nothing():
    recipe = replace(FAST, weight_map={**FAST.weight_map, "ignore_label": 9})
    classes, weights = targets(np.array([[[0, 1, 9]]]), "mask", recipe)
    assert classes.tolist() == [[[0, 1, 0]]]
    assert weights.tolist() == [[[1, 1, 0]]]


def test_weight_maps_of_a_stack_are_those_of_its_pages():
    stack = np.concatenate([TWO_CELLS, TWO_CELLS[:, :, ::-1] * (TWO_CELLS == 1)])
    config = WeightMapConfig(**{**FAST.weight_map, "w0": 4, "sigma": 2, "gap": 1})
    classes, weights = weight_maps(stack, "instances", config)
    for z, page in enumerate(stack):
        expected = training_targets(page, kind="instances", config=config)
        np.testing.assert_array_equal(classes[z], expected[0])
        np.testing.assert_array_equal(weights[z], expected[1])


def test_weight_map_takes_what_is_given_and_the_rest_from_the_recipe():
    config = weight_map_config(FAST, "ronneberger2015", w0=4, sigma=None)
    assert asdict(config) == {**FAST.weight_map, "w0": 4}


def test_later_weight_map_has_the_gap_of_its_authors_unless_another_is_given():
    assert weight_map_config(FAST, "falk2019").gap == 1
    assert weight_map_config(FAST, "falk2019", gap=None).gap == 1
    assert weight_map_config(FAST, "falk2019", gap=5).gap == 5


def test_setting_of_another_form_is_refused():
    with pytest.raises(InputError, match="w0 = 3: only the form ronneberger2015 has it, not falk"):
        weight_map_config(FAST, "falk2019", w0=3)
    with pytest.raises(InputError, match="separation = 3: only the form falk2019 has it"):
        weight_map_config(FAST, "ronneberger2015", separation=3)
