"""Predict those chunks of a volume that are one job's share."""

import json
import logging
import re
from pathlib import Path

import torch

from unetcore.data.files import write_atomically
from unetcore.gpu_probe import take_gpus
from unetcore.memory import keep_freed_memory
from unetcore.script import run
from unetcore.volumes import Request, go_on, predict_part, progress_lines

logger = logging.getLogger(__name__)


def main(
    image: Path,
    model: Path,
    plan: Path,
    part: Path,
    *,
    probability: Path,
    share: str,
    device: str,
    code: str = "",
    threads: int = 1,
) -> None:
    torch.set_num_threads(threads)
    take_gpus(1, device)
    keep_freed_memory()
    number, n_parts = map(int, re.fullmatch(r"(\d+)-of-(\d+)", share).groups())
    prediction = go_on(Request(image, model, probability, device))
    n_predicted = predict_part(prediction, number, n_parts, progress_lines(30))
    write_atomically(part, json.dumps({"part": share, "n_predicted": n_predicted}).encode())
    logger.info("%s: %d chunks predicted of part %s", probability, n_predicted, share)


if __name__ == "__main__":
    run(main, globals().get("snakemake"), keep_log=True)
