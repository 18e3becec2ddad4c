"""Energy: pixel-wise softmax and cross entropy, weighted (paper Eq. 1)."""

from torch.nn import functional


def weighted_cross_entropy(scores, classes, weights):
    """Weighted mean of the cross entropy, sum(w l) / sum(w).

    The paper writes the sum; the mean over the weights makes the learning rate independent of the
    tile size. Pixels of weight 0 count for nothing.

    Parameters
    ----------
    scores : (B, K, H, W) tensor, before the softmax; computed in float32 whatever its type.
    classes : (B, H, W) int64 tensor in 0..K-1.
    weights : (B, H, W) float tensor >= 0.

    Returns
    -------
    Scalar float32 tensor >= 0; 0 if all weights are 0.
    """
    loss = functional.cross_entropy(scores.float(), classes, reduction="none")  # (B, H, W)
    return (weights * loss).sum() / weights.sum().clamp_min(1e-12)
