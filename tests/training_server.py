"""Read once by the server that forks the processes of `test_resume`, so that each begins at once.

torch imports its compiler when the first optimiser is made, and numba reads the code that cuts
tiles when the first one is cut: some seconds, which every process would spend anew.
"""

import numpy as np
import torch
import torch._dynamo
from training_process import AUGMENTATION, data

from unetcore.augment import TileAugmenter

torch.set_num_threads(1)
slices = data()
cut = TileAugmenter(
    slices.with_channels, slices.classes, slices.weights, input_size=36, halo=8,
    config=AUGMENTATION, device=torch.device("cpu"),
)  # fmt: skip
cut(np.random.default_rng(0))
