"""The paper's settings, `defaults` of config.yaml, for machines that cannot read that file."""

from unetcore.augment import AugmentConfig
from unetcore.settings import NetworkConfig, TrainConfig

NETWORK = NetworkConfig(
    family="u-net",
    variant="figure1",
    width=64,
    depth=4,
    dropout=0.5,
    normalised=False,
    skip_connections=True,
    expansive_width=None,
)

AUGMENTATION = AugmentConfig(
    shift=True,
    balanced=False,
    rotation=180,
    mirror=True,
    displacement_std=10,
    grid=3,
    kernel="bicubic",
    grey_shift=0.1,
    grey_scale=0.1,
)

TRAINING = TrainConfig(
    steps=30000,
    batch=1,
    accumulate=1,
    output_tile=388,
    normalisation="slice",
    initial_weights="he",
    optimiser="sgd",
    learning_rate=0.003,
    momentum=0.99,
    weight_decay=0,
    schedule="step",
    warmup_steps=300,
    reduction="weighted-mean",
    dice=0,
    clip=None,
    precision="auto",
    deterministic=True,
    log_every=20,
    checkpoint_every=500,
    checkpoint_minutes=10,
    validate_every=0,
)
