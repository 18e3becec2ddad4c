"""The folder of one training: what it was given, how far it is, what came out."""

import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from unetcore.augment import AugmentConfig
from unetcore.checkpoint import load_model, load_state, save_model, write_atomically
from unetcore.data.annotated import AnnotatedImages
from unetcore.data.intensity import normalise
from unetcore.errors import InputError
from unetcore.model import UNet
from unetcore.provenance import hardware, source_digest
from unetcore.recipes import Recipe, targets
from unetcore.train import (
    NetworkConfig,
    Progress,
    TrainConfig,
    TrainingData,
    gpu_name,
    resolve_precision,
    train,
    write_history,
)

TRIAL_STEPS = 4  # the first one warms up and is not counted


@dataclass(frozen=True)
class RunFolder:
    """Names of the files of a run.

    Attributes
    ----------
    path : folder, made when the training starts.
    """

    path: Path

    @property
    def model(self) -> Path:
        """The trained network; there only when the training is complete."""
        return self.path / "model.safetensors"

    @property
    def history(self) -> Path:
        """Loss, rate and speed at every log step."""
        return self.path / "history.csv"

    @property
    def description(self) -> Path:
        """Settings of the run, written before its first step."""
        return self.path / "run.json"

    @property
    def state(self) -> Path:
        """State of an unfinished training."""
        return self.path / "unfinished.pt"

    def steps_done(self) -> int:
        """Number of steps that need not be repeated."""
        return (load_state(self.state) or {"step": 0})["step"]

    def load(self) -> tuple[UNet, dict]:
        """Read the trained network and its description.

        Raises
        ------
        InputError : there is none, or the training is unfinished.
        """
        if self.path.is_dir() and not self.model.is_file() and self.description.is_file():
            raise InputError(
                f"{self.path}: the training is unfinished, repeat its `unet train` command"
            )
        return load_model(self.model)


class Run:
    """One training of a recipe on someone's images, in a folder.

    Parameters
    ----------
    folder : where everything is written; a training that was interrupted there is continued.
    annotated : images and labels.
    recipe : settings.
    seed : of the initial weights and of every step.

    Raises
    ------
    InputError : the folder holds a run of other images or settings, or they do not fit together.
    """

    def __init__(self, folder: Path, annotated: AnnotatedImages, recipe: Recipe, seed: int):
        self.folder, self.seed = RunFolder(Path(folder)), seed
        self.network = NetworkConfig(**recipe.network)
        self.augmentation = AugmentConfig(**recipe.augmentation)
        self.training = TrainConfig(**recipe.training)
        if self.training.steps < 1:
            raise InputError(f"training of {self.training.steps} steps: need at least 1")
        classes, weights = targets(annotated.labels, annotated.kind, recipe)
        images = normalise(annotated.images, self.training.normalisation)
        self.data = TrainingData(images=images, classes=classes, weights=weights)
        self.settings = {
            "recipe": recipe.name,
            "seed": seed,
            **asdict(self.network),
            "steps": self.training.steps,
            "labels_are": annotated.kind,
            "training_images": list(images.shape),
            "images_and_labels": self.data.checksum(),
            "weight_map": dict(recipe.weight_map),
            "training": asdict(self.training),
            "augmentation": asdict(self.augmentation),
        }
        self._check_folder()

    @property
    def is_finished(self) -> bool:
        """Whether the folder already holds the model that this run makes."""
        return self.folder.model.is_file()

    def seconds_per_step(self) -> float:
        """Time of one step on this machine, from a few that change nothing."""
        trial = replace(self.training, steps=TRIAL_STEPS, log_every=1)
        _, rows = train(self.data, **self._arguments(trial))
        return statistics.median(1 / row.tiles_per_second for row in rows[1:])

    def train(self, report: Callable[[Progress], None]) -> list[Progress]:
        """Train, or continue, and write model, history and description.

        Parameters
        ----------
        report : called after every log step.

        Returns
        -------
        history, one row per log step.
        """
        description = self.settings | {
            "code": source_digest("unetcore.train"),
            "precision": resolve_precision(self.training.precision),
            "hardware": hardware(gpu_name()),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        self._describe(description)
        network, history = train(
            self.data,
            **self._arguments(self.training),
            code=description["code"],
            state_path=self.folder.state,
            report=report,
        )
        description["train_seconds"] = round(history[-1].seconds)
        write_history(self.folder.history, history)
        self._describe(description)
        save_model(self.folder.model, network, description)
        self.folder.state.unlink(missing_ok=True)
        return history

    def _arguments(self, training: TrainConfig) -> dict:
        return {
            "network": self.network,
            "augmentation": self.augmentation,
            "training": training,
            "seed": self.seed,
        }

    def _describe(self, description: dict) -> None:
        write_atomically(self.folder.description, json.dumps(description, indent=1).encode())

    def _check_folder(self) -> None:
        """Refuse to mix two trainings in one folder."""
        path = self.folder.path
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: a file is there, need a folder for the run")
        if not self.folder.description.is_file():
            if self.folder.model.is_file():
                raise InputError(f"{path}: holds a model of unknown origin, choose another folder")
            return
        earlier = json.loads(self.folder.description.read_text())
        if difference := next(_differences(earlier, self.settings), None):
            raise InputError(
                f"{path}: holds another training ({difference}), choose another folder or delete it"
            )


def _differences(earlier: Mapping, now: Mapping) -> Iterator[str]:
    """Say in which settings an earlier run differs, as "steps 100, now 200"."""
    for name, value in now.items():
        there = earlier.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            yield from _differences(there, value)
        elif there != value:
            yield f"{name.replace('_', ' ')} {there}, now {value}"
