"""What the tests of several processes run in each of them; torchrun runs this file itself."""

import logging
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from training_cases import AUGMENTATION, FAST, NETWORK, changed, random_arrays, weights_of

from unetcore.distributed import own_processes, processes, tell_torchrun
from unetcore.errors import InputError, Interrupted
from unetcore.launch import launch
from unetcore.train import TrainingData, train

logger = logging.getLogger("unetcore.launched")
CPU = torch.device("cpu")
SLOW = changed(FAST, steps=40, batch=2, log_every=1, checkpoint_every=2)


def several(report, **calls):
    """What functions of this file return, called one after the other, by their names."""
    calls["ask_everything"]["report"] = report
    return {name: globals()[name](**kwargs) for name, kwargs in calls.items()}


def ask_everything(n_threads_wanted, report):
    """What each method of `Processes` gives in each process."""
    with processes(CPU) as group:
        logger.info("process %d logs", group.rank)
        report("once", group.rank)
        report("twice", group.rank)
        answers = {
            "mean": group.mean(torch.tensor([1.0, 10.0 * group.rank])).tolist(),
            "max": group.max(7 - group.rank),
            "share": group.share({"from": group.rank}),
            "on_first": group.on_first(os.getpid),
            "tiles": list(group.tiles(6)),
            "threads": torch.get_num_threads() == n_threads_wanted,
            "error": error_on_first(group),
        }
        everything = [None] * group.size
        dist.all_gather_object(everything, answers)
        with processes(CPU) as again:
            assert again == group
        return everything, os.getpid()


def error_on_first(group):
    """Type and message of what `on_first` raises, when the function fails."""

    def fail():
        raise InputError(f"x of process {group.rank}: no")

    try:
        group.on_first(fail)
    except InputError as error:
        return str(error)


class Line(torch.nn.Module):
    """The function a x."""

    def __init__(self, slope):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def forward(self, x):
        return self.slope * x


def gradients_of_a_line(parts):
    """Gradient of the mean of (a x)^2, each process with its own x, in parts; and the last a."""
    with processes(CPU) as group:
        model = Line(1.0 + group.rank)  # the first process decides
        wrapped = group.wrap(model, CPU)
        numbers = parts[group.rank]
        for x in numbers[:-1]:
            with group.no_sync(wrapped):
                (wrapped(x) ** 2 / len(numbers)).backward()
        (wrapped(numbers[-1]) ** 2 / len(numbers)).backward()
        everything = [None] * group.size
        dist.all_gather_object(everything, (model.slope.item(), model.slope.grad.item()))
        return everything


class Vectors(torch.nn.Module):
    """Parameters whose gradient is whatever they are multiplied with."""

    def __init__(self, lengths):
        super().__init__()
        self.vectors = torch.nn.ParameterList(torch.zeros(n) for n in lengths)

    def forward(self, factors):
        return sum((v * f).sum() for v, f in zip(self.vectors, factors, strict=True))


def mean_gradients(lengths, n_steps):
    """Gradients that each process puts in, by (step, process, vector), and those that come out."""
    with processes(CPU) as group:
        model = Vectors(lengths)
        wrapped = group.wrap(model, CPU)
        came_out = []
        for step in range(n_steps):
            model.zero_grad()
            wrapped(
                [torch.from_numpy(g) for g in own_gradients(lengths, step, group.rank)]
            ).backward()
            came_out.append([v.grad.numpy().copy() for v in model.vectors])
        return came_out


def own_gradients(lengths, step, rank):
    """Numbers of very different size, whose sum depends on the order."""
    rng = np.random.default_rng([step, rank])
    return [(rng.normal(size=n) * 10.0 ** rng.integers(-3, 4, n)).astype("f4") for n in lengths]


def fail(how):
    """Fail in the second process, while the first waits for it."""
    with processes(CPU) as group:
        if group.rank == 1:
            failures[how]()
        group.barrier()


class Unpicklable(Exception):
    """An error that cannot be built from its own arguments."""

    def __init__(self, one, other):
        super().__init__(f"{one} {other}")


def _raise(error):
    raise error


failures = {
    "input": lambda: _raise(InputError("labels.tif: no such thing")),
    "bug": lambda: 1 // 0,
    "unpicklable": lambda: _raise(Unpicklable("two", "arguments")),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def train_by(training, states=None, stop_at=None):
    """Train on noise; weights and history. A signal reaches the first process at a step."""

    def report(row):
        if row.step == stop_at:
            signal.raise_signal(signal.SIGTERM)

    torch.set_num_threads(1)  # another number adds up in another order
    model, history = train(
        TrainingData(*random_arrays()), network=NETWORK, augmentation=AUGMENTATION,
        training=training, seed=0, states=states, device="cpu", report=report,
    )  # fmt: skip
    return weights_of(model).numpy(), history


def train_all(trainings):
    """Several trainings, one after the other."""
    return [train_by(training) for training in trainings]


def train_with_a_stop(training, folder):
    """Weights of an uninterrupted training, and of one that was stopped and went on."""
    whole, _ = train_by(training, folder / "whole")
    try:
        train_by(training, folder / "stopped", stop_at=5)
    except Interrupted as stop:
        said = (stop.signal, str(stop))
    resumed, _ = train_by(training, folder / "stopped")
    return whole, resumed, said


def train_slowly_in(folder, slow_from, accumulate, report):
    """Train, or continue, and write the model; from a step on there is time for a signal."""

    def told(row):
        report(row.step)
        if row.step >= slow_from:
            time.sleep(0.2)

    torch.set_num_threads(1)
    model, _ = train(
        TrainingData(*random_arrays()), network=NETWORK, augmentation=AUGMENTATION,
        training=changed(SLOW, accumulate=accumulate), seed=0, states=folder / "state",
        device="cpu", report=told,
    )  # fmt: skip
    if own_processes().is_first:
        np.save(folder / "weights.npy", weights_of(model).numpy())


def say(step):
    print("step", step, flush=True)


def main(how, folder, *numbers):
    """Train in two processes: `launch` starts them, under torchrun this is one of them."""
    slow_from, accumulate = map(int, numbers)
    arguments = {"folder": Path(folder), "slow_from": slow_from, "accumulate": accumulate}
    try:
        if how == "launch":
            launch(train_slowly_in, arguments, 2, report=say)
        else:
            first = own_processes().is_first
            train_slowly_in(**arguments, report=say if first else lambda step: None)
    except (Interrupted, InputError) as error:
        if own_processes().is_first:
            time.sleep(1)  # so the others would be sooner
            print(type(error).__name__, error, flush=True)
        tell_torchrun(error)
        sys.exit(2)


if __name__ == "__main__":
    main(*sys.argv[1:])
