"""One head in one file, and proof that it gives what the network gives."""

from collections.abc import Callable

import numpy as np

from unetcore.export.card import TOLERANCE
from unetcore.export.heads import Head
from unetcore.export.onnx_file import open_onnx, to_onnx
from unetcore.export.sample import Sample
from unetcore.export.torchscript import open_torchscript, to_torchscript
from unetcore.model import UNet

WRITERS = {".pt": to_torchscript, ".onnx": to_onnx}
OPENERS = {".pt": open_torchscript, ".onnx": open_onnx}
Run = Callable[[np.ndarray], np.ndarray]


def largest_difference(form: str, head: Head, network: UNet, sample: Sample) -> float:
    """How far probabilities of an exported head are from the network's, on a drawn image.

    Parameters
    ----------
    form : ".pt" or ".onnx".

    Raises
    ------
    InputError : a package that the form needs is not installed.
    FloatingPointError : it is above the tolerance that is promised.
    """
    run, _ = OPENERS[form](WRITERS[form](network, head, {}))
    difference = float(np.abs(run(sample.normalised) - sample.expected).max())
    if not difference <= TOLERANCE:
        raise FloatingPointError(
            f"{head}{form}: gives probabilities that are {difference:.1e} from the network's, more "
            f"than {TOLERANCE:g}"
        )
    return difference
