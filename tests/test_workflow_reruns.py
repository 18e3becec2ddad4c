"""What repeats a training that is complete, and what does not."""

import pytest
import yaml
from test_workflow import copy_workflow, snakemake

PREDICTION = "results/predictions/demo/fold-official/seed-0/u-net/prediction.json"
SMALL = {
    "defaults": {"training": {"batch": 2}},  # that two processes could share
    "experiments": {
        "demo": {
            "network": {"width": 2},
            "training": {"steps": 2, "output_tile": 68, "warmup_steps": 1},
        },
        "em-fast": {"training": {"batch": 2}},
    },
}
OVERLAYS = ("--configfile", "small.yaml", "changed.yaml")


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """Copy of the workflow in which one network was trained and has predicted."""
    folder = copy_workflow(tmp_path_factory.mktemp("reruns"))
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    (folder / "changed.yaml").write_text("{}")
    result = snakemake(folder, PREDICTION, "--cores", "1", *OVERLAYS)
    assert result.returncode == 0, result.stdout[-5000:]
    return folder


def plan(folder, change):
    (folder / "changed.yaml").write_text(yaml.safe_dump(change))
    result = snakemake(folder, PREDICTION, "-n", *OVERLAYS)
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


def of_demo(**sections):
    return {"experiments": {"demo": sections}}


WATCH = {"log_every": 1, "checkpoint_every": 1, "checkpoint_minutes": 1, "validate_every": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {},
        of_demo(training=WATCH) | {"tensorboard": True},
        of_demo(evaluation={"metrics": ["v_rand"]}, postprocessing={"smallest_object": 9}),
        {"hardware": "gpu"},
        {"processes": 2},
    ],
    ids=["nothing", "watch", "scores", "hardware", "processes"],
)
def test_how_a_training_is_watched_and_where_it_runs_repeats_nothing(predicted, change):
    assert "Nothing to be done" in plan(predicted, change)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [of_demo(training={"learning_rate": 0.5}), of_demo(network={"dropout": 0.25})],
    ids=["learning_rate", "dropout"],
)
def test_what_decides_the_network_repeats_its_training_and_prediction(predicted, change):
    planned = plan(predicted, change)
    assert "rule train:" in planned
    assert "Params have changed since last execution" in planned
    assert "rule predict:" in planned


@pytest.mark.slow
def test_touching_its_files_leaves_an_unfinished_training_alone(tmp_path):
    folder = copy_workflow(tmp_path)
    states = folder / "results/state/demo/fold-official/seed-0"
    states.mkdir(parents=True)
    (states / "step-00000500.pt").touch()
    model = "results/runs/demo/fold-official/seed-0/model.safetensors"
    result = snakemake(folder, model, "--touch", "--cores", "1")
    assert result.returncode == 0, result.stdout[-3000:]
    assert not (folder / model).exists()
    assert (states / "step-00000500.pt").exists()
