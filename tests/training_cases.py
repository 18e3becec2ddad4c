"""What the tests of a training share: settings, random slices, a training in one call."""

import dataclasses

import numpy as np
import torch

from unetcore.augment import AugmentConfig
from unetcore.model import UNet, initialise
from unetcore.settings import NetworkConfig, TrainConfig

NETWORK = NetworkConfig(
    family="u-net", variant="figure1", width=2, depth=1, dropout=0.5, normalised=False,
    skip_connections=True, expansive_width=None,
)  # fmt: skip
AUGMENTATION = AugmentConfig(
    shift=True, balanced=False, rotation=180, mirror=True, displacement_std=2, grid=3,
    kernel="bicubic", grey_shift=0.1, grey_scale=0.1,
)  # fmt: skip
PAPER = TrainConfig(
    steps=10, batch=1, accumulate=1, output_tile=20, normalisation="unit", initial_weights="he",
    optimiser="sgd", learning_rate=0.01, momentum=0.99, weight_decay=0, schedule="step",
    warmup_steps=0, reduction="weighted-mean", dice=0, clip=None, precision="float32",
    deterministic=True, log_every=2, checkpoint_every=3, checkpoint_minutes=60, validate_every=0,
)  # fmt: skip
FAST = dataclasses.replace(
    PAPER, optimiser="adamw", momentum=0.9, weight_decay=0.01, schedule="cosine", warmup_steps=3
)


def changed(config, **changes):
    """Settings in which some are others."""
    return dataclasses.replace(config, **changes)


def random_arrays(seed=0, n=3, shape=(40, 48)):
    """Images, classes and weights of n slices of noise."""
    rng = np.random.default_rng(seed)
    return (
        rng.uniform(0, 1, (n, *shape)).astype(np.float32),
        rng.integers(0, 2, (n, *shape)).astype(np.uint8),
        rng.uniform(0.5, 5, (n, *shape)).astype(np.float32),
    )


def random_tiles(seed, n, output_tile=20, depth=1):
    """Images, classes and weights of a batch of n tiles, as `unetcore.update.Update` takes them."""
    generator = torch.Generator().manual_seed(seed)
    side = output_tile + 2 * (6 * 2**depth - 4)
    return (
        torch.randn(n, 1, side, side, generator=generator),
        torch.randint(2, (n, output_tile, output_tile), generator=generator),
        torch.rand(n, output_tile, output_tile, generator=generator) * 4 + 0.5,
    )


def new_network(seed=0, **changes):
    """Network of `NETWORK` before its first update, in training mode."""
    model = UNet(**changed(NETWORK, **changes).arguments())
    initialise(model, torch.Generator().manual_seed(seed))
    return model.train()


def weights_of(model):
    """All parameters in one row."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def gradient_of(model):
    """Gradient of all parameters in one row."""
    return torch.cat([p.grad.flatten() for p in model.parameters()])
