"""A trained network as one file that other programs can use."""

import copy
import io
import json
import logging
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

from unetcore import geometry
from unetcore.checkpoint import load_model
from unetcore.data.files import check_space, replacing
from unetcore.model import EPSILON, TileNormalisation, UNet

logger = logging.getLogger(__name__)

TRACED_SIZE = 2  # in periods of 16 px above the smallest input tile
NORMALISATION_WORDS = {
    "unit": "grey values divided by the largest of their type (255 or 65535), so in [0, 1]",
    "slice": "each whole slice shifted and scaled to mean 0 and standard deviation 1, before it is "
    "cut into tiles",
}
HOW_TO_TILE = """\
To predict the whole of an image, continue it by {halo} px of mirrored context on every side
(the edge pixel is not repeated), and let tiles begin at multiples of {step} px. Or let the
program that trained the network do it, from the folder of the unpacked archive:"""
HOW_NOT_TO_TILE = """\
This network normalises its feature maps, and `model.pt` takes their mean and standard deviation
from each tile that it is given. So what it says of a pixel depends on the tile, and **tiles do not
equal the whole**: continue an image by {halo} px of mirrored context on every side (the edge pixel
is not repeated), and give it to the network as one tile. Or let the program that trained the
network do it, from the folder of the unpacked archive: it takes the statistics of the whole image
once, and its tiles equal the whole."""


def export_model(model: Path, out: Path) -> None:
    """Write a zip with weights, TorchScript and model card.

    Members: `model.safetensors`, as trained; `model.pt`, TorchScript that maps (B, C, H, W)
    float32 input tiles to scores and needs PyTorch alone; `model.json`, the model card for
    programs; `README.md`, the same for people.

    Parameters
    ----------
    model : file that `unetcore.checkpoint.save_model` wrote.
    out : zip to write; its folder is made where it is missing.

    Raises
    ------
    InputError : the model is absent or damaged, or the disk has not enough free space.
    """
    model, out = Path(model), Path(out)
    network, description = load_model(model)
    script = to_torchscript(network)
    card = model_card(network, description)
    members = {
        "README.md": readme(card).encode(),
        "model.json": json.dumps(card, indent=1).encode(),
        "model.pt": script,
        "model.safetensors": model.read_bytes(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    check_space(out, sum(map(len, members.values())))
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # without a date


def to_torchscript(network: UNet) -> bytes:
    """Content of a TorchScript file of the valid network, for input tiles of any size that fits.

    A normalised network still normalises each tile by itself there, as it did in training.

    The file refuses other sizes, as the network does: the check cannot be traced, so a scripted
    one stands around the traced convolutions.

    Parameters
    ----------
    network : UNet in evaluation mode on the CPU.
    """
    side = geometry.input_size(4, network.depth) + TRACED_SIZE * geometry.phase(network.depth)
    tile = torch.zeros(1, network.settings["in_channels"], side, side)
    content = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        # TorchScript is no longer developed, but it is what programs in C++ and Java load.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        # The size check of the network, which we put back below.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        traced = torch.jit.trace(_traceable(network), tile, check_trace=False)
        torch.jit.save(torch.jit.script(_CheckedNetwork(traced, network.depth)), content)
    return content.getvalue()


def _traceable(network):
    """Copy in which the library normalises: a trace of our own knows batches of one tile only."""
    network = copy.deepcopy(network)
    for name, layer in list(network.named_modules()):
        if isinstance(layer, TileNormalisation):
            normalisation = nn.InstanceNorm2d(len(layer.weight), EPSILON, affine=True).eval()
            normalisation.load_state_dict(layer.state_dict())
            network.set_submodule(name, normalisation)
    return network


class _CheckedNetwork(nn.Module):
    """A traced network behind the check of the tile size that tracing leaves out."""

    def __init__(self, network, depth):
        super().__init__()
        self.network = network
        self.smallest = geometry.input_size(4, depth)
        self.period = geometry.phase(depth)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores (B, K, H - 184, W - 184) of input tiles (B, C, H, W)."""
        for side in image.shape[-2:]:
            if side < self.smallest or (side - self.smallest) % self.period != 0:
                raise ValueError(
                    f"input tile with a side of {side} px: the sizes that fit are "
                    f"{self.smallest} + {self.period} k"
                )
        return self.network(image)


def model_card(network: UNet, description: dict) -> dict:
    """All that a user of the network must know, as plain JSON values.

    Parameters
    ----------
    network : UNet.
    description : as kept with the model; it names the normalisation and how it was trained.
    """
    depth = network.depth
    normalisation = description["training"]["normalisation"]
    normalised = network.settings["normalised"]
    return {
        "input": {
            "axes": "BCHW",
            "type": "float32",
            "channels": network.settings["in_channels"],
            "smallest_size": geometry.input_size(4, depth),
            "size_step": geometry.phase(depth),
            "normalisation": normalisation,
            "normalisation_in_words": NORMALISATION_WORDS[normalisation],
        },
        "output": {
            "axes": "BCHW",
            "type": "float32",
            "channels": network.settings["n_classes"],
            "halo": geometry.halo(depth),
            "meaning": "scores before the softmax; channel 0 background or membrane, 1 cell "
            "interior",
        },
        "tiling": {
            "phase": geometry.phase(depth),
            "context": "mirrored at the image border, the edge pixel not repeated",
            "equals_whole": not normalised,
            "statistics_of_maps": "of each tile" if normalised else "none",
        },
        "network": network.settings,
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": description,
    }


def readme(card: dict) -> str:
    """Write a model card for people.

    Parameters
    ----------
    card : of `model_card`.
    """
    given, made, network = card["input"], card["output"], card["network"]
    step, smallest, halo = given["size_step"], given["smallest_size"], made["halo"]
    training = card["training"]
    settings, seamless = training["training"], card["tiling"]["equals_whole"]
    facts = [
        ("network", f"U-Net ({network['variant']}), width {network['width']}, depth "
                    f"{network['depth']}, {card['parameters']:,} parameters"),
        ("input", f"(B, {given['channels']}, H, W) float32, H and W each {smallest} + {step} k"),
        ("normalisation", f"`{given['normalisation']}`: {given['normalisation_in_words']}"),
        ("output", f"(B, {made['channels']}, H - {2 * halo}, W - {2 * halo}) float32, "
                   f"{made['meaning']}"),
        ("halo", f"{halo} px lost on every side"),
        ("phase", f"{step} px: tiles agree if their offsets are multiples of it"
                  f"{'' if seamless else ', but for the statistics of their maps, see below'}"),
        ("training", f"{training['steps']} steps of {settings['optimiser']}, rate "
                     f"{settings['learning_rate']}, seed {training['seed']}, "
                     f"{training['precision']} on {training['hardware']}"),
    ]  # fmt: skip
    table = "\n".join(f"| {name} | {fact} |" for name, fact in facts)
    return f"""\
# A trained U-Net

| | |
|---|---|
{table}

All settings of the training are in `model.json`.

## Use

With PyTorch alone:

```python
import torch

network = torch.jit.load("model.pt").eval()
image = torch.rand(1, {given["channels"]}, {smallest + step}, {smallest + 2 * step})  # normalised
probability = network(image).softmax(dim=1)[:, 1]  # {halo} px smaller on every side
```

{(HOW_TO_TILE if seamless else HOW_NOT_TO_TILE).format(halo=halo, step=step)}

```bash
unet predict FOLDER IMAGE.tif -o probability.tif
```
"""
