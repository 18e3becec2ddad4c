"""What is said of an image that has other channels than a model takes."""


def other_channels(given: int, taken: int, n_slices: int) -> str:
    """Say how many channels there are, and what may help.

    Parameters
    ----------
    given, taken : channels of the image, and of the model.
    n_slices : of the image.

    Examples
    --------
    >>> other_channels(3, 1, 1)
    '3 channels, and the model takes 1'
    """
    words = "1 channel" if given == 1 else f"{given} channels"
    said = f"{words}, and the model takes {taken}"
    if (n_slices, given) != (taken, 1):
        return said
    return (
        f"{said}: its {taken} pages are taken for slices, save them as channels (Fiji: Image > "
        "Hyperstacks > Stack to Hyperstack)"
    )
