"""What people use instead of our functions: the obvious way to the same result."""

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import label
from skimage.metrics import adapted_rand_error


class PlainNetwork:
    """A network as PyTorch gives it: float32, memory in NCHW order."""

    def __init__(self, network, device):
        self.device = device
        self.network = network.to(device, memory_format=torch.contiguous_format).eval()

    @torch.inference_mode()
    def __call__(self, tiles):
        return self.network(torch.as_tensor(tiles, device=self.device)).cpu().numpy()


def border_weight(labels, w0=10.0, sigma=5.0):
    """Second term of Eq. 2 by one distance transform of the whole image for each cell."""
    d1, d2 = np.full((2, *labels.shape), np.inf)
    for cell in np.unique(labels[labels > 0]):
        d = ndimage.distance_transform_edt(labels != cell)
        d2 = np.minimum(d2, np.maximum(d1, d))
        d1 = np.minimum(d1, d)
    return np.where(labels == 0, w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2)), 0)


def elastic_deformation(image, classes, weights, vectors, halo):
    """Deform a tile by the vectors on a coarse grid, up-sampled and applied by splines of scipy."""
    height, width = image.shape
    zoom = (height / vectors.shape[1], width / vectors.shape[2])
    rows, columns = (ndimage.zoom(v, zoom, order=3, mode="mirror") for v in vectors)
    rows, columns = rows + np.arange(height)[:, None], columns + np.arange(width)
    inner = (slice(halo, -halo), slice(halo, -halo))
    return tuple(
        ndimage.map_coordinates(array, (rows[part], columns[part]), order=order, mode="mirror")
        for array, part, order in ((image, ..., 3), (classes, inner, 0), (weights, inner, 1))
    )


def rand_errors(labels, probability, thresholds):
    """Adapted Rand error of one slice at every threshold."""
    reference = label(labels > 0, connectivity=1)
    return [
        adapted_rand_error(reference, label(probability > t, connectivity=1))[0] for t in thresholds
    ]
