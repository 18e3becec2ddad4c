"""What a training is told to take against what it takes, and what it refuses."""

import json
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.profiler import profile

from unetcore import training_memory as module
from unetcore.errors import InputError
from unetcore.families import NETWORKS
from unetcore.loss import weighted_cross_entropy
from unetcore.settings import NetworkConfig
from unetcore.training_memory import (
    TrainingStep,
    check_both_classes,
    check_contrast,
    check_memory,
    check_tile_fits,
    explain_out_of_memory,
    largest_tile,
    live_memory,
    training_memory,
)

CPU = torch.device("cpu")
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# A process that makes the updates of one training, as those of `unetcore.update`.
PROGRAM = """
import json, resource, sys
from types import SimpleNamespace
import torch
from unetcore.loss import weighted_cross_entropy
from unetcore.memory import keep_freed_memory
from unetcore.model import UNet
from unetcore.settings import NetworkConfig
from unetcore.training_memory import TrainingStep, check_memory, explain_out_of_memory

def updates(width, tile):
    model = UNet(width=width).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-9, momentum=0.9, fused=True)
    for _ in range(2):
        image = torch.rand(1, 1, tile + 184, tile + 184)
        classes, weights = torch.zeros(1, tile, tile, dtype=torch.long), torch.ones(1, tile, tile)
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            scores = model(image.to(memory_format=torch.channels_last))
        weighted_cross_entropy(scores, classes, weights).backward()
        optimiser.step()

def status(key):
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

width, tile, precision, keep, room = json.loads(sys.argv[1])
torch.set_num_threads(1)
if keep:
    keep_freed_memory()
updates(2, 4)  # libraries are loaded, their threads started
before = status("VmRSS")
if room:
    updates(width, tile)  # oneDNN calls a kernel that it had no memory to make: makes all of them
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + room, -1))
    network = NetworkConfig(
        family="u-net", width=width, depth=4, variant="figure1", dropout=0.5, normalised=False,
        skip_connections=True, expansive_width=None,
    )
    training = SimpleNamespace(
        output_tile=tile, batch=1, accumulate=1, precision=precision, optimiser="sgd"
    )
    device = torch.device("cpu")
    available = check_memory(TrainingStep.of(network, training, device), device)
try:
    updates(width, tile)
    print(status("VmHWM") - before)  # ru_maxrss would be that of pytest, where it is larger
except (RuntimeError, MemoryError) as error:
    print(explain_out_of_memory(error, network, training, device, available=available))
"""


def network(**changes):
    paper = NetworkConfig(
        family="u-net", variant="figure1", width=8, depth=2, dropout=0.5, normalised=False,
        skip_connections=True, expansive_width=None,
    )  # fmt: skip
    return replace(paper, **changes)


def run_updates(width, tile, precision="float32", keep=False, room=0):
    """Bytes by which a process grew, or what it said when it failed."""
    command = [sys.executable, "-c", PROGRAM, json.dumps([width, tile, precision, keep, room])]
    gives_back = {"MALLOC_MMAP_THRESHOLD_": "1000000"} if room else {}  # freed maps leave no holes
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | gives_back
    )
    return done.stdout.strip()


def update(model, optimiser, step):
    """One weight update of random tiles."""
    two_halos = {"u-net": 12 * 2**step.network.depth - 8, "sliding-window": 94}
    size = step.output_tile + two_halos[step.network.family]
    image = torch.rand(step.tiles, step.in_channels, size, size)
    classes = torch.zeros(step.tiles, step.output_tile, step.output_tile, dtype=torch.long)
    optimiser.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=step.value_size == 2):
        scores = model(image.to(memory_format=torch.channels_last))
    weighted_cross_entropy(scores, classes, torch.ones(classes.shape)).backward()
    optimiser.step()


def measured_live_memory(step, path):
    """Most bytes of tensors at once, as torch's profiler sees them allocated and freed."""
    kinds = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    options = {"momentum": 0.9} if step.optimiser == "sgd" else {}
    with profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        arguments = step.network.arguments()
        kind = NETWORKS[step.network.family]
        model = kind(step.in_channels, step.n_classes, **arguments)
        model = model.to(memory_format=torch.channels_last).train()
        optimiser = kinds[step.optimiser](model.parameters(), lr=1e-9, fused=True, **options)
        for _ in range(2):
            update(model, optimiser, step)
    seen.export_chrome_trace(str(path))
    events = [e for e in json.loads(path.read_text())["traceEvents"] if e["name"] == "[memory]"]
    changes = [e["args"]["Bytes"] for e in sorted(events, key=lambda e: e["ts"])]
    return max(np.cumsum(changes))


@pytest.mark.parametrize(
    "step",
    [
        TrainingStep(network(), 100),
        TrainingStep(network(dropout=0.0), 100),
        TrainingStep(network(), 100, tiles=2),
        TrainingStep(network(), 100, optimiser="adamw"),
        TrainingStep(network(), 100, value_size=2),
        TrainingStep(network(variant="release"), 100),
        TrainingStep(network(depth=3, width=4), 100, in_channels=3, n_classes=4),
        TrainingStep(network(depth=4, width=8), 4),
        TrainingStep(network(normalised=True), 100),
        TrainingStep(network(normalised=True), 100, value_size=2),
        TrainingStep(network(normalised=True), 100, tiles=2),
        TrainingStep(network(skip_connections=False), 100),
        TrainingStep(network(skip_connections=False, variant="release"), 100, value_size=2),
        TrainingStep(network(expansive_width=2), 100),
        TrainingStep(network(expansive_width=5, variant="release"), 100),
        TrainingStep(network(skip_connections=False, expansive_width=2), 100, tiles=2),
        TrainingStep(network(family="sliding-window", width=12, depth=4, dropout=0.0), 1, tiles=16),
    ],
    ids=[
        "sgd", "no drop-out", "batch", "adamw", "bfloat16", "release", "channels", "weights",
        "normalised", "normalised bfloat16", "normalised batch", "no copies",
        "no copies, release, bfloat16", "narrow", "narrow release", "no copies, narrow",
        "single windows",
    ],
)  # fmt: skip
def test_live_memory_is_what_the_profiler_sees(step, tmp_path):
    measured = measured_live_memory(step, tmp_path / "trace.json")
    assert live_memory(step) == pytest.approx(measured, rel=0.06)


def test_estimate_that_forgets_the_gradients_is_caught(monkeypatch, tmp_path):
    step = TrainingStep(network(), 100)
    measured = measured_live_memory(step, tmp_path / "trace.json")
    layer = module._Layer
    monkeypatch.setattr(module, "_Layer", lambda **sizes: layer(**(sizes | {"working": 0})))
    assert live_memory(step) < 0.95 * measured


def test_second_state_of_an_optimiser_is_one_number_for_each_weight_of_figure_1():
    sgd = TrainingStep(network(width=64, depth=4), 388)
    adamw = replace(sgd, optimiser="adamw")
    assert live_memory(adamw) - live_memory(sgd) == 4 * 31_030_658


def test_weights_of_the_release():
    sgd = TrainingStep(network(width=64, depth=4, variant="release"), 388)
    adamw = replace(sgd, optimiser="adamw")
    assert live_memory(adamw) - live_memory(sgd) == 4 * 31_100_354


@ON_LINUX
@pytest.mark.parametrize("keep", [False, True])
def test_process_grows_as_estimated(keep):
    step = TrainingStep(network(width=16, depth=4), 388, keeps_freed=keep)
    grown = int(run_updates(16, 388, keep=keep))
    assert grown > 200e6
    assert 0.85 * grown < training_memory(step) < 1.25 * grown


@ON_LINUX
def test_tile_that_the_message_names_fits_under_the_same_limit():
    said = run_updates(16, 388, room=180_000_000)
    assert said.startswith("out of memory: a training step with output tile 388 px at width 16 ")
    tile = int(said.partition(" free: ")[2].partition(" px would fit")[0])
    assert 100 < tile < 388
    assert run_updates(16, tile, room=180_000_000).isdigit()


@pytest.mark.parametrize("value_size", [2, 4])
def test_largest_tile_is_the_largest_that_fits(value_size):
    step = TrainingStep(network(), 388, value_size=value_size)
    memory = {tile: training_memory(replace(step, output_tile=tile)) for tile in range(4, 600, 4)}
    rng = np.random.default_rng(0)
    for available in rng.uniform(memory[4], memory[596], 30):
        tile = largest_tile(int(available), step)
        assert memory[tile] <= available < memory[tile + 4]
    assert largest_tile(memory[100], step) == 100
    assert largest_tile(memory[4] - 1, step) is None


def explain(error, available, batch=1, accumulate=1, width=64):
    training = SimpleNamespace(
        output_tile=388, batch=batch, accumulate=accumulate, precision="float32", optimiser="sgd"
    )
    shape = network(width=width, depth=4)
    return explain_out_of_memory(error, shape, training, CPU, available=available)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
    ],
    ids=lambda error: str(error)[:20] or "MemoryError",
)
def test_out_of_memory_is_recognised(error):
    said = explain(error, 1_000_000_000)
    assert isinstance(said, InputError)
    tile = largest_tile(900_000_000, TrainingStep(network(width=64, depth=4), 388))
    assert str(said) == (
        "out of memory: a training step with output tile 388 px at width 64 takes about 1.5 GB, "
        f"1.0 GB are free: {tile} px would fit (training.output_tile)"
    )


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory")]
)
def test_other_errors_are_not_about_memory(error):
    assert explain(error, 1_000_000) is None


def test_error_without_reason_is_not_about_memory_where_there_is_plenty():
    assert explain(RuntimeError("could not create a primitive"), 100_000_000_000) is None


def test_smaller_tile_is_named_even_if_the_step_should_have_fitted():
    said = str(explain(MemoryError(), 100_000_000_000))
    tile = int(said.partition(" free: ")[2].split()[0])
    assert 4 <= tile < 388


def test_parts_that_would_fit_are_named():
    # 2 of the 8 tiles take about 2.8 GB, 4 of them 5.3 GB.
    said = str(explain(MemoryError(), 3_500_000_000, batch=8))
    assert "8 output tiles of 388 px" in said
    assert said.endswith(
        "or 2 at once would fit (a smaller batch, or 4 times as many parts: training.accumulate)"
    )


def test_nothing_fits():
    said = str(explain(MemoryError(), 100_000_000))
    assert said.endswith("no output tile would fit, take a smaller width (network.width)")


def test_memory_measured_after_the_failure_counts_without_the_failed_step(monkeypatch):
    seen = []

    def available(device):
        seen.append(tensor_of_the_step() is None)
        return 10**9

    def step():
        tensor = torch.zeros(1)
        tensor_of_the_step.tensor = weakref.ref(tensor)
        raise MemoryError

    def tensor_of_the_step():
        return tensor_of_the_step.tensor()

    monkeypatch.setattr(module, "available_memory", available)
    with pytest.raises(MemoryError) as failure:
        step()
    assert "1.0 GB are free" in str(explain(failure.value, None))
    assert seen == [True]


def test_too_little_memory_is_warned_of_and_not_refused(monkeypatch, caplog):
    step = TrainingStep(network(width=64, depth=4), 388)
    monkeypatch.setattr(module, "available_memory", lambda device: 1_000_000_000)
    assert check_memory(step, CPU) == 1_000_000_000
    assert "takes about 1.5 GB, 1.0 GB are free" in caplog.text
    caplog.clear()
    monkeypatch.setattr(module, "available_memory", lambda device: 2_000_000_000)
    assert check_memory(step, CPU) == 2_000_000_000
    monkeypatch.setattr(module, "available_memory", lambda device: None)
    assert check_memory(step, CPU) is None
    assert not caplog.text


def test_step_of_one_process_is_its_share_of_a_part():
    training = SimpleNamespace(
        output_tile=388, batch=12, accumulate=2, precision="bfloat16", optimiser="adamw"
    )
    step = TrainingStep.of(network(), training, CPU, in_channels=3, n_processes=3)
    assert (step.tiles, step.value_size, step.optimiser, step.in_channels) == (2, 2, "adamw", 3)


def test_tile_larger_than_the_slice_and_its_mirror_images():
    message = (
        "output tile of 388 px needs an input of 572 px: a slice of 128 x 512 px and its mirror "
        "images give 382 px; the largest output tile that fits is 196 px"
    )
    with pytest.raises(InputError, match=f"^{message}$"):
        check_tile_fits((128, 512), 388)
    check_tile_fits((128, 512), 196)
    check_tile_fits((192, 192), 388)  # 3 * 192 - 2 = 574
    with pytest.raises(InputError, match="give 571 px"):
        check_tile_fits((191, 191), 388)


def test_slice_too_small_for_any_tile():
    with pytest.raises(InputError, match=r"^slice of 30 x 63 px: too small for 4 poolings"):
        check_tile_fits((30, 63), 4)


CELL, BACKGROUND = np.ones((2, 3, 3), int), np.zeros((2, 3, 3), int)
WEIGHTS = np.ones((2, 3, 3), np.float32)


@pytest.mark.parametrize(("classes", "missing"), [(CELL, "background"), (BACKGROUND, "cell")])
def test_slices_of_one_class_are_refused(classes, missing):
    message = f"^labels of the 2 training slices hold no {missing}: nothing to learn$"
    with pytest.raises(InputError, match=message):
        check_both_classes(classes, WEIGHTS)


def test_class_that_counts_nowhere_is_missing():
    classes = BACKGROUND.copy()
    classes[1, 1, 1] = 2
    check_both_classes(classes, WEIGHTS)
    with pytest.raises(InputError, match="no cell where the loss weight is above 0: nothing"):
        check_both_classes(classes, WEIGHTS * (classes == 0))
    with pytest.raises(
        InputError, match=r"^loss weights of the 2 training slices are 0 everywhere"
    ):
        check_both_classes(classes, 0 * WEIGHTS)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 2, 3, 4)])
def test_slices_of_one_grey_value_each_are_refused(shape):
    images = np.zeros(shape, np.float32)
    images[1] = 0.3
    with pytest.raises(InputError, match=r"^images of 2 training slices are the same everywhere: "):
        check_contrast(images)
    images[1, ..., 2, 3] = 0.4
    check_contrast(images)
