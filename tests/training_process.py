"""A training of a few milliseconds per step, in a process of its own that a test may kill."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from unetcore.augment import AugmentConfig
from unetcore.checkpoint import save_model
from unetcore.history import history_table
from unetcore.script import run
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.states import States
from unetcore.train import TrainingData, _Training, train

STEPS = 48
NETWORK = NetworkConfig(
    family="u-net", variant="figure1", width=2, depth=1, dropout=0.5, normalised=False,
    skip_connections=True, expansive_width=None,
)  # fmt: skip
AUGMENTATION = AugmentConfig(
    shift=True, balanced=False, rotation=180, mirror=True, displacement_std=2, grid=3,
    kernel="bicubic", grey_shift=0.1, grey_scale=0.1,
)  # fmt: skip
SGD = dict(optimiser="sgd", momentum=0.99, weight_decay=0, schedule="step", clip=None)
ADAMW = dict(optimiser="adamw", momentum=0.9, weight_decay=0.01, schedule="cosine", clip=1.0)
NORMALISED = replace(NETWORK, normalised=True)
KINDS = {  # network, and what of its training is not the same for all
    "sgd": (NETWORK, SGD | dict(batch=1, dice=0)),
    "sgd, batch of 2": (NETWORK, SGD | dict(batch=2, dice=0)),
    "adamw": (NETWORK, ADAMW | dict(batch=1, dice=0)),
    "adamw, batch of 2": (NETWORK, ADAMW | dict(batch=2, dice=0)),
    "adamw, normalised": (NORMALISED, ADAMW | dict(batch=2, dice=0.5)),
}


def settings(kind: str) -> TrainConfig:
    """Settings with a state after every second step and a row of the history after every third."""
    _, own = KINDS[kind]
    return TrainConfig(
        steps=STEPS, accumulate=1, output_tile=20, normalisation="unit", initial_weights="he",
        learning_rate=0.01, warmup_steps=3, reduction="weighted-mean", precision="float32",
        deterministic=False, log_every=3, checkpoint_every=2, checkpoint_minutes=60,
        validate_every=0, **own,
    )  # fmt: skip


def data() -> TrainingData:
    rng = np.random.default_rng(0)
    return TrainingData(
        images=rng.uniform(0, 1, (3, 40, 48)).astype(np.float32),
        classes=rng.integers(0, 2, (3, 40, 48)).astype(np.uint8),
        weights=rng.uniform(0.5, 5, (3, 40, 48)).astype(np.float32),
    )


def train_in(
    folder: Path,
    kind: str,
    tell: Callable[[int], None] = lambda step: None,
    take_over: bool = False,
) -> None:
    """Train by one of `KINDS`, with states in a folder; write the model and the history there."""
    torch.set_num_threads(1)
    advance = _Training._advance

    def advance_and_tell(training):
        advance(training)
        tell(training.step)  # before anything is saved

    with patch.object(_Training, "_advance", advance_and_tell):
        network, history = train(
            data(), network=KINDS[kind][0], augmentation=AUGMENTATION, training=settings(kind),
            seed=3, states=folder / "state", device="cpu", take_over=take_over,
        )  # fmt: skip
    save_model(folder / "model.safetensors", network, {})
    (folder / "history.csv").write_bytes(history_table(history))
    States(folder / "state", {}).clear()


def train_here(
    folder: Path,
    kind: str,
    pipe: Connection,
    *,
    limit: int = STEPS + 1,
    dies_in: str | None = None,
    pause: float = 0.0,
    take_over: bool = False,
) -> None:
    """Train as a script does, and tell every step through a pipe.

    Parameters
    ----------
    limit : steps of this process after which to wait for an answer, so that a signal that comes
        late still finds the training under way.
    dies_in : function of `os` that from then on kills the process instead of doing its work.
    pause : seconds after each step.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    done = 0

    def die(*arguments, **named):
        os.kill(os.getpid(), signal.SIGKILL)

    def tell(step):
        nonlocal done
        done += 1
        pipe.send(step)
        time.sleep(pause)
        if done == limit:
            if dies_in is not None:
                setattr(os, dies_in, die)
            else:
                pipe.recv()

    def main():
        train_in(folder, kind, tell, take_over)

    run(main, argv=[])
