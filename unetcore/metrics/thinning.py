"""Border thinning: a proposal's membranes shrunk to lines by a two-level watershed on a queue.

The scores V_rand and V_info are taken after it. The order in which pixels are met decides where the
lines run, so scan order, queue order and the one shared flag are part of the definition.
"""

import numpy as np
from numba import njit

from unetcore.metrics.components import label_components

WATERSHED = 0  # a pixel of the thin line; background in the result
MASK = -1  # background not met so far
IN_QUEUE = -2
OUTSIDE = -3  # the ring around the image: never a neighbour that matters


def thin(foreground: np.ndarray) -> tuple[np.ndarray, int]:
    """Grow the foreground's components until only lines one pixel wide lie between them.

    Parameters
    ----------
    foreground : (X, Y) bool array, columns first.

    Returns
    -------
    labels : (X, Y) int32 array, 0 = line, 1..count = components in the order of their first pixel,
        then basins that no component reaches. Without any foreground, all is one basin.
    count : int.
    """
    objects, n_objects = label_components(foreground)
    basins = np.where(foreground, objects, np.int32(MASK))
    basins = np.pad(basins, 1, constant_values=OUTSIDE)
    count = _flood(basins.reshape(-1), basins.shape[1], n_objects)
    return np.ascontiguousarray(basins[1:-1, 1:-1]), count


@njit(cache=True, nogil=True)
def _flood(basins, stride, count):
    """Flood the MASK pixels in place, in scan order; return the number of basins.

    A pixel enters the queue once, next to a basin or a line, and leaves it with the basin of its
    neighbours or, where they disagree, as a line. `line_only` is true from a pixel that became a
    line because it met a line, until one becomes a line between basins: meanwhile a line pixel
    may still go over to a basin. The official program never resets it between pixels.
    """
    neighbours = (-stride, -1, stride, 1)  # left, up, right, down
    queue = np.empty(len(basins), np.int32)
    head = tail = 0
    for p in range(len(basins)):
        if basins[p] == MASK:
            for step in neighbours:
                if basins[p + step] > 0:
                    basins[p] = IN_QUEUE
                    queue[tail] = p
                    tail += 1
                    break

    line_only = False
    while head < tail:
        p = queue[head]
        head += 1
        for step in neighbours:
            q = p + step
            if basins[q] > 0:
                if basins[p] == IN_QUEUE or (basins[p] == WATERSHED and line_only):
                    basins[p] = basins[q]
                elif basins[p] > 0 and basins[p] != basins[q]:
                    basins[p] = WATERSHED
                    line_only = False
            elif basins[q] == WATERSHED:
                if basins[p] == IN_QUEUE:
                    basins[p] = WATERSHED
                    line_only = True
            elif basins[q] == MASK:
                basins[q] = IN_QUEUE
                queue[tail] = q
                tail += 1

    for start in range(len(basins)):  # background that nothing reached: basins of their own
        if basins[start] == MASK:
            count += 1
            basins[start] = count
            queue[0] = start
            head, tail = 0, 1
            while head < tail:
                p = queue[head]
                head += 1
                for step in neighbours:
                    if basins[p + step] == MASK:
                        basins[p + step] = count
                        queue[tail] = p + step
                        tail += 1
    return count
