"""Which pixels lie in a region of Fiji, by ImageJ's own rules.

A pixel is in a polygon if its centre is; of centres on the outline itself, those on a left or upper
side are out and those on a right or lower one in. What lies in two parts of a region is out again.
An ellipse is the equation, at the centres of its pixels.
"""

from collections.abc import Sequence

import numpy as np
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi
from scipy.interpolate import BPoly

from unetcore.errors import InputError

AREAS = (ROI_TYPE.POLYGON, ROI_TYPE.RECT, ROI_TYPE.OVAL, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
OF_AREAS = (ROI_SUBTYPE.UNDEFINED, ROI_SUBTYPE.ELLIPSE, ROI_SUBTYPE.ROTATED_RECT)
NUDGE = 1e-8  # px, by which ImageJ moves crossings to the right, so that ties are decided
COMMANDS = (0, 1, 2, 3, 4)  # of a path: move, line, two curves, close
NUMBERS = (2, 2, 4, 6, 0)  # that follow each
STEPS = np.linspace(0, 1, 65)[1:]  # along a curve
ROUND = 4 / 3 * (np.sqrt(2) - 1)  # of a quarter circle, where the handles of its curve are

Window = tuple[slice, slice]


def pixels_of(region: ImagejRoi, shape: tuple[int, int], called: str) -> tuple[Window, np.ndarray]:
    """Pixels of an image that lie in a region.

    Parameters
    ----------
    region : an area.
    shape : (H, W) of the image.
    called : what messages call the region.

    Returns
    -------
    window : rows and columns around the region, within the image.
    inside : bools, of the size of the window.

    Raises
    ------
    InputError : it is no area, a fitted spline, or its outline is damaged.

    Notes
    -----
    Compared with the masks that ImageJ 1.53t makes of regions that it has saved: equal, pixel by
    pixel, for rectangles, ovals, polygons, freehand and traced outlines and composites of them.
    Of ellipses and rotated rectangles, which ImageJ draws anew by their axes, 12 of 2,400 random
    regions of all kinds differed, each by one pixel whose centre lies on the outline. Rounded
    corners are curves, for which ImageJ takes polygons of its own: of 100 rectangles, 2 differed,
    by 4 pixels each.
    """
    _refuse_others(region, called)
    if region.roitype == ROI_TYPE.OVAL:
        box = region.top, region.left, region.bottom, region.right
        window = _window(box, shape)
        return window, _in_ellipse(box, window)
    outlines = _outlines(region, called)
    corners = np.concatenate([np.empty((0, 2)), *outlines])
    if not corners.size or not np.isfinite(corners).all():
        raise InputError(f"{called}: a damaged outline")
    (left, top), (right, bottom) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    window = _window((top, left, bottom, right), shape)
    return window, _filled(outlines, window)


def _refuse_others(region: ImagejRoi, called: str) -> None:
    if region.roitype not in AREAS:
        raise InputError(f"{called}: a {region.roitype.name.lower()}, expected an area")
    if region.subtype not in OF_AREAS:
        raise InputError(f"{called}: a {region.subtype.name.lower()}, expected an area")
    if ROI_OPTIONS.SPLINE_FIT in region.options:
        raise InputError(
            f"{called}: a fitted spline, expected a polygon: in Fiji, Edit > Selection > "
            "Interpolate makes it one"
        )


def _window(box: Sequence[float], shape: tuple[int, int]) -> Window:
    """Rows and columns of an image that a box (top, left, bottom, right) covers."""
    top, left, bottom, right = box
    sides = ((top, bottom, shape[0]), (left, right, shape[1]))
    rows, columns = (
        slice(start := min(max(0, int(first)), n), min(max(start, int(last)), n))
        for first, last, n in sides
    )
    return rows, columns


def _in_ellipse(box: Sequence[int], window: Window) -> np.ndarray:
    """Pixels of a window whose centre lies in the ellipse that fits into a box."""
    top, left, bottom, right = box
    radii = (bottom - top) / 2, (right - left) / 2
    y, x = (
        (np.arange(span.start, span.stop) + 0.5 - first - radius) ** 2 / radius**2
        for span, first, radius in zip(window, (top, left), radii, strict=True)
    )
    return y[:, None] + x <= 1


def _filled(outlines: Sequence[np.ndarray], window: Window) -> np.ndarray:
    """Pixels of a window with an odd number of crossings to their left."""
    rows, columns = window
    edges = np.concatenate([np.stack([part, np.roll(part, -1, axis=0)], 1) for part in outlines])
    upward = edges[:, 0, 1] > edges[:, 1, 1]
    edges[upward] = edges[upward, ::-1]
    (x, y), (x_end, y_end) = edges.transpose(1, 2, 0)
    first, last = (np.clip(np.floor(end + 0.5), rows.start, rows.stop) for end in (y, y_end))
    n = (last - first).astype(int)
    edge = np.repeat(np.arange(len(n)), n)
    row = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + first[edge].astype(int)
    slope = (x_end - x)[edge] / (y_end - y)[edge]
    crossing = x[edge] + (row + 0.5 - y[edge]) * slope + NUDGE
    column = np.clip(np.floor(crossing + 0.5), columns.start, columns.stop).astype(int)
    crossings = np.zeros((rows.stop - rows.start, columns.stop - columns.start + 1), int)
    np.add.at(crossings, (row - rows.start, column - columns.start), 1)
    return crossings.cumsum(axis=1)[:, :-1] % 2 == 1


def _outlines(region: ImagejRoi, called: str) -> list[np.ndarray]:
    """Polygons (n, 2) of a region, x and y in px from the corner of the image."""
    if region.composite:
        return _parts(region.multi_coordinates, called)
    if region.roitype == ROI_TYPE.RECT and region.rounded_rect_arc_size:
        return [_rounded(region)]
    (corners,) = region.coordinates(multi=True)
    if not len(corners):
        return []
    corner = corners.min(axis=0)
    # ImageJ keeps the distances from it in single precision, which decides some ties.
    return [np.float32(corners - corner).astype(float) + corner]


def _parts(path: np.ndarray, called: str) -> list[np.ndarray]:
    """Polygons of a path of commands and numbers, as Java writes its shapes."""
    parts: list[list[np.ndarray]] = []
    numbers = iter(np.asarray(path, float))
    try:
        for command in numbers:
            n = NUMBERS[COMMANDS.index(command)]
            points = np.reshape([next(numbers) for _ in range(n)], (-1, 2))
            if command == 0:
                parts.append([points])
            elif len(points):
                parts[-1].append(_curve(np.concatenate([parts[-1][-1][-1:], points])))
    except (IndexError, RuntimeError, StopIteration, ValueError) as error:
        raise InputError(f"{called}: a damaged outline") from error
    return [np.concatenate(part) for part in parts]


def _curve(points: np.ndarray) -> np.ndarray:
    """Corners of a Bezier curve of any degree, without its first point; of a line, its end."""
    return points[1:] if len(points) == 2 else BPoly(points[:, None], [0, 1])(STEPS)


def _rounded(region: ImagejRoi) -> np.ndarray:
    """Outline of a rectangle with rounded corners."""
    sides = np.array([region.right - region.left, region.bottom - region.top], float)
    radius = np.minimum(region.rounded_rect_arc_size, sides) / 2
    bend = (1 - ROUND) * radius
    corner = [[0, radius[1]], [0, bend[1]], [bend[0], 0], [radius[0], 0]]
    quarter = BPoly(np.array(corner)[:, None], [0, 1])(np.append(0, STEPS))
    x, y = quarter.T
    width, height = sides
    clockwise = [
        quarter,
        np.stack([width - x, y], 1)[::-1],
        np.stack([width - x, height - y], 1),
        np.stack([x, height - y], 1)[::-1],
    ]
    return np.add(np.concatenate(clockwise), (region.left, region.top))
