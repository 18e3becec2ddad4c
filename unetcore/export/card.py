"""What a user of a trained network must know: the model card, for programs and for people."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from unetcore import __version__, geometry
from unetcore.predict import STATISTICS_SIDE
from unetcore.recipes import FAST

TOLERANCE = 1e-4  # of a probability: most that an exported form may differ from the network
NORMALISATION_WORDS = {
    "unit": "grey values divided by the largest of their type (255 or 65535), so in [0, 1]",
    "slice": "each channel of each whole image shifted and scaled to mean 0 and standard deviation "
    "1, before it is cut into tiles",
}
PAPER = {
    "text": "Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image "
    "Segmentation, MICCAI 2015",
    "doi": "10.1007/978-3-319-24574-4_28",
}
SCORES = {
    "loss": "loss",
    "warping_error": "warping error",
    "rand_error": "Rand error",
    "pixel_error": "pixel error",
    "v_rand": "V_rand",
    "v_info": "V_info",
    "seg": "SEG",
    "iou": "IoU",
}


@dataclass(frozen=True)
class Credits:
    """What only the person who exports a model can say.

    Attributes
    ----------
    title : name of the model; None takes one that names the recipe.
    licence : SPDX identifier, None where none was given: then nobody else has a right to use it.
    authors : names.
    """

    title: str | None = None
    licence: str | None = None
    authors: tuple[str, ...] = ()


NOBODY = Credits()


def model_card(
    network: nn.Module,
    description: dict,
    credits: Credits = NOBODY,
    *,
    heads: tuple[str, ...] = (),
    differences: Mapping[str, float] | None = None,
) -> dict:
    """All that a user of the network must know, as plain JSON values.

    Parameters
    ----------
    network : UNet or another of `unetcore.families`.
    description : as kept with the model; it names the normalisation and how it was trained.
    credits : of the person who exports.
    heads : "padded", "valid", those that the file holds; none where it holds weights alone.
    differences : largest difference of a probability from the network's, by file, as measured.
    """
    depth, settings = network.depth, network.settings
    training = description["training"]
    normalised = settings.get("normalised", False)
    recipe = description.get("recipe")
    return {
        "made_by": f"unetcore {__version__}",
        "title": credits.title or (f"U-Net ({recipe})" if recipe else "U-Net"),
        "licence": credits.licence,
        "authors": list(credits.authors),
        "cite": [PAPER],
        "heads": list(heads),
        "input": {
            "axes": "BCHW",
            "type": "float32",
            "channels": settings["in_channels"],
            "channel_names": description.get("channels"),
            "pixel_size_um": description.get("pixel_size_um"),
            "normalisation": training["normalisation"],
            "normalisation_in_words": NORMALISATION_WORDS[training["normalisation"]],
        },
        "output": {
            "axes": "BCHW",
            "type": "float32",
            "channels": settings["n_classes"],
            "meaning": "probabilities of the classes; channel 0 background or membrane, 1 cell "
            "interior",
            "postprocessing": dict(FAST.postprocessing) | description.get("postprocessing", {}),
            "threshold_chosen_on": description.get("threshold_chosen_on"),
        },
        "tiling": {
            "halo": geometry.halo(depth),
            "phase": geometry.phase(depth),
            "smallest_size": geometry.input_size(4, depth),
            "size_step": geometry.phase(depth),
            "context": "mirrored at the image border, the edge pixel not repeated",
            "equals_whole": not normalised,
            "statistics_of_maps": "of each tile" if normalised else "none",
        },
        "exactness": {"tolerance": TOLERANCE, "measured": dict(differences or {})},
        "data": _data(description),
        "scores": description.get("validation"),
        "family": network.family,
        "network": settings,
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": description,
    }


def _data(description):
    """Facts of the training images; None where the model does not say."""
    shape = description.get("training_images")
    return {
        "images": shape[0] if shape else None,
        "size": shape[-2:] if shape else None,
        "labels_are": description.get("labels_are"),
        "label_map": description.get("label_map"),
        "pixel_size_um": description.get("pixel_size_um"),
        "held_out": description.get("held_out"),
        "digest": description.get("images_and_labels"),
    }


def readme(card: dict) -> str:
    """Write a model card for people, in Markdown.

    Parameters
    ----------
    card : of `model_card`.
    """
    parts = [
        f"# {card['title']}",
        _table(card),
        "All settings of the training are in `model.json`.",
        "## Use",
        *([_use_of_heads(card)] if card["heads"] else []),
        "By the program that trained it, which plans tiles and takes statistics of the whole "
        "image, from this file or from the weights:",
        "```bash\nunet predict MODEL IMAGE.tif -o probability.tif\n```",
        _cutting(card),
        "## What to expect",
        _expect(card),
        "## Validation",
        _validation(card),
    ]
    return "\n\n".join(parts) + "\n"


def _table(card):
    given, made, tiling = card["input"], card["output"], card["tiling"]
    network, training, data = card["network"], card["training"], card["data"]
    settings, step = training["training"], tiling["size_step"]
    size = f"{data['size'][0]} x {data['size'][1]} px" if data["size"] else "not recorded"
    count = data["images"] or "not recorded"
    pixel = f"{data['pixel_size_um']:g} um" if data["pixel_size_um"] else "not given"
    licence = card["licence"] or (
        "none given: nobody but its authors may copy or use it until they give one"
    )
    facts = [
        ("licence", licence),
        ("authors", ", ".join(card["authors"]) or "not given"),
        ("network", f"{card['family']} ({network.get('variant', 'plain')}), width "
                    f"{network['width']}, depth {network['depth']}, {card['parameters']:,} "
                    "parameters"),
        ("input", f"(B, {given['channels']}, H, W) float32{_names(given)}"),
        ("normalisation", f"`{given['normalisation']}`: {given['normalisation_in_words']}"),
        ("output", f"(B, {made['channels']}, h, w) float32, {made['meaning']}"),
        ("valid head", f"H and W each {tiling['smallest_size']} + {step} k; {tiling['halo']} px "
                       "are lost on every side"),
        ("padded head", "any H and W; h = H and w = W"),
        ("phase", f"{step} px: tiles agree if their offsets are multiples of it"
                  f"{_but_for_statistics(tiling)}"),
        ("training images", f"{count}, {size}, labels: {data['labels_are'] or 'not recorded'} "
                            f"({data['label_map'] or 'values not recorded'}), pixel size {pixel}"),
        ("recipe", f"{training.get('recipe', 'not named')}: {training['steps']} steps of "
                   f"{settings['optimiser']}, rate {settings['learning_rate']}, seed "
                   f"{training['seed']}, {training['precision']} on {training['hardware']}"),
        ("code", f"digest {training.get('code', 'not recorded')}, exported by {card['made_by']}"),
        ("cite", f"{PAPER['text']}, doi {PAPER['doi']}"),
    ]  # fmt: skip
    rows = "\n".join(f"| {name} | {fact} |" for name, fact in facts)
    return f"| | |\n|---|---|\n{rows}"


def _names(given):
    return f", channels {', '.join(given['channel_names'])}" if given["channel_names"] else ""


def _but_for_statistics(tiling):
    return "" if tiling["equals_whole"] else ", but for the statistics of their maps, see below"


def _use_of_heads(card):
    given, tiling = card["input"], card["tiling"]
    return f"""\
Images are normalised first, see above; in the bioimage.io package that is a step of its own.

With PyTorch alone, any size (`padded.pt`; as `valid.pt`, for tiles that fit):

```python
import torch

network = torch.jit.load("padded.pt").eval()
image = torch.rand(1, {given["channels"]}, 200, 313)  # normalised
probability = network(image)[:, 1]  # of cell interior, (1, 200, 313)
```

With ONNX Runtime:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("padded.onnx")
image = np.random.rand(1, {given["channels"]}, 200, 313).astype(np.float32)  # normalised
(both,) = session.run(None, {{"image": image}})  # (1, {card["output"]["channels"]}, 200, 313)
```

In Fiji (deepImageJ), ilastik and other programs that read bioimage.io: open the zip. What they see
first, `rdf.yaml`, is for tiles whose halo is cropped. Beside it in the unpacked zip are
`whole.bioimageio.yaml`, for images given as a whole (the exact way for a network that normalises
its maps), and `valid.bioimageio.yaml`, for input tiles of {tiling["smallest_size"]} +
{tiling["size_step"]} k px a side."""


def _cutting(card):
    cut = card["output"]["postprocessing"]
    chosen = card["output"]["threshold_chosen_on"]
    source = f"chosen on {chosen}" if chosen else "the usual one, not chosen on images"
    return (
        f"A pixel is cell interior where the probability of channel 1 is above "
        f"{cut['threshold']:g} ({source}); objects of {cut['smallest_object']} px and less are "
        "left out."
    )


def _up_to(tiling):
    """Sizes for which that holds; `unet predict` takes other statistics of larger images."""
    return "" if tiling["equals_whole"] else f", of images of up to {STATISTICS_SIDE} px a side"


def _expect(card):
    tiling, exact = card["tiling"], card["exactness"]
    lines = [
        f"Every exported form gives the probabilities of the network within {exact['tolerance']:g} "
        f"in float32{_up_to(tiling)}."
    ]
    if exact["measured"]:
        found = ", ".join(f"`{name}` {value:.1e}" for name, value in exact["measured"].items())
        lines.append(f"Measured on a drawn test image: {found}.")
    halo, step = tiling["halo"], tiling["phase"]
    lines.append(
        f"Each pixel sees {halo} px around it. Who cuts an image into tiles gives each that much "
        f"context, lets tiles begin at multiples of {step} px, and mirrors the image at its border "
        "(the edge pixel is not repeated)."
    )
    if tiling["equals_whole"]:
        lines.append("Then tiles equal the whole image.")
    else:
        lines.append(
            "**But tiles do not equal the whole**: this network normalises its feature maps, and "
            "these files take mean and standard deviation from each tile that they are given. Give "
            "an image as one tile where that is possible. `unet predict` with the weights takes "
            "them from the whole image once, and its tiles equal the whole; of images of more than "
            "516 px a side it looks at up to nine places, so that there one tile says something "
            "else too."
        )
    return " ".join(lines)


def _validation(card):
    scores = card["scores"]
    how = (
        "To judge it on images of your own with labels: `unet evaluate LABELS.tif probability.tif`."
    )
    if not scores or not scores.get("last"):
        return f"No images were held out from the training: nothing is known yet. {how}"
    last = {name: value for name, value in scores["last"].items() if name != "step"}
    found = ", ".join(f"{SCORES.get(name, name)} {value:.4g}" for name, value in last.items())
    fixed = "SEG and IoU at that of 0.5" if "seg" in last else "where it has one"
    return (
        f"On {scores['slices']} held-out images after the last step: {found} (each at its best "
        f"threshold, {fixed}). {how}"
    )
