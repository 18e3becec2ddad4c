"""What comes of a bundle: the folder that it works in, and the file that goes home."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from unetcore.bundle.archive import MAP, MODEL, PLAN, PREDICTION, RECORDS, SEAM, writing
from unetcore.bundle.plan import Plan, Training
from unetcore.produce import Products


class WorkFolder:
    """Folder in which the trainings of a bundle are made, in the layout of the workflow's results.

    Parameters
    ----------
    path : made where it is missing.
    plan : of the bundle.
    """

    def __init__(self, path: Path, plan: Plan):
        self.path, self.plan = Path(path), plan

    def products(self, training: Training) -> Products:
        """Files of a training; run.json is written last."""
        folder = self.path / "runs" / training.folder
        return Products(folder / MODEL, *(folder / name for name in RECORDS))

    def states(self, training: Training) -> Path:
        """Folder of the states of an unfinished training."""
        return self.path / "state" / training.folder

    def prediction(self, training: Training, method: str) -> Path:
        """Folder of a prediction, in which prediction.json is written last."""
        return self.path / "predictions" / training.folder / method

    def seams(self, training: Training) -> Path:
        """Folder of the frame that shows seams, in which seam.json is written last."""
        return self.path / "seams" / training.folder

    def lacks_seams(self, training: Training) -> bool:
        """Whether that frame is still to be predicted by a training."""
        return self.plan.shows_seams(training) and not (self.seams(training) / SEAM).exists()

    def missing(self, training: Training) -> list[str]:
        """Methods of a training by which nothing is predicted yet."""
        methods = self.plan.experiments[training.experiment]["methods"]
        done = (self.prediction(training, m) / PREDICTION for m in methods)
        return [m for m, path in zip(methods, done, strict=True) if not path.exists()]

    def is_trained(self, training: Training) -> bool:
        """Whether the network of a training is there."""
        return self.products(training).provenance.exists()

    def is_complete(self, training: Training) -> bool:
        """Whether nothing is left to do for a training."""
        is_predicted = not self.missing(training) and not self.lacks_seams(training)
        return self.is_trained(training) and is_predicted


def pack_results(
    path: Path, folder: WorkFolder, trainings: Iterable[Training], *, models: bool
) -> None:
    """Write the file that goes home, whole or not at all.

    Parameters
    ----------
    path : file to be made or replaced.
    folder : where the trainings were made.
    trainings : the complete ones.
    models : whether the models go along.
    """
    with writing(path) as archive:
        archive.add(PLAN, folder.plan.to_json())
        for training in trainings:
            run = folder.products(training).provenance.parent
            for name in (*RECORDS, MODEL) if models else RECORDS:
                archive.add(f"runs/{training.folder}/{name}", (run / name).read_bytes())
            for method in folder.plan.experiments[training.experiment]["methods"]:
                there = folder.prediction(training, method)
                name = f"predictions/{training.folder}/{method}"
                archive.add_array(f"{name}/{MAP}", np.load(there / MAP))
                archive.add(f"{name}/{PREDICTION}", (there / PREDICTION).read_bytes())
            if folder.plan.shows_seams(training):
                there, name = folder.seams(training), f"seams/{training.folder}"
                archive.add_array(f"{name}/{MAP}", np.load(there / MAP))
                archive.add(f"{name}/{SEAM}", (there / SEAM).read_bytes())
