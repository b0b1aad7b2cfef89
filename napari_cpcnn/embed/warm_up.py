"""Warm-up: what takes longest the first time is done before anyone waits for it."""

from __future__ import annotations

import gc

import numpy as np
from napari.layers import Labels
from napari.utils import progress

COLUMNS = 100


def warm_up_window() -> None:
    """Draw napari's progress bar once, and collect garbage, while the widget opens.

    The first bar stops the window two to three times as long as those that follow. Python's
    collector goes through all that napari holds, for up to a quarter of a second, when a quarter
    more is there than at its last round: napari's start brings it close to that.
    """
    progress(total=1, desc="Cell Painting CNN").close()
    gc.collect()


def warm_up_tables() -> None:
    """Have napari make a table, on a thread that no window waits for.

    Its first takes three times as long as those that follow.

    Examples
    --------
    >>> warm_up_tables()
    """
    table = {str(number): [0.0] for number in range(COLUMNS)}
    Labels(np.zeros((1, 1), int), features=table)
