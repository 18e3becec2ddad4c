"""TensorBoard: the curves of a training and a held-out slice, while it runs. Optional."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unetcore.errors import InputError
from unetcore.history import Progress

logger = logging.getLogger(__name__)

SCALARS = ("loss", "learning_rate", "gradient_norm", "foreground", "tiles_per_second")
FLUSH_SECONDS = 30  # as often as TensorBoard looks


class Board:
    """Events of one training, for `tensorboard --logdir FOLDER`.

    Steps must not decrease. A training that takes up an older state does some steps again: what an
    earlier `Board` wrote of the first step written here and of later ones is then hidden. A folder
    that cannot be written to any more, as on a full disk, is warned of once and does not stop the
    training.

    Parameters
    ----------
    folder : of the event files; made at the first event, shared by the parts of a training that
        was interrupted.

    Raises
    ------
    InputError : the package tensorboard is not installed.
    """

    def __init__(self, folder: Path):
        self._folder = Path(folder)
        self._open = _summary_writer()
        self._writer = None
        self._works = True

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def rewind(self, step: int) -> None:
        """Hide all events after a step, 0 for all there are; to be called before any is written."""
        self._write(lambda writer: None, step + 1)

    def add_progress(self, progress: Progress) -> None:
        """Add a row of the history to the curves `SCALARS`."""

        def add(writer):
            for name in SCALARS:
                writer.add_scalar(name, getattr(progress, name), progress.step)

        self._write(add, progress.step)

    def add_validation(
        self, step: int, values: Mapping[str, float], picture: np.ndarray | None = None
    ) -> None:
        """Add values measured on held-out slices, and a picture of one of them.

        Parameters
        ----------
        step : weight updates done.
        values : by name; "seg" becomes the curve "validation/seg".
        picture : (H, W) uint8 array, shown as "validation/slice".
        """

        def add(writer):
            for name, value in values.items():
                writer.add_scalar(f"validation/{name}", value, step)
            if picture is not None:
                writer.add_image("validation/slice", picture, step, dataformats="HW")
            writer.flush()

        self._write(add, step)

    def close(self) -> None:
        """Write what is still in memory. Later events open the board again."""
        if self._writer is not None:
            self._attempt(self._writer.close)
            self._writer = None

    def _write(self, add, step):
        """Call `add` with the writer, which hides older events of `step` and beyond."""
        if not self._works:
            return
        if self._writer is None:
            self._attempt(lambda: self._start(step))
        if self._works:
            self._attempt(lambda: add(self._writer))

    def _start(self, step):
        self._writer = self._open(str(self._folder), purge_step=step, flush_secs=FLUSH_SECONDS)

    def _attempt(self, act):
        try:
            act()
        except OSError as error:
            self._works, self._writer = False, None
            reason = error.strerror or error
            logger.warning("%s: no more events for TensorBoard: %s", self._folder, reason)


def _summary_writer():
    """Class that writes event files."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        if error.name != "tensorboard":
            raise
        raise InputError(
            "TensorBoard needs the package tensorboard: pip install unetcore[tensorboard]"
        ) from error
    return SummaryWriter
