"""What the network does to a tile (paper Fig. 1), noted while it does it."""

from dataclasses import replace

import torch
from torch import nn

from unetcore.errors import InputError
from unetcore.families import build_network
from unetcore.model import ExpansiveLevel, TileNormalisation
from unetcore.operations import CONVOLUTION, COPY, POOL, UP, Architecture, Operation
from unetcore.settings import NetworkConfig

KINDS = {nn.Conv2d: CONVOLUTION, nn.MaxPool2d: POOL, nn.ConvTranspose2d: UP}
AFTERWARDS = {nn.ReLU: "ReLU", TileNormalisation: "normalisation"}
LEVELS_DOWN = {POOL: 1, UP: -1}


def trace_architecture(config: NetworkConfig, output_tile: int) -> Architecture:
    """Build a network as a training does, run it on one tile, and note every operation.

    Parameters
    ----------
    config : of the network, of the family "u-net".
    output_tile : px, side of the output tile.

    Returns
    -------
    Architecture, its shapes being those of the maps that were made. Drop-out is left out, as in
    Fig. 1.

    Raises
    ------
    InputError : another family, or an output tile that the network cannot make.
    """
    if config.family != "u-net":
        raise InputError(f"network of family {config.family}: Fig. 1 shows a u-net")
    side = config.input_tile(output_tile)
    with torch.device("meta"):  # shapes of tensors, without values
        network = build_network(config).eval()
        image = torch.empty(1, 1, side, side)
    notes = _Notes()
    notes.follow(network)
    with torch.no_grad():
        network(image)
    return Architecture(image.shape[1], side, notes.operations)


class _Notes:
    """Operations of a network in the order in which they are computed."""

    def __init__(self):
        self.operations: list[Operation] = []
        self.level = 0
        self.skip_side: int | None = None  # px, of the map that the next copy is taken from

    def follow(self, network):
        """Take a note whenever a layer of the network has been computed, and of each copy."""
        for module in network.modules():
            if type(module) in KINDS:
                module.register_forward_hook(self._note)
            elif type(module) in AFTERWARDS:
                module.register_forward_hook(self._note_afterwards)
            elif isinstance(module, ExpansiveLevel):
                module.register_forward_pre_hook(self._note_skip)
                module.convolutions.register_forward_pre_hook(self._note_copy)

    def _note(self, layer, given, made):
        kind = KINDS[type(layer)]
        kernel = layer.kernel_size if kind == POOL else layer.kernel_size[0]
        self.level += LEVELS_DOWN.get(kind, 0)
        self._append(kind, kernel, given[0].shape[-1], made.shape, _n_parameters(layer))

    def _note_afterwards(self, layer, given, made):
        last = self.operations[-1]
        self.operations[-1] = replace(
            last,
            parameters=last.parameters + _n_parameters(layer),
            then=(*last.then, AFTERWARDS[type(layer)]),
        )

    def _note_skip(self, level, given):
        _, skip, _ = given
        self.skip_side = None if skip is None else skip.shape[-1]

    def _note_copy(self, convolutions, given):
        """What stands beside the up-convolution was copied and cropped."""
        if self.skip_side is not None:
            _, channels, *sides = given[0].shape
            shape = (1, channels - self.operations[-1].channels, *sides)
            self._append(COPY, 0, self.skip_side, shape, 0)

    def _append(self, kind, kernel, given, shape, n_parameters):
        _, channels, _, side = shape
        self.operations.append(
            Operation(kind, kernel, self.level, given, side, channels, n_parameters)
        )


def _n_parameters(layer):
    return sum(parameter.numel() for parameter in layer.parameters())
