"""`unet export`: a trained network as a file that other programs open."""

import json

import typer

from unetcore import cli_options as options
from unetcore.terminal import command, say


def export(
    model: options.Model,
    out: options.Exported,
    head: options.HeadChoice = None,
    title: options.Title = None,
    licence: options.Licence = None,
    author: options.Author = None,
    as_json: options.FactsAsJson = False,
) -> None:
    """Write a trained network for other programs.

    The suffix of OUT says how: `.zip` a bioimage.io package (Fiji, ilastik), `.onnx` ONNX, `.pt`
    TorchScript, `.safetensors` the weights, `.md` the model card alone.

    Each form is compared with the network before it is written; the card says what was found.
    """
    from unetcore.export import Credits, check_name, export_model
    from unetcore.loading import load_network

    check_name(out, head)
    network, description = load_network(model)
    credits = Credits(title, licence, tuple(author or ()))
    card = export_model(network, description, out, head=head, credits=credits)
    if as_json:
        typer.echo(json.dumps(card, indent=1))
        return
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB{_found(card)}")
    if licence is None and out.suffix.lower() == ".zip":
        say(
            "It states no licence: others may not use it until you give one, as --licence CC-BY-4.0"
        )
    if out.suffix.lower() != ".md":
        say("\nPredict images by it:")
        say(f"  {command('predict', out, 'IMAGE.tif', '-o', 'probability.tif')}")


def _found(card: dict) -> str:
    measured = card["exactness"]["measured"]
    if not measured:
        return ""
    return f"; probabilities within {max(measured.values()):.0e} of the network's"
