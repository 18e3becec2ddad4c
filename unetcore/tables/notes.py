"""Notes below a table: what its labels allow and what they do not."""

from collections.abc import Mapping, Sequence

from unetcore.data.frames import Frame


def label_notes(frames: Mapping[str, Sequence[Frame]]) -> list[str]:
    """Say what the labels of the datasets allow and what they do not.

    Parameters
    ----------
    frames : frames of each dataset, by its name.

    Returns
    -------
    list of str, a sentence or two each: test images without labels, and images with labels of only
    some cells.
    """
    notes = []
    for dataset, of_dataset in frames.items():
        test = [frame for frame in of_dataset if frame.split == "test"]
        if test and not any(frame.labelled for frame in test):
            notes.append(
                f"The archive of {dataset} holds no test labels: its {len(test)} test images can "
                "only be predicted. Our numbers come from training images that were held out, and "
                "are not comparable with those of the official test images."
            )
        labelled = [frame for frame in of_dataset if frame.labelled]
        if partial := [frame.id for frame in labelled if frame.partial]:
            notes.append(
                f"Of the {len(labelled)} labelled images of {dataset} these have labels of some "
                f"cells only: {', '.join(partial)}. They count for SEG, which looks at labelled "
                "cells, not for IoU, and are never trained on."
            )
    return notes
