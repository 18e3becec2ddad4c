"""Weight map (Eq. 2)."""

import numpy as np

from benchmarks import images, peers
from benchmarks.timing import Row, compare, smaller_is_better
from unetcore.weights import border_weight


def weight_map() -> list[Row]:
    """Border term of a 512 image with few, some and many cells."""
    rows = []
    largest = 0.0
    for n, repeats in ((50, 5), (200, 3), (1000, 3)):
        labels = images.discs(n, 512)
        largest = max(largest, np.abs(border_weight(labels) - peers.border_weight(labels)).max())
        rows += compare(
            f"weight map, 512 image, {n} cells",
            lambda labels=labels: border_weight(labels),
            {
                "scipy distance transform per cell": lambda labels=labels: peers.border_weight(
                    labels
                )
            },
            repeats=repeats,
            warm_up=False,  # the line above has compiled it
        )
    difference = smaller_is_better(
        "weight map, largest difference",
        float(largest),
        1e-5,
        unit="weight",
        peer_name="largest allowed",
    )
    return [*rows, difference]
