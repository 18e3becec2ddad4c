"""The fully convolutional network that the paper builds on (Long, Shelhamer, Darrell 2015)."""

import torch
from torch import nn

from unetcore import geometry
from unetcore.model import contracting_path, crop


class FullyConvolutional(nn.Module):
    """Contracting path of the U-Net, and scores of its levels that are up-sampled and added.

    What tells it from the U-Net is its way back: maps of as many channels as there are classes,
    to which the scores of finer levels are added, and no convolutions (Sec. 1 of the paper: "one
    important modification in our architecture is that in the upsampling part we have also a large
    number of feature channels"). It takes and makes the same tiles.

    Parameters
    ----------
    in_channels, n_classes, width, depth, dropout, normalised : see `unetcore.model.UNet`.
    skip_connections : whether scores of finer levels are added; else the lowest level's alone are
        up-sampled.

    Notes
    -----
    The network of 2015 has the layers of VGG-16 and adds the scores of three levels (FCN-8s); here
    all levels of the U-Net's own contracting path take part, so that the expansive path is the only
    difference. As there, up-sampling is learnt and begins bilinear. Its border, where a kernel of
    4 px sees less than its four pixels, is cut off: tiles equal the whole.
    """

    family = "fcn"

    def __init__(
        self,
        in_channels=1,
        n_classes=2,
        width=64,
        depth=4,
        dropout=0.5,
        normalised=False,
        skip_connections=True,
    ):
        super().__init__()
        self.settings = dict(
            in_channels=in_channels, n_classes=n_classes, width=width, depth=depth,
            dropout=dropout, normalised=normalised, skip_connections=skip_connections,
        )  # fmt: skip
        self.depth, self.halo, self.planning_width = depth, geometry.halo(depth), width
        self.skip_connections = skip_connections
        self.contracting = contracting_path(in_channels, width, depth, dropout, normalised)
        self.pool = nn.MaxPool2d(2)
        added = range(depth + 1) if skip_connections else [depth]
        self.scores = nn.ModuleDict(
            {str(level): nn.Conv2d(width * 2**level, n_classes, 1) for level in added}
        )
        self.up = nn.ModuleList(Interpolation(n_classes) for _ in range(depth))

    def forward(self, image, output=None):
        """Scores of every class for the output tile; arguments and sizes as `UNet.forward` has."""
        sides = [geometry.output_size(int(side), self.depth) for side in image.shape[-2:]]
        x, maps = image, []
        for level in self.contracting[:-1]:
            x = level(x)  # (B, width 2**l, h - 4, w - 4)
            maps.append(x)
            x = self.pool(x)  # (B, width 2**l, (h - 4) / 2, (w - 4) / 2)
        scores = self.scores[str(self.depth)](self.contracting[-1](x))  # (B, n_classes, h, w)
        margin = 0  # px by which the scores are smaller, per side, than the maps of their level
        for level in reversed(range(self.depth)):
            scores = self.up[level](scores)  # (B, n_classes, 2 h - 2, 2 w - 2)
            margin = 2 * margin + 5  # 4 px of two convolutions a level below, 1 of up-sampling
            if self.skip_connections:
                seen = crop(maps[level], margin, scores.shape[-2:])
                scores = scores + self.scores[str(level)](seen)
        surplus = (scores.shape[-1] - sides[1]) // 2  # the U-Net needs more context
        return crop(scores, surplus, output or sides)  # (B, n_classes, H - 184, W - 184)


class Interpolation(nn.ConvTranspose2d):
    """Learnt up-sampling to twice the size, (B, C, h, w) -> (B, C, 2 h - 2, 2 w - 2).

    It begins as bilinear interpolation of each channel. Only pixels between the centres of the
    given ones are made.
    """

    def __init__(self, channels):
        super().__init__(channels, channels, 4, stride=2, padding=2, bias=False)

    @torch.no_grad()
    def initialise(self):
        """Set the weights of bilinear interpolation."""
        ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
        self.weight.zero_()
        for channel in range(len(self.weight)):
            self.weight[channel, channel] = ramp[:, None] * ramp
