"""How large an experiment must be to see an effect, as one's own control wells vary.

Control wells are dealt into smaller screens: some stay controls, the others are called treatments
and get an effect of a known size added. The whole procedure then says how many it finds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.intervals import bootstrap_interval, exact_interval
from cpcnn_core.evaluation.replicates import SIGNIFICANT
from cpcnn_core.profiles.checks import check_features
from cpcnn_core.profiles.correction import Correction
from cpcnn_core.profiles.cross_fitting import HELD_OUT, SINGLE, cross_fit, plates_of
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.schema.columns import PLATE
from cpcnn_core.schema.profiles import Profiles

ROUNDS = 20
# In one round; more share the same controls.
MAX_TREATMENTS = 10
_NAME = "Metadata_Simulated"


@dataclass(frozen=True)
class Design:
    """A screen to be.

    Attributes
    ----------
    plates : int
    replicates : int
        Wells of a treatment on every plate.
    controls : int
        Control wells on every plate.
    """

    plates: int
    replicates: int
    controls: int

    @property
    def is_replicated(self) -> bool:
        """Whether a treatment has more than one well."""
        return self.plates * self.replicates > 1


@dataclass(frozen=True)
class Effects:
    """The effects of a screen's own treatments, in standard deviations of control wells.

    Attributes
    ----------
    directions : ndarray of shape (t, d), float64
        What every treatment adds to a well's features, scaled to size 1.
    sizes : ndarray of shape (t,), float64
        The root mean square, over the features, of the mean difference from the controls of the
        same plates, in standard deviations of controls on a plate; less what the mean of so few
        wells would show of nothing. 0: no more than that.
    """

    directions: np.ndarray
    sizes: np.ndarray


def measure_effects(wells: Profiles, controls: np.ndarray, by: str) -> Effects:
    """Measure how far treatments move their wells.

    Parameters
    ----------
    wells : Profiles
        Uncorrected.
    controls : ndarray of shape (n,), bool
        Two at least on some plates; wells of plates with fewer are left out.
    by : str
        The column that names the treatment.

    Returns
    -------
    Effects
        Of treatments with a well on such a plate.

    Raises
    ------
    ProfileError
        No plate with two controls, no treatment on one, controls that do not vary, NaN.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["DMSO"] * 4 + ["taxol"] * 2})
    >>> features = np.array([[1.0], [3], [1], [3], [6], [6]])
    >>> wells = Profiles(features, rows, ["x"])
    >>> measure_effects(wells, np.arange(6) < 4, "Metadata_Treatment").sizes.round(3)
    array([3.354])
    """
    controls, plates = np.asarray(controls, bool), plates_of(wells)
    features, names = check_features(wells.features), wells.texts(by)
    usable = [name for name in np.unique(plates) if (controls & (plates == name)).sum() > 1]
    if not usable:
        raise ProfileError("expected a plate with two control wells or more, there is none")
    means = {name: features[controls & (plates == name)].mean(axis=0) for name in usable}
    mine = np.isin(plates, usable)
    away = np.zeros_like(features)
    for name in usable:
        away[plates == name] = features[plates == name] - means[name]
    free = (controls & mine).sum() - len(usable)
    spread = np.sqrt((away[controls & mine] ** 2).sum(axis=0) / free)
    varies = spread > 0
    if not varies.any():
        raise ProfileError("the control wells of every plate have all the same features")
    treated = mine & wells.named(by) & ~controls
    directions, sizes = [], []
    for name in dict.fromkeys(names[treated].tolist()):
        rows = np.flatnonzero(treated & (names == name))
        shift = away[rows].mean(axis=0)
        square = ((shift[varies] / spread[varies]) ** 2).mean()
        # A mean of m wells, less the mean of c controls of their plate, varies by 1/m + 1/c.
        noise = 1 / len(rows) + sum(
            (np.mean(plates[rows] == plate)) ** 2 / (controls & (plates == plate)).sum()
            for plate in np.unique(plates[rows])
        )
        directions.append(np.where(varies, shift, 0) / math.sqrt(square) if square else shift)
        sizes.append(math.sqrt(max(square - noise, 0)))
    if not directions:
        raise ProfileError(
            f"expected wells with a {by}, other than controls, on plates with two control wells or "
            "more, there is none; keep some treated wells"
        )
    return Effects(np.array(directions), np.array(sizes))


def simulate_power(
    wells: Profiles,
    controls: np.ndarray,
    by: str,
    correction: Correction,
    designs: Sequence[Design],
    effects: Sequence[float],
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> pd.DataFrame:
    """Simulate how often treatments are found active, with the screen's own controls.

    In every round plates are drawn, and on each its control wells: some are controls, the others
    treatments, to which the direction of one of the screen's own treatments is added, drawn at
    random, in several sizes. All positions are random.

    Parameters
    ----------
    wells : Profiles
        Uncorrected.
    controls : ndarray of shape (n,), bool
    by : str
        The column that names the treatment.
    correction : Correction
        Its method and settings are used.
    designs : sequence of Design
    effects : sequence of float
        Sizes, see `Effects`; 0 is the placebo.
    rounds : int
    seed : int

    Returns
    -------
    pandas.DataFrame
        A row for every design and effect: ``plates``, ``replicates``, ``controls``, ``effect``;
        ``power``, the share of treatments whose activity has a p-value of at most .05; ``low``
        and ``high``, its 95 % interval; ``treatments``, how many were asked;
        ``smallest_p``, the smallest p-value that can be; ``reason``, why there is no power: too
        few plates or controls, or no p-value can be .05.

    Raises
    ------
    ProfileError
        As `measure_effects`; effects below 0; corrected wells.

    Examples
    --------
    >>> from cpcnn_core.profiles.correction import fit_correction
    >>> none, by = fit_correction(wells, controls, "none"), "Metadata_Treatment"
    >>> found = simulate_power(wells, controls, by, none, [Design(2, 1, 8)], [0, 4], rounds=2)
    >>> found[["plates", "controls", "effect"]].values.tolist()
    [[2.0, 8.0, 0.0], [2.0, 8.0, 4.0]]
    """
    if not all(0 <= effect < np.inf for effect in effects):
        raise ProfileError(f"expected effects from 0, got {', '.join(map(str, effects))}")
    controls = np.asarray(controls, bool)
    directions = measure_effects(wells, controls, by).directions
    plates = plates_of(wells)
    pools = {
        name: np.flatnonzero(controls & (plates == name)) for name in np.unique(plates[controls])
    }
    rows = []
    for number, design in enumerate(designs):
        random = np.random.default_rng([seed, number])
        found = _ask(wells, pools, correction, design, effects, directions, rounds, random)
        rows += [{**vars(design), "effect": float(effect), **one} for effect, one in found.items()]
    return pd.DataFrame(rows)


def smallest_designs(table: pd.DataFrame, power: float = 0.8) -> pd.DataFrame:
    """Return, for every effect above 0, the smallest screen that finds it often enough.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `simulate_power`.
    power : float

    Returns
    -------
    pandas.DataFrame
        The rows with the fewest wells (of a treatment, then of controls) whose ``power`` is at
        least `power`; none of an effect that no design finds so often.

    Examples
    --------
    >>> rows = [(1, 2, 4, 0.5, 0.9), (2, 2, 4, 0.5, 1.0)]
    >>> table = pd.DataFrame(rows, columns=["plates", "replicates", "controls", "effect", "power"])
    >>> smallest_designs(table)["plates"].tolist()
    [1]
    """
    enough = table[(table["effect"] > 0) & (table["power"] >= power)]
    cost = enough.assign(
        _wells=enough["plates"] * enough["replicates"], _all=enough["plates"] * enough["controls"]
    ).sort_values(["effect", "_wells", "_all"], kind="stable")
    return cost.drop_duplicates("effect").drop(columns=["_wells", "_all"])


def write_power_report(
    path: str | Path, table: pd.DataFrame, own: Effects, name: str, correction: str
) -> None:
    """Write what was simulated as one self-contained HTML file.

    Parameters
    ----------
    path : str or Path
    table : pandas.DataFrame
        Of `simulate_power`.
    own : Effects
        Of the screen that was simulated with.
    name : str
        What the profiles are called, e.g. their file.
    correction : str
    """
    from cpcnn_core.evaluation.report_figures import draw_power, figure
    from cpcnn_core.evaluation.report_page import Block, Heading, Note, Table, write_page

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


def _ask(
    wells: Profiles,
    pools: dict[str, np.ndarray],
    correction: Correction,
    design: Design,
    effects: Sequence[float],
    directions: np.ndarray,
    rounds: int,
    random: np.random.Generator,
) -> dict[float, dict[str, object]]:
    """Return, by effect, what one design finds."""
    wanted = design.controls + design.replicates
    large = [name for name, rows in pools.items() if len(rows) >= wanted]
    reason = _why_not(design, len(large))
    p_values: dict[float, list[float]] = {effect: [] for effect in effects}
    groups, finest = [], 1.0
    for turn in range(0 if reason else rounds):
        drawn = {
            name: random.permutation(pools[name])
            for name in random.permutation(large)[: design.plates].tolist()
        }
        tests = _simulate(wells, drawn, correction, design, effects, directions, random)
        table = tests.activity()["p_value"]
        finest = min(finest, *map(tests.finest, tests.treatments))
        count = len(table) // len(effects)
        groups += [turn] * count
        for place, effect in enumerate(effects):
            p_values[effect] += table.tolist()[place * count : (place + 1) * count]
    if not reason and finest > SIGNIFICANT:
        reason = f"no p-value can be {SIGNIFICANT:g} or less"
    found: dict[float, dict[str, object]] = {}
    for effect, values in p_values.items():
        hits = np.array(values) <= SIGNIFICANT
        power, low, high = (None, None, None) if reason else _with_interval(hits, groups)
        found[effect] = {
            "power": power,
            "low": low,
            "high": high,
            "treatments": len(values),
            "smallest_p": finest if values else None,
            "reason": reason,
        }
    return found


def _with_interval(hits: np.ndarray, rounds: list[int]) -> tuple[float, float, float]:
    """Return the share of hits and its 95 % interval.

    Over the rounds, as treatments of one share its controls; but no narrower than the exact one
    (Clopper and Pearson) of as many independent ones: its width is not 0 where all are found.
    """
    low, high = exact_interval(int(hits.sum()), len(hits))
    over_rounds = bootstrap_interval(hits, rounds)
    if over_rounds["low"] is not None:
        low = min(low, over_rounds["low"])
        high = max(high, cast("float", over_rounds["high"]))
    return float(hits.mean()), low, high


def _why_not(design: Design, large: int) -> str:
    if design.controls < 2 * HELD_OUT:
        return f"p-values need {2 * HELD_OUT} controls on a plate"
    if not design.is_replicated:
        return "one well has no replicate"
    if large < design.plates:
        wanted = design.controls + design.replicates
        return f"{large} plates here have {wanted} control wells to deal"
    return ""


def _simulate(
    wells: Profiles,
    drawn: dict[str, np.ndarray],
    correction: Correction,
    design: Design,
    effects: Sequence[float],
    directions: np.ndarray,
    random: np.random.Generator,
) -> Significance:
    """Return the tests of a screen of drawn control wells, treatments sorted by their effect."""
    fewest = min(map(len, drawn.values()))
    count = min((fewest - design.controls) // design.replicates, MAX_TREATMENTS)
    added = directions[random.integers(0, len(directions), count)]
    rows = [drawn[plate][: design.controls] for plate in drawn]
    shift = [np.zeros((design.controls, wells.features.shape[1]))] * len(drawn)
    names = ["control"] * (design.controls * len(drawn))
    for effect in effects:
        for treatment in range(count):
            start = design.controls + treatment * design.replicates
            for plate in drawn:
                rows.append(drawn[plate][start : start + design.replicates])
                shift.append(np.tile(effect * added[treatment], (design.replicates, 1)))
                names += [f"{treatment} with {effect}"] * design.replicates
    chosen = np.concatenate(rows)
    metadata = pd.DataFrame({PLATE: plates_of(wells)[chosen], _NAME: names})
    features = wells.features[chosen] + np.concatenate(shift)
    screen = Profiles(features, metadata, wells.feature_names, wells.provenance)
    seed = int(random.integers(2**31))
    controls = metadata[_NAME].to_numpy() == "control"
    return Significance(cross_fit(screen, controls, _NAME, correction, unit=SINGLE, seed=seed))
