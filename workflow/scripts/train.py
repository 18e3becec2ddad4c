"""Train one network on the labelled frames outside a fold."""

from pathlib import Path

import torch

from unetcore.augment import AugmentConfig
from unetcore.data.dataset import Dataset
from unetcore.fold_training import Held, train_fold
from unetcore.gpu_probe import take_gpus
from unetcore.launch import launch
from unetcore.produce import Products, Settings
from unetcore.script import run
from unetcore.settings import NetworkConfig, TrainConfig


def main(
    images: Path,
    labels: Path,
    frames: Path,
    classes: Path,
    weights: Path,
    model: Path,
    history: Path,
    validation: Path,
    provenance: Path,
    *,
    state: Path,
    board: Path | None,
    split: dict,
    fold: str,
    seed: int,
    network: NetworkConfig,
    augmentation: AugmentConfig,
    training: dict,
    watch: dict,
    metrics: list[str],
    postprocessing: dict,
    device: str,
    processes: int,
    facts: dict | None = None,
    code: str = "",
    threads: int = 1,
) -> None:
    torch.set_num_threads(threads)
    take_gpus(processes, device)
    config = TrainConfig(**training, **watch)
    arguments = {
        "dataset": Dataset(images, labels, frames, classes, weights),
        "settings": Settings(network, augmentation, config, seed, code, device),
        "products": Products(model, history, validation, provenance),
        "name": f"{model.parents[2].name} fold {fold} seed {seed}",
        "states": state,
        "board": board,
        "split": split,
        "fold": fold,
        "held": Held(metrics, postprocessing),
        "facts": facts,
    }
    launch(train_fold, arguments, processes, threads=max(1, threads // processes))


if __name__ == "__main__":
    run(main, globals().get("snakemake"), keep_log=True)
