"""Arithmetic of the valid network: which sizes fit, what is lost, what it costs (paper Fig. 1, 2).

Every 3x3 convolution is unpadded and takes one pixel from each side; every pooling needs even
sizes. With four poolings the network loses 92 px per side, fits inputs of 188 + 16 k px only, and
its answer depends on the position of a tile modulo 16.
"""

import numpy as np

from unetcore.errors import InputError

DEPTH = 4  # poolings in Fig. 1


def halo(depth: int = DEPTH) -> int:
    """Pixels lost on each side between input tile and output tile (92 for four poolings).

    Each of the two 3x3 convolutions of a level at scale 2**l takes 2**l px per side; there are
    two such levels per scale on the two paths, one at the bottom.
    """
    return 6 * 2**depth - 4


def phase(depth: int = DEPTH) -> int:
    """Period in px of the pooling grid: tiles agree if their offsets are multiples of it (16)."""
    return 2**depth


def output_size(input_size: int, depth: int = DEPTH) -> int:
    """Side of the output tile for an input tile of `input_size` px.

    Raises
    ------
    InputError : no network of this depth fits `input_size`; the nearest that do are named.
    """
    size = input_size - 2 * halo(depth)
    return check_output_tile(
        size, depth, given=f"input tile of {input_size} px", shift=2 * halo(depth)
    )


def input_size(output_tile: int, depth: int = DEPTH) -> int:
    """Side of the input tile that gives an output tile of `output_tile` px (388 -> 572)."""
    return check_output_tile(output_tile, depth) + 2 * halo(depth)


def check_output_tile(
    size: int, depth: int = DEPTH, *, given: str | None = None, shift: int = 0
) -> int:
    """Return `size` if it is an output tile the network can make, 4 + 16 k for four poolings."""
    period = phase(depth)
    if size >= 4 and (size - 4) % period == 0:
        return size
    below = 4 + max(0, (size - 4) // period) * period
    nearest = [below + shift, below + period + shift]
    given = given or f"output tile of {size} px"
    raise InputError(
        f"{given}: sizes that fit {depth} poolings are {4 + shift} + {period} k, "
        f"the nearest are {nearest[0]} and {nearest[1]}"
    )


def round_up_to_output_tile(size: int, depth: int = DEPTH) -> int:
    """Smallest output tile of at least `size` px."""
    period = phase(depth)
    return 4 + max(0, -(-(size - 4) // period)) * period


def skip_margin(level: int, depth: int = DEPTH) -> int:
    """Pixels that the crop takes from each side of a level's skip connection (Fig. 1: 88 to 4).

    The deepest loses the 4 px of two convolutions at half its scale, 4 per side; each level above
    loses twice that of the one below and 8 more, for four convolutions at half its scale.
    """
    return 12 * 2 ** (depth - 1 - level) - 8


def expansive_sizes(size: int, depth: int = DEPTH) -> list[int]:
    """Sides that the levels must make, from the bottom up, for an output of `size` px.

    Two convolutions need 4 px more than they make, an up-convolution half of what it makes.

    Examples
    --------
    >>> expansive_sizes(388)
    [28, 52, 100, 196, 388]
    >>> expansive_sizes(377)
    [28, 51, 98, 191, 377]
    """
    sizes = [size]
    for _ in range(depth):
        sizes.append((sizes[-1] + 5) // 2)
    return sizes[::-1]


def mirror_index(start: int, stop: int, size: int) -> np.ndarray:
    """Index of the pixel that stands at each position of start..stop-1 of a mirrored axis.

    The image is continued by reflection without repeating the edge pixel (Fig. 2, and numpy's
    "reflect"), as often as needed, so any margin works for any `size` >= 1.

    Examples
    --------
    >>> mirror_index(-3, 6, 3)
    array([1, 2, 1, 0, 1, 2, 1, 0, 1])
    """
    if size == 1:
        return np.zeros(stop - start, dtype=np.intp)
    period = 2 * (size - 1)
    index = np.arange(start, stop) % period
    return np.minimum(index, period - index)


def mirrored_size(size: int) -> int:
    """Pixels along an axis of `size` px and its mirror images on both sides (128 -> 382).

    The edge pixels are not repeated. Beyond, mirrored pixels would be mirrored again.
    """
    return size + 2 * (size - 1)


def largest_tile_for(shape: tuple[int, int], depth: int = DEPTH) -> int:
    """Side in px of the largest output tile whose input is within a slice and its mirror images.

    Parameters
    ----------
    shape : (H, W) of the slice in px.
    depth : number of poolings.

    Raises
    ------
    InputError : the slice is too small for any; the least side is named.

    Examples
    --------
    >>> largest_tile_for((128, 512))
    196
    """
    smallest, room = input_size(4, depth), mirrored_size(min(shape))
    if room < smallest:
        least = -(-(smallest + 2) // 3)
        raise InputError(
            f"slice of {shape[0]} x {shape[1]} px: too small for {depth} poolings, whose smallest "
            f"input tile is {smallest} px; with mirrored context, sides of {least} px would do"
        )
    period = phase(depth)
    return 4 + (room - smallest) // period * period


def multiply_accumulates(
    height: int,
    width: int,
    channels: int = 64,
    depth: int = DEPTH,
    n_classes: int = 2,
    output: tuple[int, int] | None = None,
) -> int:
    """Multiply-accumulates of one forward pass on an input tile of height x width px (Fig. 1).

    Counts every convolution of the network of Fig. 1 with one input channel. With `output`, (h, w)
    in px, only what that part of the output tile needs of the expansive path is counted.
    """
    total, c_in, c = 0, 1, channels
    h, w = height, width
    for _ in range(depth):
        total += _two_convolutions(h - 4, w - 4, c_in, c)
        h, w, c_in, c = (h - 4) // 2, (w - 4) // 2, c, 2 * c
    output = output or (height - 2 * halo(depth), width - 2 * halo(depth))
    (h, w), *parts = zip(*(expansive_sizes(side, depth) for side in output), strict=True)
    total += _two_convolutions(h, w, c_in, c)
    for part in parts:
        total += 4 * h * w * c * (c // 2)  # up-convolution: 4 weights, each once per input pixel
        h, w = part
        total += _two_convolutions(h, w, c, c // 2)
        c //= 2
    return total + h * w * channels * n_classes


def _two_convolutions(height: int, width: int, c_in: int, c_out: int) -> int:
    """Multiply-accumulates of the two 3x3 convolutions that make height x width px."""
    return 9 * c_out * ((height + 2) * (width + 2) * c_in + height * width * c_out)


def needed_multiply_accumulates(
    height: int, width: int, channels: int = 64, depth: int = DEPTH, n_classes: int = 2
) -> float:
    """Multiply-accumulates that height x width output pixels need when no halo is ever computed.

    The limit of the valid network's cost per output pixel as its tile grows.
    """
    per_pixel = 9 * (channels + channels**2)
    for level in range(1, depth + 1):
        c = channels * 2**level
        per_pixel += 9 * (c // 2 * c + c * c) / 4**level
    for level in range(depth):
        c = channels * 2**level
        per_pixel += (4 * 2 * c * c / 4) / 4**level + 9 * (2 * c * c + c * c) / 4**level
    return height * width * (per_pixel + channels * n_classes)
