"""What a bundle trains and predicts, as plain values: plan.json."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from unetcore.data.frames import Frame
from unetcore.errors import InputError

FORMAT = "unetcore-bundle-1"

# Settings of an experiment that decide what comes of it, beside its data and the code.
DECISIVE = ("split", "network", "augmentation", "training", "prediction")


@dataclass(frozen=True)
class Training:
    """One training of a plan."""

    experiment: str
    fold: str
    seed: int

    def __str__(self):
        return f"{self.experiment} fold {self.fold} seed {self.seed}"

    @property
    def folder(self) -> str:
        """Where its files lie below the folders of runs and of predictions, as in the workflow."""
        return f"{self.experiment}/fold-{self.fold}/seed-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """Trainings, and what is predicted by each.

    Attributes
    ----------
    name : of the table or study that it serves.
    codes : digests of the code, "training", "prediction" and "seams".
    datasets : by name, `images`, the name of an array, and `frames`, rows of frames.csv.
    experiments : by name, `dataset`; `classes` and `weights`, names of arrays; `folds`, `seeds`;
        `methods`, the averaging of each; `seams`, whether each training predicts a frame that
        shows them; `watch`; and the settings `DECISIVE`.
    """

    name: str
    codes: Mapping[str, str]
    datasets: Mapping[str, Mapping]
    experiments: Mapping[str, Mapping]

    def to_json(self) -> str:
        """Content of plan.json."""
        return json.dumps({"format": FORMAT} | asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, name: str) -> "Plan":
        """Plan from what `to_json` made.

        Raises
        ------
        InputError : it is no such text; `name` says where it stands.
        """
        try:
            values = json.loads(text)
            if values.pop("format", None) == FORMAT:
                return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{name}: not the plan of a bundle ({error})") from error
        raise InputError(f"{name}: not the plan of a bundle of the format {FORMAT}")

    def trainings(self, experiments: Iterable[str] = ()) -> list[Training]:
        """All trainings, seed by seed, so that the first seed of every fold comes first.

        Parameters
        ----------
        experiments : names of those that count; none for all.

        Raises
        ------
        InputError : an unknown experiment.
        """
        chosen = list(experiments) or list(self.experiments)
        if unknown := [name for name in chosen if name not in self.experiments]:
            known = ", ".join(self.experiments)
            raise InputError(f"unknown experiment {unknown[0]!r}: there are {known}")
        found = [
            Training(name, fold, seed)
            for name in chosen
            for seed in self.experiments[name]["seeds"]
            for fold in self.experiments[name]["folds"]
        ]
        return sorted(found, key=lambda training: training.seed)  # stable

    def shows_seams(self, training: Training) -> bool:
        """Whether a frame is predicted in several ways by a training."""
        return self.experiments[training.experiment]["seams"]

    def names(self, training: Training) -> dict[str, str]:
        """Experiment, dataset, fold and method of a training's network, not averaged."""
        own = self.experiments[training.experiment]
        method = next(iter(own["methods"])).partition("+")[0]
        place = {"experiment": training.experiment, "dataset": own["dataset"]}
        return place | {"fold": training.fold, "method": method}

    def frames(self, experiment: str) -> list[Frame]:
        """Frames of an experiment's dataset."""
        dataset = self.datasets[self.experiments[experiment]["dataset"]]
        return [Frame(**row) for row in dataset["frames"]]

    def decisive(self, experiment: str) -> dict:
        """All that decides what comes of an experiment's trainings, but their seeds and folds."""
        own = self.experiments[experiment]
        dataset = self.datasets[own["dataset"]]
        rows = json.dumps(dataset["frames"]).encode()
        data = {
            "frames": hashlib.sha256(rows).hexdigest()[:12],
            "images": dataset["images"],
            "classes": own["classes"],
            "weights": own["weights"],
        }
        return {"code": self.codes, **{key: own[key] for key in DECISIVE}, "data": data}
