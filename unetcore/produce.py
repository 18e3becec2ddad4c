"""A training and the files it leaves: what the workflow and the command line have in common."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from unetcore.augment import AugmentConfig
from unetcore.checkpoint import save_model
from unetcore.data.files import write_atomically
from unetcore.devices import choose_device, gpu_name, resolve_precision
from unetcore.distributed import own_processes
from unetcore.history import Progress, history_table
from unetcore.provenance import hardware
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.train import TrainingData, train
from unetcore.validation import Validation


@dataclass(frozen=True)
class Settings:
    """All that decides which network comes out, but the images; see `unetcore.train.train`."""

    network: NetworkConfig
    augmentation: AugmentConfig
    training: TrainConfig
    seed: int
    code: str
    device: str

    def describe(self) -> dict:
        """Settings, machine and versions, as plain values for run.json and the model file."""
        place = choose_device(self.device, own_processes().local_rank)
        return {
            "code": self.code,
            "seed": self.seed,
            "family": self.network.family,
            **self.network.arguments(),
            "steps": self.training.steps,
            "precision": resolve_precision(self.training.precision, place),
            "hardware": hardware(gpu_name(place)),
            "threads": torch.get_num_threads(),
            "processes": own_processes().size,
            "torch": torch.__version__,
            "training": asdict(self.training),
            "augmentation": asdict(self.augmentation),
        }


@dataclass(frozen=True)
class Products:
    """Files that a training writes when it is complete.

    Attributes
    ----------
    model : weights and what a user must know of them.
    history : loss, rate and speed at every log step.
    validation : scores on held-out images; no rows where none were looked at.
    provenance : settings, code, hardware and time.
    """

    model: Path
    history: Path
    validation: Path
    provenance: Path


def produce_model(
    data: TrainingData,
    settings: Settings,
    products: Products,
    *,
    states: Path,
    take_over: bool,
    history_so_far: Path,
    report: Callable[[Progress], None],
    keep_finished: bool = False,
    validation: Validation | None = None,
    facts: Mapping | None = None,
    judge: Callable[[nn.Module], Mapping] | None = None,
) -> list[Progress]:
    """Train a network, or continue, and write what comes of it.

    Parameters
    ----------
    data, settings : what is trained, and how.
    products : written when the training is complete, the model last but one, by the first process.
    states, take_over, history_so_far, report : see `unetcore.train.train`.
    keep_finished : whether the last state stays, see `unetcore.states.States.finish`; else none.
    validation : looks at held-out images during the training.
    facts : more that a user of the model must know, as plain values.
    judge : called with the trained network; tells more such facts.

    Returns
    -------
    history, one row per log step.

    Raises
    ------
    InputError, FloatingPointError, Interrupted : see `unetcore.train.train`.
    """

    def deliver(network, rows, kept):
        known = settings.describe() | (facts or {}) | (judge(network) if judge else {})
        _write(products, known, network, rows, validation)
        if keep_finished:
            kept.finish(settings.training.steps)
        else:
            kept.clear()

    _, rows = train(
        data,
        **vars(settings),
        states=states,
        take_over=take_over,
        history_so_far=history_so_far,
        report=report,
        validate=validation,
        deliver=deliver,
    )
    return rows


def _write(products, description, network, rows, validation) -> None:
    """Write the products, each whole or not at all."""
    if validation is None:
        write_atomically(products.validation, b"step,seconds,loss\n")
    else:
        validation.report()
        validation.save(products.validation)
        description["validation"] = validation.summary()
    write_atomically(products.history, history_table(rows))
    save_model(products.model, network, description)  # nothing of the clock: equal bytes
    record = description | {"train_seconds": round(rows[-1].seconds)}
    write_atomically(products.provenance, json.dumps(record, indent=1).encode())
