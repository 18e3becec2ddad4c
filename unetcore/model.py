"""The network: valid convolutions on a contracting and an expansive path (paper Fig. 1)."""

import math

import torch
from torch import nn
from torch.nn import functional

from unetcore import geometry
from unetcore.errors import InputError
from unetcore.settings import check_expansive_width

VARIANTS = ("figure1", "release")
EPSILON = 1e-5  # added to the variance of a map


class UNet(nn.Module):
    """U-Net of the paper.

    Parameters
    ----------
    in_channels : channels of the image.
    n_classes : number of classes, background included.
    width : channels of the first level (paper: 64); they double at every level.
    depth : number of poolings (paper: 4).
    variant : "figure1", the network as drawn (31,030,658 parameters), or "release", as the
        authors published it: a ReLU after every up-convolution, and a last up-convolution that
        keeps its channels (31,100,354 parameters).
    dropout : probability of drop-out at the end of the contracting path (release: 0.5).
    normalised : whether the maps of every 3x3 convolution are normalised, see `TileNormalisation`;
        the paper's are not.
    skip_connections : whether maps of the contracting path are copied and cropped (paper); else a
        level of the expansive path is given its up-convolution alone.
    expansive_width : channels of the first level of the expansive path, which double at every level
        down to the lowest, 1 to `width`; None for `width` (paper).

    Raises
    ------
    InputError : unknown variant, a size that is not positive, or an expansive path that is wider
        than the contracting one.

    Notes
    -----
    The paper says "drop-out layers at the end of the contracting path", not where; as in the
    authors' release they follow the last ReLU of the two lowest levels, so that the deepest skip
    connection is dropped out too.
    """

    family = "u-net"

    def __init__(
        self,
        in_channels=1,
        n_classes=2,
        width=64,
        depth=4,
        variant="figure1",
        dropout=0.5,
        normalised=False,
        skip_connections=True,
        expansive_width=None,
    ):
        super().__init__()
        self.settings = dict(
            in_channels=in_channels, n_classes=n_classes, width=width, depth=depth,
            variant=variant, dropout=dropout, normalised=normalised,
            skip_connections=skip_connections, expansive_width=expansive_width,
        )  # fmt: skip
        _check_settings(**self.settings)
        self.depth, self.skip_connections = depth, skip_connections
        self.halo, self.planning_width = geometry.halo(depth), width
        channels = [width * 2**level for level in range(depth + 1)]
        self.contracting = contracting_path(in_channels, width, depth, dropout, normalised)
        self.pool = nn.MaxPool2d(2)
        given = [*((expansive_width or width) * 2**level for level in range(depth)), channels[-1]]
        keeps = [variant == "release" and level == 0 for level in range(depth)]
        self.expansive = nn.ModuleList(
            ExpansiveLevel(
                given[level + 1],
                given[level],
                channels[level] if skip_connections else 0,
                geometry.skip_margin(level, depth),
                relu=variant == "release",
                keep_channels=keeps[level],
                normalised=normalised,
            )
            for level in reversed(range(depth))
        )
        self.scores = nn.Conv2d(given[0], n_classes, 1)

    def forward(self, image, output=None):
        """Scores of every class for the output tile, or for its upper left part.

        Parameters
        ----------
        image : (B, in_channels, H, W) float tensor, H and W each 188 + 16 k for depth 4.
        output : (h, w) in px of the part wanted, None for all. As no convolution is padded, the
            rest is left out on the whole expansive path, and nothing changes in the part.

        Returns
        -------
        (B, n_classes, H - 184, W - 184) float tensor of scores, before the softmax; (B, n_classes,
        h, w) if `output` is given.

        Raises
        ------
        InputError : H or W does not fit the poolings, or `output` is larger than they give.
        """
        full = [geometry.output_size(int(side), self.depth) for side in image.shape[-2:]]
        parts = [None] * (self.depth + 1)  # of each level from the bottom up, None for all
        if output is not None:
            _check_part(output, full)
            sizes = (geometry.expansive_sizes(side, self.depth) for side in output)
            parts = list(zip(*sizes, strict=True))
        x, skips = image, []
        for level in self.contracting[:-1]:
            x = level(x)  # (B, width 2**l, h - 4, w - 4)
            skips.append(x if self.skip_connections else None)
            x = self.pool(x)  # (B, width 2**l, (h - 4) / 2, (w - 4) / 2)
        bottom, *parts = parts
        x = self.contracting[-1](corner(x, bottom))  # (B, width 2**depth, h - 4, w - 4)
        for level, part in zip(self.expansive, parts, strict=True):
            x = level(x, skips.pop(), part)  # (B, expansive_width 2**l, 2 h - 4, 2 w - 4)
        return self.scores(x)  # (B, n_classes, H - 184, W - 184)


def contracting_path(in_channels, width, depth, dropout, normalised):
    """Levels of the contracting path, (B, c, h, w) -> (B, width 2**l, h - 4, w - 4) each."""
    channels = [width * 2**level for level in range(depth + 1)]
    return nn.ModuleList(
        TwoConvolutions(c_in, c, dropout if level >= depth - 1 else 0.0, normalised=normalised)
        for level, (c_in, c) in enumerate(zip([in_channels, *channels], channels, strict=False))
    )


class TwoConvolutions(nn.Sequential):
    """Two unpadded 3x3 convolutions, each followed by a ReLU, then drop-out if asked for."""

    def __init__(self, c_in, c_out, dropout=0.0, *, normalised=False):
        layers = []
        for c in (c_in, c_out):
            # Normalising takes a bias away again.
            layers.append(nn.Conv2d(c, c_out, 3, bias=not normalised))
            if normalised:
                layers.append(TileNormalisation(c_out))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers, *([nn.Dropout(dropout)] if dropout else []))


class TileNormalisation(nn.Module):
    """Every map of every tile gets mean 0 and standard deviation 1, then a learnt scale and shift.

    So a network learns in far fewer steps, and does not mind how bright and contrasted an image is
    (instance normalisation, Ulyanov 2016). But what it says of a pixel then depends on the tile;
    `unetcore.normalised` makes it a network of which that is not true.

    Parameters
    ----------
    channels : number of maps.
    """

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        """(B, C, H, W) -> (B, C, H, W)."""
        # One tile at a time is what the batch normalisation of the library makes of it, and other
        # than its instance normalisation this keeps the order of memory.
        tiles = [
            functional.batch_norm(
                tile, None, None, self.weight, self.bias, training=True, eps=EPSILON
            )
            for tile in x.split(1)
        ]
        return tiles[0] if len(tiles) == 1 else torch.cat(tiles)


class ExpansiveLevel(nn.Module):
    """Up-convolution, copy and crop, two convolutions; nothing is copied where `c_skip` is 0."""

    def __init__(self, c_in, c_out, c_skip, margin, *, relu, keep_channels, normalised=False):
        super().__init__()
        c_up = c_in if keep_channels else c_out
        up = nn.ConvTranspose2d(c_in, c_up, 2, stride=2)
        self.up = nn.Sequential(up, nn.ReLU(inplace=True)) if relu else up
        self.margin = margin  # px that the crop takes from each side of the skip connection
        self.convolutions = TwoConvolutions(c_up + c_skip, c_out, normalised=normalised)

    def forward(self, x, skip, part=None):
        """(B, c_in, h, w) and its skip connection -> (B, c_out, 2 h - 4, 2 w - 4), or a part."""
        return self.convolutions(self._joined(x, skip, part))

    def _joined(self, x, skip, part):
        """Up-convolution beside the cropped skip connection: (B, c_up + c_skip, 2 h, 2 w)."""
        up = corner(self.up(x), part)
        if skip is None:
            return up
        return torch.cat((up, crop(skip, self.margin, up.shape[-2:])), dim=1)


def corner(x, part):
    """Upper left of (B, C, H, W) from which two 3x3 convolutions make a part of (h, w)."""
    return x if part is None else x[..., : part[0] + 4, : part[1] + 4]


def crop(x, margin, part):
    """Part of (h, w) that begins `margin` px from the upper left corner of (B, C, H, W)."""
    h, w = part
    if not x.requires_grad:
        return x[..., margin : margin + h, margin : margin + w]
    # The gradient of indexing writes a whole map for every dimension: a step at width 16 would take
    # 1.2 times as long on a CPU.
    bottom, right = x.shape[-2] - margin - h, x.shape[-1] - margin - w
    return functional.pad(x, (-margin, -right, -margin, -bottom))


def _check_settings(*, variant, in_channels, n_classes, width, depth, expansive_width, **_):
    if variant not in VARIANTS:
        raise InputError(f"network variant {variant!r}: need one of {', '.join(VARIANTS)}")
    if min(in_channels, n_classes, width, depth) < 1:
        raise InputError(
            f"network with in_channels {in_channels}, n_classes {n_classes}, width {width}, "
            f"depth {depth}: each must be at least 1"
        )
    check_expansive_width(expansive_width, width)


def _check_part(part, full):
    if any(not 1 <= wanted <= given for wanted, given in zip(part, full, strict=True)):
        raise InputError(
            f"output of {tuple(part)} px: need at least 1 px per side and at most the output tile, "
            f"{tuple(full)} px"
        )


@torch.no_grad()
def initialise(network, generator, kind="he"):
    """Draw initial weights; biases are 0.

    Parameters
    ----------
    network : UNet or another of `unetcore.families`, changed in place.
    generator : torch.Generator on the CPU.
    kind : "he", Gaussian with std sqrt(2 / N), N incoming nodes (Sec. 3); "xavier", Gaussian with
        std sqrt(2 / (N + M)), M outgoing nodes; "pytorch", uniform with the std sqrt(1 / (3 N)) of
        that library's layers.

    Notes
    -----
    Each output pixel of a 2x2 up-convolution with stride 2 sees one weight per input channel;
    following the authors' release N is there 4 times the number of *output* channels. A layer with
    a method `initialise` is left to it.
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            continue
        if hasattr(module, "initialise"):
            module.initialise()
            continue
        incoming = module.weight[0].numel()  # up-convolution, (c_in, c_out, 2, 2): 4 c_out
        outgoing = module.weight[:, 0].numel()
        if kind == "pytorch":
            bound = math.sqrt(1 / incoming)
            module.weight.uniform_(-bound, bound, generator=generator)
        else:
            nodes = incoming if kind == "he" else incoming + outgoing
            module.weight.normal_(0, math.sqrt(2 / nodes), generator=generator)
        if module.bias is not None:
            module.bias.zero_()
