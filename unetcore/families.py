"""The networks that can be trained, by name: the paper's, and those that it compares with."""

from torch import nn

from unetcore.errors import InputError
from unetcore.fully_convolutional import FullyConvolutional
from unetcore.model import UNet
from unetcore.settings import NetworkConfig
from unetcore.sliding_window import SlidingWindow

NETWORKS = {network.family: network for network in (UNet, FullyConvolutional, SlidingWindow)}


def build_network(config: NetworkConfig, in_channels: int = 1) -> nn.Module:
    """Make a network as a training's settings describe it, with the library's initial weights."""
    return NETWORKS[config.family](in_channels=in_channels, **config.arguments())


def rebuild_network(family: str, settings: dict) -> nn.Module:
    """Make the network whose `family` and `settings` these are.

    Raises
    ------
    InputError : unknown family.
    """
    if family not in NETWORKS:
        raise InputError(f"network family {family!r}: need one of {', '.join(NETWORKS)}")
    return NETWORKS[family](**settings)
