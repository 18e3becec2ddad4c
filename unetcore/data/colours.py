"""Colours that are neither grey values nor red, green and blue, as messages name them."""

from pathlib import Path

from unetcore.errors import InputError

PALETTE = "a palette (colours by number)"
PRINTING = "colours of printing (CMYK)"
ALPHA = "an alpha channel (transparency)"
OF_SLICES = 'photometric="minisblack"'
WITHOUT_ALPHA = "save it without (GIMP: Image > Flatten Image; Fiji: Image > Type > RGB Color)"


def or_slices(n: int) -> str:
    """Say that colours that lie in planes may be slices.

    Where its caller does not say what an array of shape (3, H, W) or (4, H, W) is, tifffile marks
    it as red, green, blue and transparency.

    Examples
    --------
    >>> or_slices(4).partition(" (")[0]
    ', or 4 slices marked as colours'
    """
    return f", or {n} slices marked as colours (save those with tifffile's {OF_SLICES})"


class WrongColours(InputError):
    """A file whose pixels are neither grey values nor red, green and blue.

    Parameters
    ----------
    path : the file.
    found : what its pixels are.
    advice : what to do about it, if there is something to say.
    """

    def __init__(self, path: Path, found: str, advice: str = ""):
        super().__init__(path, found, advice)
        self.found = found

    def __str__(self):
        path, found, advice = self.args
        return f"{path}: {found}, expected grey values or RGB" + (f": {advice}" if advice else "")
