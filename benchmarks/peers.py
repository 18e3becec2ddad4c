"""What people use instead of our functions: a library's, or the obvious way to the same result.

MONAI, OpenCV and py-ctcmetrics are imported where they are used: only `make bench` installs them.
"""

import contextlib
from pathlib import Path

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


class MonaiPrediction:
    """MONAI's U-Net with equal padding, and its windows that are averaged where they overlap.

    Parameters
    ----------
    width : channels of the first level, doubled at each of four poolings as in ours.
    autocast : context of the precision.
    """

    def __init__(self, width, device, autocast=contextlib.nullcontext):
        from monai.networks.nets import BasicUNet

        features = (*(width * 2**level for level in range(5)), width)
        network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=2, features=features)
        self.network, self.device, self.autocast = network.to(device).eval(), device, autocast

    @torch.inference_mode()
    def __call__(self, image):
        """Scores (2, H, W) of an (H, W) float32 image."""
        from monai.inferers import sliding_window_inference

        batch = torch.as_tensor(image, device=self.device)[None, None]
        with self.autocast():
            scores = sliding_window_inference(batch, 256, 4, self.network, overlap=0.25)
        return scores[0].float().cpu().numpy()


@contextlib.contextmanager
def one_thread():
    """Keep torch and OpenCV to one thread for a while."""
    import cv2

    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def border_weight(labels, w0=10.0, sigma=5.0):
    """Second term of Eq. 2 by one distance transform of the whole image for each cell."""
    d1, d2 = np.full((2, *labels.shape), np.inf)
    for cell in np.unique(labels[labels > 0]):
        d = ndimage.distance_transform_edt(labels != cell)
        d2 = np.minimum(d2, np.maximum(d1, d))
        d1 = np.minimum(d1, d)
    return np.where(labels == 0, w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2)), 0)


def scipy_deformation(image, classes, weights, vectors, halo):
    """Deform a tile by the vectors on a coarse grid, up-sampled and applied by splines of scipy."""
    rows, columns = _positions(vectors, image.shape)
    inner = (slice(halo, -halo), slice(halo, -halo))
    return tuple(
        ndimage.map_coordinates(array, (rows[part], columns[part]), order=order, mode="mirror")
        for array, part, order in ((image, ..., 3), (classes, inner, 0), (weights, inner, 1))
    )


def opencv_deformation(image, classes, weights, vectors, halo):
    """Do the same by OpenCV, whose cubic and linear kernels know 32 positions between pixels."""
    import cv2

    size = image.shape[::-1]
    rows, columns = (
        cv2.resize(v, size, interpolation=cv2.INTER_CUBIC) for v in vectors.astype(np.float32)
    )
    rows += np.arange(image.shape[0], dtype=np.float32)[:, None]
    columns += np.arange(image.shape[1], dtype=np.float32)
    inner = (slice(halo, -halo), slice(halo, -halo))
    return tuple(
        cv2.remap(array, columns[part], rows[part], kernel, borderMode=cv2.BORDER_REFLECT_101)
        for array, part, kernel in (
            (image, ..., cv2.INTER_CUBIC),
            (classes, inner, cv2.INTER_NEAREST),
            (weights, inner, cv2.INTER_LINEAR),
        )
    )


def monai_deformation(size, grid):
    """MONAI's random elastic deformation of a whole tile with classes and weights.

    It draws its own vectors, on a grid of its own, for the whole tile and all arrays alike.
    """
    from monai.transforms import Rand2DElasticd

    transform = Rand2DElasticd(
        ["image", "classes", "weights"],
        spacing=size / grid,
        magnitude_range=(10, 10),
        prob=1,
        mode=["bicubic", "nearest", "bilinear"],
        padding_mode="reflection",
    )
    return lambda image, classes, weights: transform(
        {"image": image[None], "classes": classes[None], "weights": weights[None]}
    )


def rand_errors(labels, probability, thresholds):
    """Adapted Rand error of one slice at every threshold."""
    reference = label(labels > 0, connectivity=1)
    return [
        adapted_rand_error(reference, label(probability > t, connectivity=1))[0] for t in thresholds
    ]


def ctc_seg(references: list[Path], segmentations: list[Path]) -> float:
    """SEG of py-ctcmetrics, which reads its frames from files."""
    from ctc_metrics.metrics.technical.seg import seg
    from ctc_metrics.utils.representations import match

    frames = [match(str(r), str(s)) for r, s in zip(references, segmentations, strict=True)]
    return seg([frame[0] for frame in frames], [frame[4] for frame in frames])


def _positions(vectors, shape):
    """Rows and columns (H, W) that a tile is taken from."""
    zoom = (shape[0] / vectors.shape[1], shape[1] / vectors.shape[2])
    rows, columns = (ndimage.zoom(v, zoom, order=3, mode="mirror") for v in vectors)
    return rows + np.arange(shape[0])[:, None], columns + np.arange(shape[1])


def stitch_by_own_side(image, network, tile):
    """Overlap-tile as read literally: output tiles of `tile` px, each beside the one before."""
    counts = [-(-size // tile) for size in image.shape]
    ends = [n * tile - size for n, size in zip(counts, image.shape, strict=True)]
    mirrored = np.pad(image, [(92, 92 + end) for end in ends], mode="reflect")
    rows = [
        np.concatenate(
            [
                network(mirrored[None, None, r : r + tile + 184, c : c + tile + 184])[0]
                for c in range(0, counts[1] * tile, tile)
            ],
            axis=-1,
        )
        for r in range(0, counts[0] * tile, tile)
    ]
    return np.concatenate(rows, axis=-2)[:, : image.shape[0], : image.shape[1]]
