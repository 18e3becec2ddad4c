"""Put the results of a bundle where the rules train and predict would have made them."""

import logging
from pathlib import Path

from unetcore.bundle.plan import Plan
from unetcore.bundle.unpack import unpack_results
from unetcore.data.files import write_atomically
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(results: Path, plan: Path, placed: Path) -> None:
    wanted = Plan.from_json(plan.read_bytes(), str(plan))
    unpacked = unpack_results(results, wanted, placed.parents[1])
    write_atomically(placed, "".join(f"{path}\n" for path in unpacked.placed).encode())
    for training in unpacked.missing:
        logger.warning("%s: not in %s: it would be trained here", training, results)
    logger.info("%s: %d files of maps are in place", placed, len(unpacked.placed))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
