"""A field without objects, covered with tiles."""

import numpy as np


def tile_centers(shape, side):
    """Return the centres (row, col) of the tiles that cover a field, row by row.

    Tiles of `side` pixels are side by side around the middle of the field; what is
    left at its borders is less than a tile. A field smaller than a tile gets one.
    """
    rows, cols = (_centers_along(length, side) for length in shape)
    return np.array([(row, col) for row in rows for col in cols], float)


def _centers_along(length, side):
    count = max(1, length // side)
    return (length - count * side) / 2 + side * (np.arange(count) + 0.5)
