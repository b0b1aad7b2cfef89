"""p-values equal those of a loop over all draws, and are not small where nothing differs."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.placebo import CALIBRATED, run_placebo
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.cross_fitting import POSITION, SINGLE, cross_fit
from cpcnn_core.profiles.doses import dose_aware_q_values
from cpcnn_core.profiles.library import build_library
from cpcnn_core.profiles.library_files import write_corrected
from cpcnn_core.profiles.open_library import open_library
from cpcnn_core.profiles.significance import DRAWS, Significance
from cpcnn_core.schema.profiles import Profiles

BY, PLATE, WELL = "Metadata_Treatment", "Metadata_Plate", "Metadata_Well"


def screen(plates=2, controls=8, treatments=6, dim=12, seed=0, *, fixed=False):
    """Wells that differ by chance, but for T0; at one position on all plates, or at random."""
    random = np.random.default_rng(seed)
    rows = []
    for plate in range(plates):
        names = ["DMSO"] * controls + [f"T{n}" for n in range(treatments)]
        places = np.arange(len(names)) if fixed else random.permutation(len(names))
        rows += [
            (f"P{plate}", f"A{p + 1:02d}", name) for p, name in zip(places, names, strict=True)
        ]
    metadata = pd.DataFrame(rows, columns=[PLATE, WELL, BY])
    features = random.normal(size=(len(rows), dim))
    features[(metadata[BY] == "T0").to_numpy()] += np.linspace(-4, 4, dim)
    return Profiles(features, metadata, [f"Cells_{n}" for n in range(dim)])


def significance(wells, method="sphering", **settings):
    settings |= {"regularization": 1.0, "relative": True}
    controls = (wells.metadata[BY] == "DMSO").to_numpy()
    correction = fit_correction(wells, controls, method, tell=lambda _: None, **settings)
    return Significance(cross_fit(wells, controls, BY, correction))


def cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def null_of(wells, held, layout):
    """All ways to draw as many held-out controls of every plate as a treatment has wells there."""
    plates = wells.texts(PLATE)
    ways = [combinations([n for n in held if plates[n] == p], k) for p, k in layout]
    return [list(sum(way, ())) for way in product(*ways)]


def spread(values, apart):
    """Move values from their mean as far as those of other wells would lie."""
    values = np.array(values)
    return values.mean() + (values - values.mean()) * np.sqrt((apart + 1) / (apart - 1))


@pytest.mark.parametrize("method", ["none", "sphering", "centred-sphering", "plate-mad"])
def test_likeness_equals_a_loop_over_all_draws(method):
    wells = screen()
    found = significance(wells, method)
    assert (found.fitted.unit, len(found.fitted.folds)) == (SINGLE, 2)
    held = [fold.held.tolist() for fold in found.fitted.folds]
    controls = (wells.metadata[BY] == "DMSO").to_numpy()
    # Every control is held out once, four of each plate in every fold.
    assert sorted(n for one in held for n in one) == np.flatnonzero(controls).tolist()
    plates, names = wells.texts(PLATE), wells.texts(BY)
    assert all(sum(plates[n] == "P0" for n in one) == 4 for one in held)
    query = names == "T1"
    table = found.nearest(wells.select(query), exclude=["T1"])
    for name in ("T0", "T2", "T3", "T4", "T5"):
        shares, total = [], 0
        for out in held:
            fitted_on = controls & ~np.isin(np.arange(len(names)), out)
            again = fit_correction(
                wells, fitted_on, method, regularization=1.0, relative=True, tell=lambda _: None
            )
            features = again.transform(wells).features
            asked = features[query].mean(axis=0)
            mine = cosine(features[names == name].mean(axis=0), asked)
            draws = null_of(wells, out, [("P0", 1), ("P1", 1)])
            null = [cosine(features[draw].mean(axis=0), asked) for draw in draws]
            # In every fold four that share no well: eight in all.
            shares.append((spread(null, 8) >= mine).mean())
            total += len(null)
        assert total == 32
        share = np.mean(shares)
        error = np.sqrt(share * (1 - share) / DRAWS)
        expected = max((1 + share * DRAWS) / (1 + DRAWS), 1 / 33)
        assert table["p_value"][name] == pytest.approx(expected, abs=4 * error + 0.02)
        assert found.finest(name) == 1 / 33
    assert np.isnan(table["p_value"]["T1"])
    asked = table["p_value"].dropna()
    assert table["q_value"].dropna().tolist() == false_discovery_control(asked).tolist()


@pytest.mark.parametrize("plates", [1, 3])
def test_activity_equals_a_loop_over_all_draws(plates):
    wells = screen(plates, controls=9, treatments=5, seed=3)
    if plates == 1:
        # Two wells of each on the only plate.
        wells = screen(1, controls=9, treatments=4, seed=4)
        again = screen(1, controls=0, treatments=4, seed=5)
        again.metadata[WELL] = [f"B{n:02d}" for n in range(4)]
        rows = pd.concat([wells.metadata, again.metadata], ignore_index=True)
        wells = Profiles(np.vstack([wells.features, again.features]), rows, wells.feature_names)
    found = significance(wells)
    table = found.activity()
    controls = (wells.metadata[BY] == "DMSO").to_numpy()
    names, of = wells.texts(BY), wells.texts(PLATE)

    def statistic(features, rows):
        pairs = [(a, b) for a, b in combinations(rows, 2) if plates == 1 or of[a] != of[b]]
        return np.mean([cosine(features[a], features[b]) for a, b in pairs])

    for name in ("T0", "T2", "T3"):
        mine = np.flatnonzero(names == name)
        layout = [("P0", 2)] if plates == 1 else [(f"P{n}", 1) for n in range(plates)]
        # Of nine controls five and four are held out: two pairs each that share none on a single
        # plate, five and four draws on three.
        apart = 4 if plates == 1 else 9
        shares, total = [], 0
        cosines = []
        for fold in found.fitted.folds:
            kept = controls & ~np.isin(np.arange(len(names)), fold.held)
            features = (
                fit_correction(wells, kept, "sphering", regularization=1.0, relative=True)
                .transform(wells)
                .features
            )
            cosines.append(statistic(features, mine))
            draws = null_of(wells, fold.held.tolist(), layout)
            null = spread([statistic(features, draw) for draw in draws], apart)
            shares.append((null >= cosines[-1]).mean())
            total += len(draws)
        share = np.mean(shares)
        error = np.sqrt(share * (1 - share) / DRAWS)
        expected = max((1 + share * DRAWS) / (1 + DRAWS), 1 / (1 + total))
        assert table["mean_cosine"][name] == pytest.approx(np.mean(cosines), abs=1e-12)
        assert table["p_value"][name] == pytest.approx(expected, abs=4 * error + 0.02)
    assert table["p_value"]["T0"] == table["p_value"].min()


def test_at_fixed_positions_positions_are_compared():
    wells = screen(plates=3, controls=20, fixed=True)
    found = significance(wells)
    assert found.fitted.unit == POSITION
    assert "20 control positions, each with its wells on all plates (60 wells)" in (
        found.fitted.describe()
    )
    positions = wells.texts(WELL)
    for fold in found.fitted.folds:
        at = [set(positions[fold.held[fold.unit == unit]]) for unit in np.unique(fold.unit)]
        assert all(len(places) == 1 for places in at)
        assert all((fold.unit == unit).sum() == 3 for unit in np.unique(fold.unit))
    # Every position once: 20, and no finer.
    query = wells.select(wells.texts(BY) == "T1")
    table = found.nearest(query, exclude=["T1"])
    np.testing.assert_allclose(table["p_value"].dropna() * 21 % 1, 0, atol=1e-9)
    assert found.activity()["p_value"]["T0"] == pytest.approx(1 / 21)
    moved = wells.texts(WELL).copy()
    moved[(wells.texts(PLATE) == "P0")] = np.roll(moved[wells.texts(PLATE) == "P0"], 1)
    moved = Profiles(wells.features, wells.metadata.assign(**{WELL: moved}), wells.feature_names)
    assert significance(moved).fitted.unit == SINGLE
    few = screen(plates=3, controls=11, fixed=True)
    assert significance(few).fitted.unit == SINGLE


def test_what_a_position_has_in_common_is_not_activity():
    wells = screen(plates=4, controls=24, treatments=24, dim=40, seed=1, fixed=True)
    random = np.random.default_rng(0)
    effect = {place: random.normal(size=40) for place in np.unique(wells.texts(WELL))}
    wells.features += [effect[place] for place in wells.texts(WELL)]
    p_values = significance(wells).activity()["p_value"].drop("T0")
    assert (p_values <= 0.05).mean() < 0.15
    # Well by well, what is at one position everywhere passes for the treatment.
    shuffled = wells.metadata[WELL].to_numpy().copy()
    random.shuffle(shuffled)
    blind = Profiles(wells.features, wells.metadata.drop(columns=WELL), wells.feature_names)
    assert (significance(blind).activity()["p_value"].drop("T0") <= 0.05).mean() > 0.8


def test_plates_with_few_controls_are_not_compared():
    wells = screen(plates=3, controls=8)
    keep = (wells.texts(PLATE) != "P2") | (wells.texts(BY) != "DMSO")
    keep |= np.arange(len(keep)) == np.flatnonzero(wells.texts(PLATE) == "P2")[0]
    wells = wells.select(keep)
    only = wells.texts(BY) == "T5"
    wells = wells.select(~only | (wells.texts(PLATE) == "P2"))
    found = significance(wells)
    assert found.fitted.bare == ["P2"]
    assert "plates with too few controls, whose wells are not compared: P2" in (
        found.fitted.describe()
    )
    table = found.nearest(wells.select(wells.texts(BY) == "T1"))
    assert np.isnan(table["p_value"]["T5"])
    assert np.isfinite(table["p_value"].drop("T5")).all()
    assert np.isnan(found.support(wells.select(wells.texts(BY) == "T1"))["T5"])


def test_too_few_controls_are_said():
    with pytest.raises(ProfileError, match=r"p-values need 4 control wells on a plate.*at most 3"):
        significance(screen(controls=3))
    assert len(significance(screen(controls=5)).fitted.folds) == 2
    assert len(significance(screen(controls=11)).fitted.folds) == 2
    assert len(significance(screen(controls=12)).fitted.folds) == 3
    assert len(significance(screen(controls=16)).fitted.folds) == 4
    assert len(significance(screen(controls=40)).fitted.folds) == 4


def test_more_wells_than_controls_are_compared_with_as_many():
    wells = screen(plates=2, controls=8, treatments=6)
    wells.metadata.loc[wells.metadata[BY].isin(["T2", "T3", "T4", "T5"]), BY] = "T3"
    found = significance(wells)
    # Four controls of each of two plates are held out, and drawn in one way: half of them in six.
    assert len(found.treatments["T3"]) == 4
    assert np.isfinite(found.activity()["p_value"]["T3"])


def test_cells_of_the_screens_controls_are_not_compared_with_themselves():
    wells = screen(controls=20, seed=5)
    rows = np.flatnonzero(wells.texts(BY) == "DMSO")[:2]
    found = significance(wells)
    query = wells.select(rows)
    told = found.nearest(query, rows=rows)["p_value"]
    naive = found.nearest(query)["p_value"]
    assert (told <= naive).all()
    assert (told < naive).any()


def test_a_query_of_many_cells_is_its_mean():
    wells = screen()
    found = significance(wells, "centred-sphering")
    random = np.random.default_rng(0)
    cells = Profiles(
        random.normal(size=(50, 12)),
        pd.DataFrame({PLATE: random.permutation(["P0"] * 20 + ["P1"] * 30)}),
        wells.feature_names,
    )
    table = found.nearest(cells)
    for fold in found.fitted.folds:
        direction = fold.correction.transform(cells).features.mean(axis=0)
        from cpcnn_core.profiles import significance as module

        ours = module._direction(fold, module.mean_by_plate(cells))
        np.testing.assert_allclose(ours, direction / np.linalg.norm(direction), atol=1e-12)
    assert np.isfinite(table["p_value"]).all()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_the_uncorrected_wells_travel_with_the_correction(tmp_path, suffix):
    wells = screen(controls=12)
    wells.provenance = {"model": "m", "controls": "Treatment == 'DMSO'"}
    controls = (wells.metadata[BY] == "DMSO").to_numpy()
    correction = fit_correction(wells, controls, "sphering", regularization=1.0, relative=True)
    path = tmp_path / f"screen{suffix}"
    write_corrected(correction.transform(wells), correction, path, wells)
    library = open_library(path, "Treatment").library
    if suffix == ".csv":
        # A table of text does not say which wells are controls.
        library = build_library(library.corrected, BY, controls)
    np.testing.assert_allclose(library.corrected.uncorrected.features, wells.features, rtol=1e-6)
    rows = np.flatnonzero(wells.texts(BY) == "T1")
    found = library.nearest(
        library.wells.features[rows],
        exclude=library.same_as([BY], library.wells.metadata.iloc[rows]),
        significance=True,
        uncorrected=library.corrected.uncorrected.select(rows),
        rows=rows,
    )
    assert list(found.columns[:4]) == ["similarity", "p_value", "q_value", "support"]
    expected = significance(wells).nearest(wells.select(rows), exclude=["T1"])
    # 32-bit numbers are kept.
    for row in found.itertuples():
        assert row.p_value == pytest.approx(expected["p_value"][row.Metadata_Treatment], abs=2e-3)
    write_corrected(correction.transform(wells), correction, path)
    library = open_library(path, "Treatment").library
    if suffix == ".parquet":
        with pytest.raises(ProfileError, match="make the table again with: cpcnn profile"):
            library.nearest(library.wells.features[rows], significance=True)


def test_without_controls_there_are_no_p_values():
    library = build_library(screen())
    with pytest.raises(ProfileError, match="p-values compare with control wells"):
        library.nearest(library.wells.features[:1], significance=True)


def test_what_does_nothing_is_mostly_above_a_twentieth():
    found = []
    for seed in range(12):
        wells = screen(controls=16, treatments=16, dim=30, seed=seed)
        wells.features[wells.texts(BY) == "T0"] -= np.linspace(-4, 4, 30)
        tests = significance(wells)
        for name in ("T1", "T2", "T3"):
            query = wells.select(wells.texts(BY) == name)
            found += tests.nearest(query, exclude=[name])["p_value"].dropna().tolist()
    # 540 p-values; without cross-fitting .35 of such were below .05.
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.085


def test_the_smallest_p_values_are_said_of_all_treatments_not_of_the_best_placed_alone():
    wells = screen(plates=3, controls=24, treatments=20, fixed=True)
    # One that is twice on every plate can have smaller ones than all the others.
    names = wells.metadata[BY].replace("T7", "T6")
    found = significance(replace(wells, metadata=wells.metadata.assign(**{BY: names})))
    assert found.fitted.unit == POSITION
    twice, once = found.finest("T6"), found.finest("T0")
    assert twice < once == 1 / 25
    told = found.describe(["T6", "T0", "T1"])
    assert told.endswith(f"none of these can be below {twice:.2g}, and most not below 0.04")
    assert found.describe(["T0", "T1"]).endswith("none of these can be below 0.04")


# ---- other wells without effect, and doses ---------------------------------------------------


def with_null(seed=0, plates=2, inert=8):
    """Treatments T0 to T5, of which T0 does something, and others that are known to do nothing."""
    wells = screen(plates, controls=8, treatments=6 + inert, seed=seed)
    names = wells.texts(BY)
    null = np.isin(names, [f"T{n}" for n in range(6, 6 + inert)])
    controls = names == "DMSO"
    how = {"regularization": 1.0, "relative": True, "tell": lambda _: None}
    correction = fit_correction(wells, controls, "sphering", **how)
    return wells, controls, null, correction


def test_wells_of_a_null_are_compared_with_as_a_loop_does():
    wells, controls, null, correction = with_null()
    fitted = cross_fit(wells, controls, BY, correction, null=null)
    assert fitted.describe() == (
        "p-values compare with 16 null wells, drawn plate by plate, not used to fit the correction"
    )
    tests = Significance(fitted)
    assert sorted(tests.treatments) == [f"T{n}" for n in range(6)]
    features = correction.transform(wells).features
    names, plates = wells.texts(BY), wells.texts(PLATE)
    query = features[names == "T1"].mean(axis=0)
    draws = [
        cosine(features[[one, other]].mean(axis=0), query)
        for one in np.flatnonzero(null & (plates == "P0"))
        for other in np.flatnonzero(null & (plates == "P1"))
    ]
    table = tests.nearest(wells.select(names == "T1"), exclude=["T1"])
    for name in ("T0", "T2", "T3", "T4", "T5"):
        mine = cosine(features[names == name].mean(axis=0), query)
        share_of_all = (spread(draws, 8) >= mine).mean()
        assert table["p_value"][name] == pytest.approx(max(share_of_all, 1 / 65), abs=0.06)
    assert tests.activity()["p_value"].idxmin() == "T0"


def test_a_null_gives_right_p_values_and_a_placebo_of_its_own():
    found, placebo = [], []
    for seed in range(8):
        wells, controls, null, correction = with_null(seed, inert=24)
        fitted = cross_fit(wells, controls, BY, correction, null=null)
        table = Significance(fitted).activity()["p_value"]
        assert table["T0"] <= 0.05
        found += table.drop("T0").tolist()
        placebo.append(run_placebo(Significance(fitted)))
    # Of 40 that are right, fewer than one in a thousand times more than 7.
    assert (np.array(found) <= 0.05).sum() <= 7
    assert {one.verdict for one in placebo} == {CALIBRATED}
    # Six at a time, ten times.
    assert {len(one.activity) for one in placebo} == {60}


def test_no_p_value_is_said_to_be_below_what_so_many_draws_can_tell():
    tests = significance(screen(plates=4, controls=32))
    assert tests.finest("T0") == 1 / (1 + DRAWS)
    assert tests.activity()["p_value"]["T0"] == pytest.approx(1 / (1 + DRAWS), rel=1e-9)
    assert tests.describe(["T0"]).endswith("none of these can be below 0.001")


def test_a_null_that_cannot_be_is_refused():
    wells, controls, null, correction = with_null()
    with pytest.raises(ProfileError, match="16 wells are controls, which the correction is fitted"):
        cross_fit(wells, controls, BY, correction, null=controls)
    few = null & (wells.texts(BY) == "T6")
    with pytest.raises(
        ProfileError, match="need 2 wells of the null on a plate; there are at most 1"
    ):
        cross_fit(wells, controls, BY, correction, null=few)


def test_doses_of_a_compound_are_corrected_together():
    wells = screen(treatments=12, seed=1)
    names = wells.texts(BY)
    number = np.array([int(name[1:]) if name != "DMSO" else -1 for name in names])
    wells.metadata["Metadata_Compound"] = np.where(number < 0, "DMSO", number // 3).astype(str)
    fitted = significance(wells).fitted
    plain, aware = Significance(fitted), Significance(fitted, doses_of="Metadata_Compound")
    one, other = plain.activity(), aware.activity()
    pd.testing.assert_frame_equal(
        one[["mean_cosine", "p_value"]], other[["mean_cosine", "p_value"]]
    )
    compounds = [str(int(name[1:]) // 3) for name in other.index]
    expected = dose_aware_q_values(other["p_value"], compounds)
    assert other["q_value"].tolist() == expected["q_value"].tolist()
    assert other["compound_q_value"].tolist() == expected["compound_q_value"].tolist()
    nearest = aware.nearest(wells.select(names == "T1"), exclude=["T1"])
    assert np.isnan(nearest.loc["T1", ["q_value", "compound_q_value"]].to_numpy(float)).all()
    assert nearest.drop("T1").notna().all(axis=None)
