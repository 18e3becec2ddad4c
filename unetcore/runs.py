"""The folder of one training: what it was given, how far it is, what came out."""

import json
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import nn

from unetcore.augment import AugmentConfig
from unetcore.board import Board
from unetcore.checkpoint import load_model
from unetcore.data.annotated import AnnotatedImages
from unetcore.data.files import write_atomically
from unetcore.differences import differences
from unetcore.distributed import own_processes
from unetcore.errors import InputError
from unetcore.evaluate import OF_CELLS, OF_MEMBRANES
from unetcore.history import Progress
from unetcore.labels import IGNORED, known_labels
from unetcore.model import UNet
from unetcore.predict import Predictor, predict_probability
from unetcore.produce import Products, Settings, produce_model
from unetcore.provenance import source_digest
from unetcore.recipes import Recipe
from unetcore.settings import OF_THE_WATCH, NetworkConfig, TrainConfig
from unetcore.states import States
from unetcore.thresholds import choose_threshold, smallest_object
from unetcore.tile_timing import seconds_per_update
from unetcore.train import TrainingData, checksum
from unetcore.validation import Validation
from unetcore.weight_settings import WeightMapConfig
from unetcore.weights import weight_maps

logger = logging.getLogger(__name__)

MOST_JUDGED = 8  # images on which a threshold is chosen


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
    def validation(self) -> Path:
        """Scores on held-out images."""
        return self.path / "validation.csv"

    @property
    def description(self) -> Path:
        """Settings of the run, written before its first step."""
        return self.path / "run.json"

    @property
    def board(self) -> Path:
        """Events for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def states(self) -> Path:
        """Folder of the states of an unfinished training."""
        return self.path / "unfinished"

    def steps_done(self) -> int:
        """Number of steps that need not be repeated."""
        return States(self.states, {}).newest_step()

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
    annotated : images and labels; those that are held out there are not trained on.
    recipe : settings.
    seed : of the initial weights and of every step.
    held_out : so many images, the last ones, are held out, where `annotated` holds out none. The
        training is watched on what is held out.
    device : "cpu", "gpu" or "auto", see `unetcore.devices.choose_device`.
    tensorboard : whether TensorBoard can show the training.

    Raises
    ------
    InputError : the folder holds a run of other images or settings, they do not fit together, or
        TensorBoard is wanted and not installed.
    """

    def __init__(
        self,
        folder: Path,
        annotated: AnnotatedImages,
        recipe: Recipe,
        seed: int,
        held_out: int = 0,
        device: str = "auto",
        tensorboard: bool = False,
    ):
        self.folder, self.recipe = RunFolder(Path(folder)), recipe
        n_images, held_out = len(annotated.images), _held_out(annotated, held_out)
        if not 0 <= held_out < n_images:
            raise InputError(f"{held_out} of {n_images} images held out: one must be left to train")
        self.settings = Settings(
            NetworkConfig(**recipe.network),
            AugmentConfig(**recipe.augmentation),
            TrainConfig(**recipe.training),
            seed,
            source_digest("unetcore.train"),
            device,
        )
        weight_map = {**recipe.weight_map_of(annotated.kind), "ignore_label": IGNORED}
        images, labels = annotated.stacked(self.settings.training.normalisation)
        classes, weights = weight_maps(labels, annotated.kind, WeightMapConfig(**weight_map))
        last = n_images - held_out
        self.data = TrainingData(images[:last], classes[:last], weights[:last])
        self.labels = labels[:last]
        self.held = (images[last:], labels[last:], classes[last:], weights[last:])
        self.kind = annotated.kind
        self.facts = {
            "recipe": recipe.name,
            "labels_are": annotated.kind,
            "label_map": str(annotated.settings.label_map),
            "pixel_size_um": annotated.settings.pixel_size_um,
            "channels": annotated.channels and list(annotated.channels),
            "held_out": held_out,
            "training_images": list(self.data.images.shape),
            "images_and_labels": self.data.checksum(),
            "weight_map": weight_map,
        }
        if held_out:
            self.facts["held_out_images_and_labels"] = checksum(*self.held)
        self._check_folder()
        watches = own_processes().is_first and not self.is_finished
        self.board = Board(self.folder.board) if watches and tensorboard else None
        self.validation = self._validation() if watches and held_out else None

    @property
    def is_finished(self) -> bool:
        """Whether the folder already holds the model that this run makes."""
        return self.folder.model.is_file()

    def train(self, report: Callable[[Progress], None]) -> list[Progress]:
        """Train, or continue, and write model, history and description.

        Parameters
        ----------
        report : called after every log step.

        Returns
        -------
        history, one row per log step.
        """
        folder = self.folder
        if own_processes().is_first:
            described = self.settings.describe() | self.facts
            write_atomically(folder.description, json.dumps(described, indent=1).encode())
        products = Products(folder.model, folder.history, folder.validation, folder.description)

        def show(row):
            report(row)
            if self.board is not None:
                self.board.add_progress(row)

        with self.board or nullcontext():
            return produce_model(
                self.data,
                self.settings,
                products,
                states=folder.states,
                take_over=False,
                history_so_far=folder.history,
                report=show,
                validation=self.validation,
                facts=self.facts,
                judge=self._judge,
            )

    def seconds_per_update(self) -> float:
        """Time of an update here, measured; see `unetcore.tile_timing.seconds_per_update`."""
        settings = self.settings
        return seconds_per_update(settings.network, settings.training, settings.device)

    def _judge(self, network: nn.Module) -> dict:
        """Choose how cells are cut out of the network's maps.

        A few training images, spread over all, are looked at: what is held out judges, and chooses
        nothing.
        """
        images, labels = self.data.images, self.labels
        chosen = np.linspace(0, len(images) - 1, min(len(images), MOST_JUDGED)).round().astype(int)
        precision, device = self.settings.training.precision, self.settings.device
        predictor = Predictor(network, precision, device=device)
        maps = np.stack([predict_probability(images[k], predictor) for k in chosen])
        cutting = self._cutting()
        threshold = choose_threshold(labels[chosen], maps, self.kind, cutting)
        return {
            "postprocessing": {**cutting, "threshold": threshold},
            "threshold_chosen_on": "training images",
        }

    def _cutting(self) -> dict:
        """How cells are cut out before a threshold is chosen, see `unetcore.instances`."""
        smallest = smallest_object(self.labels, self.kind)
        return {**self.recipe.postprocessing, "smallest_object": smallest}

    def _validation(self) -> Validation:
        of_cells = self.kind == "instances"
        images, labels, classes, weights = self.held
        ignored = labels == IGNORED
        return Validation(
            images,
            known_labels(labels),
            classes,
            weights,
            metrics=OF_CELLS if of_cells else OF_MEMBRANES,
            postprocessing=self._cutting() if of_cells else None,
            path=self.folder.validation,
            precision=self.settings.training.precision,
            board=self.board,
            ignored=ignored if ignored.any() else None,
        )

    def _check_folder(self) -> None:
        """Refuse to mix two trainings in one folder."""
        path = self.folder.path
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: a file is there, need a folder for the run")
        earlier = self._earlier()
        if earlier is None:
            return
        settings = self.settings
        now = {
            **self.facts,
            "seed": settings.seed,
            **asdict(settings.network),
            "training": settings.training.decisive(),
            "augmentation": asdict(settings.augmentation),
        }
        if not self.is_finished and self.folder.steps_done():
            now["code"] = settings.code
        there = {name: earlier[name] for name in now if name in earlier}
        trained = earlier.get("training", {}).items()
        there["training"] = {key: value for key, value in trained if key not in OF_THE_WATCH}
        if found := differences(there, json.loads(json.dumps(now))):
            raise InputError(
                f"{path}: holds another training ({found}), choose another folder or delete it"
            )

    def _earlier(self) -> dict | None:
        """What is on record of the training in the folder; None if there is nothing."""
        if self.is_finished:
            return load_model(self.folder.model)[1]
        if not self.folder.description.is_file():
            return None
        try:
            return dict(json.loads(self.folder.description.read_text()))
        except (ValueError, TypeError):  # its states say themselves what they are of
            logger.warning("%s: damaged, and written anew", self.folder.description)
            return None


def _held_out(annotated: AnnotatedImages, asked: int) -> int:
    """Number of images, the last ones, that are held out."""
    if asked and annotated.n_held_out:
        raise InputError(
            f"{asked} image(s) are to be held out, and the sample sheet holds out "
            f"{annotated.n_held_out}: say one of the two"
        )
    return asked or annotated.n_held_out
