"""What `cpcnn_core.evaluation.power` simulated, as one HTML file that opens without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cpcnn_core.evaluation.power import Effects
from cpcnn_core.evaluation.report_figures import draw_power, figure
from cpcnn_core.evaluation.report_page import Block, Heading, Note, Table, write_page


def write_power_report(
    path: str | Path, table: pd.DataFrame, own: Effects, name: str, correction: str
) -> None:
    """Write what was simulated as one self-contained HTML file.

    Parameters
    ----------
    path : str or Path
    table : pandas.DataFrame
        Of `cpcnn_core.evaluation.power.simulate_power`.
    own : Effects
        Of the screen that was simulated with.
    name : str
        What the profiles are called, e.g. their file.
    correction : str
    """
    low, half, high = (f"{size:.2f}" for size in np.percentile(own.sizes, (25, 50, 75)))
    blocks: list[Block] = [
        Heading("How large a screen must be", 1),
        Table(
            [
                ("profiles", name),
                ("correction", correction),
                ("effects of the treatments here: a quarter below", low),
                ("half below", half),
                ("three quarters below", high),
            ]
        ),
        Note(
            "Effects: root mean square over the features, in standard deviations of control wells "
            "on a plate. Power: the share of simulated treatments whose activity has a p-value of "
            "at most .05, with its 95 % interval over simulated screens. With an effect of 0 it "
            "should be .05 or less. A p-value that must hold among many treatments (q) needs more "
            "than this."
        ),
    ]
    for effect, rows in table.groupby("effect"):
        if rows["power"].notna().any():
            draw = draw_power(rows, f"effect {effect:g}")
            blocks.append(figure(f"Power for an effect of {effect:g}", draw, (4.6, 3.2), 46))
    shown = table.assign(effect=table["effect"].map("{:g}".format)).astype(object)
    rows = shown.where(shown.notna(), "").itertuples(index=False, name=None)
    blocks += [Heading("All designs"), Table(list(rows), list(table.columns))]
    blocks.append(
        Note(
            "Simulated with the control wells of this screen, at random positions: effects of the "
            "position, other days and other cells are not in it, and the interval does not tell of "
            "controls that this screen does not have."
        )
    )
    write_page(path, "How large a screen must be", blocks)
