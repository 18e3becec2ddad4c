"""The network that the paper compares with: each pixel from a window around it (Ciresan 2012)."""

from torch import nn
from torch.nn import functional

from unetcore.errors import InputError
from unetcore.settings import WINDOW, WINDOW_HALO

KERNELS = (4, 5, 4, 4)  # px, of the four convolutions
HIDDEN_PER_MAP = 200 / 48  # neurons of the fully connected layer for each map of the convolutions


class SlidingWindow(nn.Module):
    """Network N4 of Ciresan et al. 2012, which classifies the pixel in the middle of a window.

    Four stages of convolution and 2x2 max pooling take a window of 95 x 95 px to 3 x 3 px of
    `width` maps; a fully connected layer and the scores of the classes follow.

    Parameters
    ----------
    in_channels, n_classes : see `unetcore.model.UNet`.
    width : maps of every convolution (N4: 48); the fully connected layer has 200 neurons for 48.
    depth : of the tiles that it is predicted with, as for the U-Net; it has four stages itself.
    dropout : probability of drop-out before the scores (N4: 0).

    Notes
    -----
    A rectified linear unit follows every pooling and the fully connected layer, as in the U-Net.
    Windows of neighbouring pixels have nearly everything in common. Computed literally, each of
    them is pooled to its end; `forward` can also compute all windows of a tile at once: pooling
    moves by 1 px, and what would be neighbours after it stands 2, 4, 8, 16 px apart (Giusti et
    al. 2013 do the same with fragments). The numbers are those of the windows, up to rounding.
    """

    family = "sliding-window"
    halo = WINDOW_HALO  # px lost per side

    def __init__(self, in_channels=1, n_classes=2, width=48, depth=4, dropout=0.0):
        super().__init__()
        self.settings = dict(
            in_channels=in_channels, n_classes=n_classes, width=width, depth=depth, dropout=dropout
        )  # fmt: skip
        hidden = round(HIDDEN_PER_MAP * width)
        self.depth, self.planning_width = depth, hidden // 2
        channels = [in_channels, *[width] * len(KERNELS)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(c_in, width, kernel) for c_in, kernel in zip(channels, KERNELS, strict=False)
        )
        self.hidden = nn.Conv2d(width, hidden, 3)  # fully connected to the 3 x 3 px of a window
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Conv2d(hidden, n_classes, 1)

    def forward(self, image, output=None):
        """Scores of every class for the middle of every window.

        Parameters
        ----------
        image : (B, in_channels, H, W) float tensor, H and W at least 95.
        output : (h, w) in px of the upper left part wanted, None for all.

        Returns
        -------
        (B, n_classes, H - 94, W - 94) float tensor of scores, before the softmax, or (B, n_classes,
        h, w) if `output` is given.

        Raises
        ------
        InputError : the image is smaller than a window.
        """
        if min(image.shape[-2:]) < WINDOW:
            raise InputError(f"image of {tuple(image.shape[-2:])} px: need {WINDOW} px per side")
        if output is not None:
            image = image[..., : output[0] + WINDOW - 1, : output[1] + WINDOW - 1]
        lone = tuple(image.shape[-2:]) == (WINDOW, WINDOW)  # then nothing is shared
        return self._one_window(image) if lone else self._all_windows(image)

    def _one_window(self, x):
        """(B, C, 95, 95) -> (B, n_classes, 1, 1), as the network is defined."""
        for convolution in self.convolutions:
            x = functional.relu(functional.max_pool2d(convolution(x), 2))
        return self._judged(self.hidden(x))

    def _all_windows(self, x):
        """(B, C, H, W) -> (B, n_classes, H - 94, W - 94): every window at once."""
        apart = 1  # px between what are neighbours in a window
        for layer in self.convolutions:
            x = functional.conv2d(x, layer.weight, layer.bias, dilation=apart)
            x = functional.relu(functional.max_pool2d(x, 2, stride=1, dilation=apart))
            apart *= 2
        return self._judged(
            functional.conv2d(x, self.hidden.weight, self.hidden.bias, dilation=apart)
        )

    def _judged(self, x):
        return self.scores(self.dropout(functional.relu(x)))
