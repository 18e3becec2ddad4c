"""Page to look at the predicted frames of a fold."""

import json
import logging
from pathlib import Path

from unetcore.data.frames import read_frames
from unetcore.data.io import open_frames, open_labels, open_probability, read_frame_images
from unetcore.script import run
from unetcore.view import write_view

logger = logging.getLogger(__name__)


def main(
    images: Path,
    labels: Path,
    frames: Path,
    probability: Path,
    segmentation: Path | None,
    metrics: Path,
    page: Path,
    *,
    title: str,
    postprocessing: dict,
    field_of_interest: int,
    max_bytes: int,
    ignore_label: int | None = None,
    code: str = "",
) -> None:
    evaluation = json.loads(metrics.read_text("utf-8"))
    page_of = {frame.id: frame.index for frame in read_frames(frames)}
    tested = [page_of[name] for name in evaluation["frames"]]
    reference, ignored = open_frames(labels, tested, ignore_label)
    shown = write_view(
        page,
        read_frame_images(images, len(page_of))[tested],
        open_probability(probability),
        labels=reference,
        ignored=ignored,
        segmentation=open_labels(segmentation) if segmentation else None,
        metrics=evaluation["metrics"],
        title=f"{title}: {evaluation['method']}",
        names=evaluation["frames"],
        border=field_of_interest,
        max_bytes=max_bytes,
        **postprocessing,
    )
    logger.info("%s: %d of %d frames", page, len(shown.pages), shown.n_slices)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
