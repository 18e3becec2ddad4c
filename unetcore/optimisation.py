"""The optimiser, the learning rate of a step, and the length of a gradient."""

import math

import torch

from unetcore.settings import TrainConfig

SECOND_DECAY = 0.999  # of AdamW, as in its paper


def make_optimiser(model: torch.nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Optimiser with the authors' rule for biases: twice the rate, no decay (release of 2015).

    The fused form is taken: it leaves the weights as they are where its `found_inf` is 1, without
    the program having to wait for a GPU to know.
    """
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    weights = [p for name, p in model.named_parameters() if not name.endswith("bias")]
    groups = [
        {"params": weights, "weight_decay": config.weight_decay, "lr_factor": 1.0},
        {"params": biases, "weight_decay": 0.0, "lr_factor": 2.0},
    ]
    on_gpu = weights[0].device.type == "cuda"
    for group in groups:  # a captured graph reads its rate from memory
        rate = config.learning_rate
        group["lr"] = torch.tensor(rate, device=weights[0].device) if on_gpu else rate
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, fused=True)
    betas = (float(config.momentum), SECOND_DECAY)
    return torch.optim.AdamW(groups, betas=betas, fused=True, capturable=on_gpu)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of `make_optimiser` its multiple of a rate."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate * group["lr_factor"])
        else:
            group["lr"] = rate * group["lr_factor"]


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate of update number `step` (from 0): linear warm-up, then the schedule."""
    warm_up = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return config.learning_rate * warm_up * _share_of_the_rate(step / config.steps, config.schedule)


def _share_of_the_rate(done: float, schedule: str) -> float:
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if schedule == "step":
        return 0.1 if done >= 0.7 else 1.0
    return 1.0


def gradient_norm(model: torch.nn.Module, clip: float | None) -> torch.Tensor:
    """Euclidean length of the gradient over all parameters; a longer one than `clip` is cut to it.

    Returns
    -------
    Scalar tensor, the length before it is cut.
    """
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
    if clip is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    return norm
