"""Early warnings: a training that learns nothing is said to, while there is time to stop it."""

import logging
from collections import deque

from unetcore.history import Progress
from unetcore.settings import TrainConfig

logger = logging.getLogger(__name__)

WINDOW = 100  # least number of steps over which a training is judged
AT_THE_END = 20  # likewise, where there are no more
NEARLY = 0.99  # of the constant predictor's loss: as much as a tile more or less makes
EMPTY = 0.001  # share of the pixels, below which a class counts as never predicted


class Watch:
    """Looks at every row of a history, and warns once for each trouble until it has passed.

    Parameters
    ----------
    constant_loss : see `unetcore.loss.constant_loss`.
    config : the first `warmup_steps` are not judged.
    """

    def __init__(self, constant_loss: float, config: TrainConfig):
        self.constant_loss, self.config = constant_loss, config
        self.rows = deque()  # (row, steps it is the mean of), those after the warm-up
        self.last_step = 0
        self.said = set()

    def take_up(self, rows: list[Progress]) -> None:
        """Take in the rows of an earlier run of the same training, and say nothing of them."""
        for row in rows:
            self._add(row)

    def __call__(self, row: Progress) -> None:
        """Take in the next row of the history, and warn."""
        self._add(row)
        n_steps = sum(n for _, n in self.rows)
        if n_steps >= (AT_THE_END if row.step == self.config.steps else WINDOW):
            for trouble, is_there in self._troubles().items():
                self._say(trouble, is_there, row.step, n_steps)

    def _add(self, row: Progress) -> None:
        n_steps, self.last_step = row.step - self.last_step, row.step
        if row.step - n_steps < self.config.warmup_steps:
            return
        self.rows.append((row, n_steps))
        while sum(n for _, n in self.rows) - self.rows[0][1] >= WINDOW:
            self.rows.popleft()

    def _troubles(self) -> dict[str, bool]:
        nothing_learnt = self._mean("loss") >= NEARLY * self.constant_loss
        foreground = self._mean("foreground")
        return {
            f"the loss is not below {self.constant_loss:.4g}, that of a constant prediction: the "
            f"network has learnt nothing; look at the labels, or lower the learning "
            f"rate": nothing_learnt,
            "nearly every pixel is predicted as background": foreground < EMPTY,
            "nearly every pixel is predicted as cell interior": foreground > 1 - EMPTY,
        }

    def _mean(self, name: str) -> float:
        total = sum(getattr(row, name) * n for row, n in self.rows)
        return total / sum(n for _, n in self.rows)

    def _say(self, trouble: str, is_there: bool, step: int, n_steps: int) -> None:
        if is_there and trouble not in self.said:
            self.said.add(trouble)
            logger.warning("step %d, last %d steps: %s", step, n_steps, trouble)
        elif not is_there and trouble in self.said:
            self.said.remove(trouble)
            logger.info("step %d: no longer so: %s", step, trouble.partition(":")[0])
