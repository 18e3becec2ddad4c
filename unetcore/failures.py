"""A file from which an update whose loss or gradient was not finite can be computed again.

`python -m unetcore.failures FILE` does so, and prints what comes out.
"""

import argparse
import io
import pickle
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from unetcore.data.files import write_atomically
from unetcore.distributed import Processes
from unetcore.errors import BAD_INPUT, InputError
from unetcore.families import rebuild_network
from unetcore.settings import TrainConfig
from unetcore.update import Tiles, Update


def save_failure(
    folder: Path,
    update: Update,
    *,
    step: int,
    parts: list[Tiles],
    seeds: list[int],
    message: str,
    settings: dict,
) -> Path:
    """Write the network before an update, and the tiles and seeds of the update.

    Parameters
    ----------
    folder : where the file is written.
    update : one that has failed; it has left its weights as they were.
    step : number of the update, from 0.
    parts, seeds : what the update was called with.
    message : one line that describes the failure.
    settings : all that decides how the training goes, as plain values.

    Returns
    -------
    Path of the file.
    """
    path = folder / f"failure-{step:08d}.pt"
    content = io.BytesIO()
    torch.save(
        {
            "step": step,
            "family": update.model.family,
            "network": update.model.settings,
            "model": update.model.state_dict(),
            "training": asdict(update.config),
            "parts": [list(tiles) for tiles in parts],
            "seeds": seeds,
            "torch": str(torch.__version__),
            "message": message,
            "settings": settings,
        },
        content,
    )
    write_atomically(path, content.getvalue())
    return path


def refuse_repetition(folder: Path, settings: dict) -> None:
    """Refuse to repeat a training that has failed here; failures of other settings are let be.

    Raises
    ------
    FloatingPointError : the same training would fail again, after as many steps.
    """
    for path in sorted(folder.glob("failure-*.pt")):
        saved = _read(path)
        if saved["settings"] == settings:
            raise FloatingPointError(
                f"{saved['message']}; it has failed so before: delete {path} to try again"
            )


def reproduce(path: Path) -> tuple[int, float, float]:
    """Compute a failed update again, on the CPU.

    Parameters
    ----------
    path : file that `save_failure` wrote.

    Returns
    -------
    step, loss, norm of the gradient : one of the last two is not finite, unless it is so only on
    the device that the training ran on.

    Raises
    ------
    InputError : the file cannot be read, is damaged, or something else.
    """
    saved = _read(path)
    model = rebuild_network(saved["family"], saved["network"])
    model.load_state_dict(saved["model"])
    update = Update(model.train(), TrainConfig(**saved["training"]), Processes())
    loss, _, norm = update.gradient(saved["parts"], saved["seeds"])
    return saved["step"], float(loss), float(norm)


def _read(path: Path) -> dict:
    try:
        content = io.BytesIO(path.read_bytes())  # from a file torch says "Invalid argument" of some
        saved = torch.load(content, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not the file of a failed training") from error
    if not (isinstance(saved, dict) and "seeds" in saved):
        raise InputError(f"{path}: not the file of a failed training")
    return saved


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what comes of the update in a file; exit code 2 if it is no such file."""
    parser = argparse.ArgumentParser(
        prog="python -m unetcore.failures",
        description="Compute an update again whose loss or gradient was not finite, on the CPU.",
    )
    parser.add_argument("file", type=Path, help="failure-*.pt, which the training has named")
    try:
        found = reproduce(parser.parse_args(arguments).file)
    except InputError as problem:
        parser.exit(BAD_INPUT, f"{problem}\n")
    sys.stdout.write("step {}: loss {:g}, norm of the gradient {:g}\n".format(*found))


if __name__ == "__main__":
    main()
