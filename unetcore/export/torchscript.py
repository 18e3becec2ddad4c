"""A network as TorchScript: one file that PyTorch runs by itself, also from Java or C++."""

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import torch

from unetcore import geometry
from unetcore.export.heads import Graph, Head, PaddedHead, ValidHead
from unetcore.model import UNet

CARD = "model.json"  # name of the model card beside the code
TRACED_SIZE = 2  # in periods of 16 px above the smallest input tile
WITH_PATHS = ".debug_pkl"  # where each operation stood in files of the machine that exported


def to_torchscript(network: UNet, head: Head, card: dict) -> bytes:
    """Content of a TorchScript file of a head, with the model card inside.

    Parameters
    ----------
    network : UNet in evaluation mode on the CPU.
    head : "padded" or "valid".
    card : plain JSON values.
    """
    side = geometry.input_size(4, network.depth) + TRACED_SIZE * geometry.phase(network.depth)
    tile = torch.zeros(1, network.settings["in_channels"], side, side)
    shell = {"padded": PaddedHead, "valid": ValidHead}[head]
    content = io.BytesIO()
    with _deprecated(), torch.inference_mode():
        traced = torch.jit.trace(Graph(network).eval(), tile, check_trace=False)
        script = torch.jit.script(shell(traced, network.depth).eval())
        torch.jit.save(script, content, _extra_files={CARD: json.dumps(card)})
    return _without_paths(content)


def open_torchscript(
    content: bytes, device: str | torch.device = "cpu"
) -> tuple[Callable[[np.ndarray], np.ndarray], dict | None]:
    """Read what `to_torchscript` made.

    Returns
    -------
    function of an array (B, C, H, W) float32; the model card, None if the file has none.

    Raises
    ------
    RuntimeError : the content is no TorchScript.
    """
    extra = {CARD: ""}
    with _deprecated():
        script = torch.jit.load(io.BytesIO(content), map_location=device, _extra_files=extra).eval()

    @torch.inference_mode()
    def run(image):
        return script(torch.as_tensor(image, device=device)).cpu().numpy()

    return run, json.loads(extra[CARD]) if extra[CARD] else None


@contextmanager
def _deprecated():
    """Let TorchScript be called: it is no longer developed, but is what other programs load."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        yield


def _without_paths(content: io.BytesIO) -> bytes:
    """Content of the file without what tells names of folders; it is for debugging alone."""
    kept = io.BytesIO()
    with zipfile.ZipFile(content) as script, zipfile.ZipFile(kept, "w") as archive:
        for member in script.infolist():
            if not member.filename.endswith(WITH_PATHS):
                archive.writestr(zipfile.ZipInfo(member.filename), script.read(member))
    return kept.getvalue()
