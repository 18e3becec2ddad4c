"""Energy: pixel-wise softmax and cross entropy, weighted (paper Eq. 1); overlap of regions."""

import numpy as np
import torch
from torch.nn import functional

ONE_PIXEL = 1.0  # of overlap is lent to a class that is neither there nor predicted


def weighted_cross_entropy(scores, classes, weights, reduction="weighted-mean"):
    """Weighted cross entropy of a batch: the mean over its tiles of each tile's energy.

    Parameters
    ----------
    scores : (B, K, H, W) tensor, before the softmax; computed in float32 whatever its type.
    classes : (B, H, W) int64 tensor in 0..K-1.
    weights : (B, H, W) float tensor >= 0. Pixels of weight 0 count for nothing.
    reduction : over the pixels of a tile. "sum": sum(w l), as Eq. 1 is written; its learning rate
        depends on the size of the tile. "mean": sum(w l) / n over n pixels. "weighted-mean":
        sum(w l) / sum(w), our choice.

    Returns
    -------
    Scalar float32 tensor >= 0; 0 if all weights are 0.
    """
    # A product where the library's cross entropy looks the class up: that one has no kernel for a
    # GPU that repeats its result bit for bit.
    chosen = _indicators(scores, classes)
    loss = -(functional.log_softmax(scores.float(), 1) * chosen).sum(1)  # (B, H, W)
    energy = (weights * loss).sum((1, 2))  # (B,)
    if reduction == "weighted-mean":
        energy = energy / weights.sum((1, 2)).clamp_min(1e-12)
    elif reduction == "mean":
        energy = energy / loss[0].numel()
    return energy.mean()


def soft_dice_loss(scores, classes, weights):
    """How far predicted and true regions are from overlapping; not the paper's (Milletari 2016).

    One minus the Dice coefficient 2 sum(p y) / (sum(p) + sum(y)) of probabilities p and indicators
    y, mean over the classes of each tile and over the tiles.

    Parameters
    ----------
    scores, classes, weights : see `weighted_cross_entropy`; pixels of weight 0 count for nothing,
        the others the same.

    Returns
    -------
    Scalar float32 tensor in [0, 1].
    """
    counted = (weights > 0)[:, None]  # (B, 1, H, W)
    p = functional.softmax(scores.float(), 1) * counted  # (B, K, H, W)
    y = (_indicators(scores, classes) & counted).float()
    both, each = (p * y).sum((2, 3)), (p + y).sum((2, 3))  # (B, K)
    return 1 - ((2 * both + ONE_PIXEL) / (each + ONE_PIXEL)).mean()


def _indicators(scores, classes):
    """(B, K, H, W) bool tensor, which class each pixel is of."""
    numbers = torch.arange(scores.shape[1], device=scores.device)[:, None, None]
    return classes[:, None] == numbers


def constant_loss(classes, weights, reduction, pixels, dice=0.0) -> float:
    """Loss of a network that says the same of every pixel: what knowing nothing costs.

    The best constant prediction are the weighted shares of the classes, and its cross entropy is
    their entropy; ln 2 = 0.69 for two classes that weigh the same. Its Dice loss is one minus the
    harmonic means of these shares and of the classes' shares of the area, mean over K classes:
    1 - 1 / K where all pixels weigh the same.

    Parameters
    ----------
    classes : (N, H, W) integer array of the training slices.
    weights : (N, H, W) array >= 0, not all 0.
    reduction : see `weighted_cross_entropy`.
    pixels : of a tile.
    dice : weight of the Dice loss.
    """
    of_class = np.bincount(classes.ravel(), weights.ravel().astype(np.float64))
    area = np.bincount(classes.ravel(), weights.ravel() > 0)
    shares, areas = (each[of_class > 0] / each.sum() for each in (of_class, area))
    entropy = -(shares * np.log(shares)).sum()
    mean_weight = of_class.sum() / classes.size
    energy = (
        entropy
        * {"weighted-mean": 1.0, "mean": mean_weight, "sum": mean_weight * pixels}[reduction]
    )
    overlap = (2 * shares * areas / (shares + areas)).mean()
    return float(energy + dice * (1 - overlap))
