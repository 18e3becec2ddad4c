"""Make the image that takes the prediction of a volume, or find the one to be continued."""

import json
import logging
from pathlib import Path

from unetcore.data.files import write_atomically
from unetcore.gpu_probe import take_gpus
from unetcore.script import run
from unetcore.volumes import Request, start

logger = logging.getLogger(__name__)


def main(
    image: Path,
    model: Path,
    plan: Path,
    *,
    probability: Path,
    chunk: int,
    precision: str,
    fill_missing: bool,
    memory_mb: int,
    device: str,
    pixel_size_um: float | None = None,
    code: str = "",
) -> None:
    take_gpus(1, device)
    prediction = start(
        Request(image, model, probability, device, fill_missing, pixel_size_um),
        side=chunk,
        memory=memory_mb * 1_000_000,
        precision=precision,
        code=code,
        start_anew=True,
    )
    record = prediction.target.record | {"n_chunks": prediction.plan.n_chunks}
    write_atomically(plan, json.dumps(record, indent=1).encode())
    logger.info("%s: %d chunks to be predicted", probability, len(prediction.target.missing()))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
