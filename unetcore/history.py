"""What is on record of a training: one row for every log step."""

import csv
import io
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Progress:
    """State of a training at a log step; one row of history.csv.

    Attributes
    ----------
    step : weight updates done.
    loss : mean over the steps since the last row.
    learning_rate : of the last step.
    gradient_norm : largest of the steps since the last row, before it is clipped.
    foreground : share of the pixels that the network took for cell interior, not background, mean
        over the steps since the last row.
    tiles_per_second : since the last row.
    seconds : of training so far, earlier runs of a resumed training included.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    foreground: float
    tiles_per_second: float
    seconds: float


def progress_line(progress: Progress, steps: int, tiles_per_step: int = 1) -> str:
    """One line of a log: "step 200/700  loss 0.4120  rate 1.0e-03  6.1 tiles/s  1:22 left"."""
    left = round((steps - progress.step) * tiles_per_step / max(progress.tiles_per_second, 1e-9))
    minutes, seconds = divmod(left, 60)
    hours, minutes = divmod(minutes, 60)
    time_left = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    return (
        f"step {progress.step}/{steps}  loss {progress.loss:.4f}  "
        f"rate {progress.learning_rate:.1e}  {progress.tiles_per_second:.1f} tiles/s  "
        f"{time_left} left"
    )


def history_table(history: list[Progress]) -> bytes:
    """Content of history.csv: one row per log step, columns as in `Progress`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Progress.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in history)
    return text.getvalue().encode()
