"""`unet view`: what it reads, and what it says of the page that it wrote."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from unetcore.data.label_map import LabelMap
from unetcore.data.sizes import in_words
from unetcore.errors import InputError
from unetcore.exchanged import Sides, remark, sides_of
from unetcore.terminal import count, say
from unetcore.view import View, open_cells, open_images, open_maps, open_reference, write_view

# Metrics need numba, which takes a moment to import; they are imported where needed.


def view(
    image: Path,
    probability: Path,
    out: Path,
    *,
    labels: Path | None,
    label_map: LabelMap,
    segmentation: Path | None,
    slices: str | None,
    threads: int,
    as_json: bool = False,
    **shown,
) -> None:
    """Read, evaluate where there are labels, write the page, and say what is on it.

    Parameters
    ----------
    image, probability, labels, segmentation : files as `unet view` takes them.
    out : page to be written.
    label_map : what the values of the labels mean.
    slices : those to be shown, as `slice_numbers` reads them.
    threads : that evaluate.
    as_json : whether what was made is printed as JSON, and not in words.
    shown : further arguments of `unetcore.view.write_view`.

    Raises
    ------
    InputError : files that cannot be read or do not belong together.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{out}: a page is written, need a name like NAME.html")
    maps = open_maps(probability)
    images, pixel_size = open_images(image)
    stacks = {image: images}
    reference = ignored = cells = None
    if labels:
        reference, ignored = open_reference(labels, maps.shape, label_map, image)
        stacks[labels] = reference
    if segmentation:
        stacks[segmentation] = cells = open_cells(segmentation)
    _refuse_other_sizes(stacks, maps, probability)
    pages = slice_numbers(slices, len(maps))
    if labels:
        _warn_of_exchanged(labels, sides_of(reference, maps, ignored), label_map)
    metrics, remark = {}, "No labels were given, so there are no metrics."
    if labels:
        named = {"labels": (labels, reference), "probability": (probability, maps)}
        named |= {"segmentation": (segmentation, cells)} if segmentation else {}
        metrics, remark = _measured(named, ignored, threads)
    page = write_view(
        out,
        images,
        maps,
        labels=reference,
        ignored=ignored,
        segmentation=cells,
        metrics=metrics,
        pixel_size=pixel_size,
        pages=pages,
        remark=remark,
        **shown,
    )
    if as_json:
        found = {"out": str(out), "slices": len(page.pages), "bytes": page.n_bytes}
        typer.echo(json.dumps(found, indent=1))
        return
    _tell(out, page, len(pages))


def slice_numbers(text: str | None, n_slices: int) -> list[int]:
    """Slices that are meant by "7" or "5-12", which count from 1; by None: all.

    Raises
    ------
    InputError : not of this form, or not within 1 and `n_slices`.

    Examples
    --------
    >>> slice_numbers("2-4", 30), slice_numbers(None, 2)
    ([1, 2, 3], [0, 1])
    """
    if text is None:
        return list(range(n_slices))
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= n_slices:
        raise InputError(f"--slices {text}: need FIRST-LAST or one number, within 1 and {n_slices}")
    return list(range(first - 1, last))


def _refuse_other_sizes(stacks: Mapping[Path, Any], maps, probability: Path) -> None:
    """Refuse stacks that are not of the same slices as the probability."""
    for path, stack in stacks.items():
        shapes = [(shape[0], *shape[-2:]) for shape in (stack.shape, maps.shape)]
        if shapes[0] != shapes[1]:
            this, other = map(in_words, shapes)
            raise InputError(f"{path}: {this} (slices, height, width), {probability}: {other}")


def _warn_of_exchanged(labels: Path, sides: Sides, label_map: LabelMap) -> None:
    if sides.look_exchanged:
        typer.echo(remark(labels, sides, label_map), err=True)


def _measured(named_stacks: Mapping[str, tuple[Path, Any]], ignored, threads: int):
    """Metrics, and why there are none; a page without them is of use, too."""
    from unetcore.evaluate import OF_CELLS, OF_MEMBRANES, evaluate
    from unetcore.metrics import Slices

    stacks = {kind: Slices(stack, path) for kind, (path, stack) in named_stacks.items()}
    names = OF_MEMBRANES + OF_CELLS if "segmentation" in stacks else OF_MEMBRANES
    try:
        return evaluate(names, **stacks, ignored=ignored, threads=threads), ""
    except InputError as error:
        typer.echo(f"no metrics: {error}", err=True)
        return {}, f"There are no metrics: {error}."


def _tell(out: Path, page: View, n_wanted: int) -> None:
    say(f"{out}: {count(len(page.pages), 'slice')}, {page.n_bytes / 1e6:.1f} MB")
    if len(page.pages) < n_wanted:
        say(f"  {n_wanted} are more than a page holds; --slices FIRST-LAST takes some")
    if page.factor > 1:
        say(f"  reduced {page.factor} times, to what --max-side allows")
    say("Open it in any browser; it needs no other file and no network.")
