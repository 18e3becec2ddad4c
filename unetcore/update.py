"""One weight update: scores, energy, gradient, step; the part of a training that costs time."""

from contextlib import nullcontext
from dataclasses import dataclass, fields

import torch

from unetcore.cuda_graph import CapturedStep
from unetcore.devices import autocast, resolve_precision
from unetcore.distributed import Processes
from unetcore.loss import soft_dice_loss, weighted_cross_entropy
from unetcore.normalised import says_nothing
from unetcore.optimisation import gradient_norm, make_optimiser
from unetcore.settings import TrainConfig

Tiles = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # images, classes, weights of a batch


@dataclass
class Tally:
    """Sums over the steps since the last row of the history, on the device of the training.

    Nothing here waits for a GPU. Once a loss or a gradient is not finite, no further step counts.

    Attributes
    ----------
    loss, foreground : float64 scalars, sums of the steps' means.
    gradient_norm : float32 scalar, the largest.
    steps : int64 scalar, how many were counted.
    last_loss, last_norm : float32 scalars, of the last step, or of the one that failed.
    failed : float32 scalar, 1 if a loss or gradient was not finite.
    """

    loss: torch.Tensor
    foreground: torch.Tensor
    gradient_norm: torch.Tensor
    steps: torch.Tensor
    last_loss: torch.Tensor
    last_norm: torch.Tensor
    failed: torch.Tensor

    @classmethod
    def empty(cls, device: torch.device) -> "Tally":
        """Tally of no steps."""
        names = [field.name for field in fields(cls)]
        kinds = {"loss": torch.float64, "foreground": torch.float64, "steps": torch.int64}
        return cls(*(torch.zeros((), dtype=kinds.get(n), device=device) for n in names))

    def add(self, loss, foreground, norm) -> None:
        """Count one step, in place."""
        for last, value in ((self.last_loss, loss), (self.last_norm, norm)):
            last.copy_(torch.where(self.failed == 0, value, last))
        finite = torch.isfinite(loss) & torch.isfinite(norm)
        self.failed.copy_(torch.maximum(self.failed, (~finite).float()))
        counts = self.failed == 0
        self.loss.add_(torch.where(counts, loss.double(), 0))
        self.foreground.add_(torch.where(counts, foreground.double(), 0))
        self.gradient_norm.copy_(
            torch.where(counts, torch.maximum(self.gradient_norm, norm), self.gradient_norm)
        )
        self.steps.add_(counts)

    def clear(self) -> None:
        """Begin the next row; a failure stays."""
        for total in (self.loss, self.foreground, self.gradient_norm, self.steps):
            total.zero_()

    def state(self) -> dict[str, torch.Tensor]:
        """Copy of all sums, for a saved state."""
        return {name: total.clone() for name, total in vars(self).items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take up the sums of a saved state."""
        for name, total in vars(self).items():
            total.copy_(state[name])


class Update:
    """Updates a network, one batch of tiles at a time.

    Parameters
    ----------
    model : UNet in training mode, on its device.
    config : settings.
    processes : those that train this network together.

    Attributes
    ----------
    optimiser : see `unetcore.optimisation.make_optimiser`.
    tally : of the updates since it was cleared.
    """

    def __init__(self, model, config: TrainConfig, processes: Processes):
        self.device = next(model.parameters()).device
        self.model, self.config, self.processes = model, config, processes
        self.network = processes.wrap(model, self.device)
        self.optimiser = make_optimiser(model, config)
        self.autocast = autocast(config.precision, self.device)
        self.dtype = getattr(torch, resolve_precision(config.precision, self.device))
        self.tally = Tally.empty(self.device)
        self.single = None  # update by one part, made when the first tiles are there

    def __call__(self, parts: list[Tiles], seeds: list[int]) -> None:
        """Update the network by the mean gradient of parts of equal size.

        An update whose loss or gradient is not finite is not made, nor is any after it.

        Parameters
        ----------
        parts : tiles that are computed one after the other.
        seeds : of the drop-out of each part.
        """
        if len(parts) > 1:
            self._apply(*self.gradient(parts, seeds))
            return
        if self.single is None:
            alone = self.processes.size == 1
            self.single = CapturedStep(self._update_by, parts[0]) if alone else self._update_by
        torch.manual_seed(seeds[0])
        self.single(*parts[0])

    def _update_by(self, *tiles):
        """Update by one part, after the generators were seeded; what a GPU captures."""
        self._apply(*self.gradient([tiles], [None]))
        return ()

    def _apply(self, loss, foreground, norm):
        """Move the weights along their gradient, if all is finite."""
        self.tally.add(loss, foreground, norm)
        self.optimiser.found_inf = self.tally.failed
        self.optimiser.step()

    def gradient(self, parts: list[Tiles], seeds: list[int]) -> tuple[torch.Tensor, ...]:
        """Compute the gradient of an update, which the parameters then hold.

        A seed that is None leaves the generators, from which drop-out is drawn, as they are.

        Returns
        -------
        loss, share of pixels predicted as foreground, norm of the gradient : scalar tensors, means
        over all parts and processes.
        """
        self.optimiser.zero_grad(set_to_none=True)
        measured = []
        for number, (tiles, seed) in enumerate(zip(parts, seeds, strict=True), start=1):
            if seed is not None:
                torch.manual_seed(seed)
            waits = self.processes.no_sync if number < len(parts) else nullcontext
            with waits(self.network):
                measured.append(self._add_gradient(tiles, len(parts)))
        loss, foreground = (torch.stack(each).mean() for each in zip(*measured, strict=True))
        norm = gradient_norm(self.model, self.config.clip)
        return self.processes.mean(loss), self.processes.mean(foreground), norm

    def _add_gradient(self, tiles, n_parts):
        """Add the gradient of one part to that of the others.

        To a normalised network a tile that says nothing counts for nothing: its gradient overflows.
        Its loss is 0 then, and enters the mean that is logged.
        """
        images, classes, weights = tiles
        if self.model.settings.get("normalised"):
            weights = weights * ~says_nothing(images, self.dtype)[:, None, None]
        with self.autocast():
            scores = self.network(images)
        loss = weighted_cross_entropy(scores, classes, weights, self.config.reduction)
        if self.config.dice:
            loss = loss + self.config.dice * soft_dice_loss(scores, classes, weights)
        (loss / n_parts).backward()
        foreground = scores.detach().argmax(1).ne(0).float().mean()
        return loss.detach(), foreground
