"""The network alone, and the prediction of a 512 image (paper Sec. 4)."""

import copy

import numpy as np
import torch
from torch.nn import functional

from benchmarks import peers
from benchmarks.timing import Row, compare, larger_is_better, medians, smaller_is_better
from unetcore import geometry
from unetcore.devices import autocast, choose_device, resolve_precision
from unetcore.model import UNet, initialise
from unetcore.predict import Predictor
from unetcore.tiling import predict_tiled

FULL_WIDTH = 64
WIDTHS = (16, FULL_WIDTH)
PAPERS_TILE = 388  # px
INPUT = geometry.input_size(PAPERS_TILE)
PAPERS_SECONDS = 1.0  # "less than a second", on the GPU of 2015, for a 512 image (Sec. 4)
CONVOLUTION = (256, 140)  # channels in and out, side in px


def forward() -> list[Row]:
    """Forward pass at the paper's width, against plain PyTorch and against one convolution."""
    rows = []
    network = new_network(FULL_WIDTH)
    tile = noise(1, 1, INPUT, INPUT)
    plain = peers.PlainNetwork(copy.deepcopy(network), choose_device())
    for precision in precisions():
        ours = Predictor(copy.deepcopy(network), precision)
        rows += compare(
            f"forward pass, 572 tile, width 64, {precision}",
            lambda ours=ours: ours(tile),
            {"plain float32": lambda: plain(tile)},
            repeats=5,
        )
        rows.append(_rate(precision, ours, tile))
    return rows


def _rate(precision: str, ours: Predictor, tile: np.ndarray) -> Row:
    """Operations per second of the forward pass against those of one large convolution."""
    channels, side = CONVOLUTION
    image, kernel = (
        torch.as_tensor(noise(*shape), device=choose_device()).contiguous(
            memory_format=torch.channels_last
        )
        for shape in ((1, channels, side, side), (channels, channels, 3, 3))
    )

    @torch.inference_mode()
    def convolve():
        with autocast(precision, choose_device())():
            functional.conv2d(image, kernel).sum().item()  # a GPU is waited for

    seconds = medians([lambda: ours(tile), convolve], repeats=7)
    operations = (
        2 * geometry.multiply_accumulates(INPUT, INPUT),
        2 * 9 * channels**2 * (side - 2) ** 2,
    )
    rates = [n / s / 1e9 for n, s in zip(operations, seconds, strict=True)]
    return larger_is_better(
        f"rate of the forward pass, width 64, {precision}",
        *rates,
        unit="GFLOP/s",
        peer_name="3x3 convolution, 256 to 256 channels",
    )


def prediction() -> list[Row]:
    """Prediction of a 512 image against the paper's tiles and against MONAI's windows.

    MONAI predicts by its own U-Net of the same width, with equal padding and instance norm, in
    windows of 256 px that overlap by a quarter: 9 windows, 2.25 times the pixels of the image. Its
    memory is in NCHW order, as its users have it.
    """
    rows = []
    for width in WIDTHS:
        for precision in precisions():
            rows += _predictions(width, precision)
    return rows


def _predictions(width: int, precision: str) -> list[Row]:
    image = noise(512, 512)
    network = new_network(width)
    ours = Predictor(copy.deepcopy(network), precision)
    plain = peers.PlainNetwork(network, choose_device())
    monai = peers.MonaiPrediction(width, choose_device(), autocast(precision, choose_device()))
    rows = compare(
        f"prediction, 512 image, width {width}, {precision}",
        lambda: predict_tiled(image, ours),
        {
            "tiles of 388, plain float32": lambda: predict_tiled(image, plain, PAPERS_TILE),
            "MONAI BasicUNet, windows of 256": lambda: monai(image),
        },
        repeats=7,
    )
    if width == FULL_WIDTH:
        rows.append(
            smaller_is_better(
                f"time of a 512 image, width 64, {precision}",
                rows[0].ours / 1000,
                PAPERS_SECONDS,
                unit="s",
                peer_name="the paper, on a GPU of 2015",
            )
        )
    return rows


def new_network(width: int) -> UNet:
    """Untrained network of the paper's shape."""
    network = UNet(width=width).eval()
    initialise(network, torch.Generator().manual_seed(0))
    return network


def precisions() -> list[str]:
    """Float32, and bfloat16 where the hardware computes in it."""
    return sorted({"float32", resolve_precision("auto", choose_device())}, reverse=True)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)
