"""U-Net (Ronneberger, Fischer, Brox 2015): network, tiling, weight maps, augmentation, metrics."""

__version__ = "0.10.0"
