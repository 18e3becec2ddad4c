"""A training needs torch and NumPy, as a GPU node has them, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Makes of the Python that runs it one that has torch with what it requires, NumPy and this package.
BARE = """
import sys

HAS = {
    *sys.stdlib_module_names, "numpy", "torch", "torchgen", "functorch", "triton", "nvidia",
    "filelock", "fsspec", "jinja2", "markupsafe", "mpmath", "networkx", "setuptools", "sympy",
    "typing_extensions", "unetcore",
}

class Finder:
    def __init__(self, finders):
        self.finders = finders

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in HAS or top.startswith("_"):
            specs = (finder.find_spec(name, path, target) for finder in self.finders)
            return next(filter(None, specs), None)

sys.meta_path[:] = [Finder(sys.meta_path[:])]
"""

TRAINING = """
import json, logging
import numpy as np
import torch
from unetcore.augment import AugmentConfig
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.train import TrainingData, train

logging.basicConfig(format="%(message)s")
torch.set_num_threads(1)
rng = np.random.default_rng(0)
_, history = train(
    TrainingData(
        rng.normal(size=(2, 40, 48)).astype(np.float32),
        rng.integers(2, size=(2, 40, 48)),
        rng.uniform(0.5, 2, (2, 40, 48)).astype(np.float32),
    ),
    network=NetworkConfig(
        family="u-net", variant="figure1", width=2, depth=1, dropout=0.5, normalised=True,
        skip_connections=True, expansive_width=None,
    ),
    augmentation=AugmentConfig(
        shift=True, balanced=False, rotation=180, mirror=True, displacement_std=5, grid=3,
        kernel="bicubic", grey_shift=0.1, grey_scale=0.1,
    ),
    training=TrainConfig(
        steps=3, batch=2, accumulate=1, output_tile=20, normalisation="slice",
        initial_weights="he", optimiser="sgd", learning_rate=0.01, momentum=0.9, weight_decay=0.0,
        schedule="constant", warmup_steps=0, reduction="weighted-mean", dice=0.5, clip=1.0,
        precision="float32", deterministic=True, log_every=1, checkpoint_every=2,
        checkpoint_minutes=60.0, validate_every=0,
    ),
    seed=3,
    states=None,
    device="cpu",
)
print(json.dumps([row.loss for row in history]))
"""


def run(code):
    """Run it here, with this package on the path."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_three_steps_with_torch_and_numpy_alone_are_those_of_a_full_installation():
    bare, full = run(BARE + TRAINING), run(TRAINING)
    assert bare.returncode == 0, bare.stderr
    assert bare.stderr.count("numba is not installed: torch cuts the tiles") == 1  # not every tile
    assert "numba" not in full.stderr
    # Values of an image differ by 1e-5 between the two ways to cut a tile.
    losses = json.loads(bare.stdout)
    assert len(losses) == 3
    assert losses == pytest.approx(json.loads(full.stdout), abs=1e-4)


@pytest.mark.parametrize("module", ["numba", "scipy.ndimage", "safetensors.torch", "tqdm", "yaml"])
def test_a_bare_node_has_none_of_the_rest(module):
    refused = run(f"{BARE}\nimport {module}")
    assert f"No module named {module.partition('.')[0]!r}" in refused.stderr
    assert run(f"import {module}").returncode == 0
