"""Corrections equal pycytominer's and scikit-learn's, and survive their file."""

import json

import numpy as np
import pytest
import scipy.stats
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from cpcnn_core.errors import ProfileError, ProfileWarning
from cpcnn_core.profiles.correction import METHODS, Correction, fit_correction
from cpcnn_core.profiles.correction_steps import fit_sphering
from cpcnn_core.schema.profiles import Profiles


@pytest.fixture
def controls(wells):
    return (wells.metadata["Metadata_Treatment"] == "DMSO@0").to_numpy()


def by_pycytominer(plate, features):
    normalize = pytest.importorskip("pycytominer").normalize
    made = normalize(
        plate,
        features=features,
        meta_features=[name for name in plate if name.startswith("Metadata_")],
        samples="Metadata_Treatment == 'DMSO@0'",
        method="mad_robustize",
        mad_robustize_epsilon=0,
    )
    # pycytominer rounds the factor that makes a normal distribution's MAD its deviation.
    return made[features].to_numpy() * (1.4826 * scipy.stats.norm.ppf(0.75))


def test_plate_mad_equals_pycytominer(wells, controls):
    found = fit_correction(wells, controls, "plate-mad").transform(wells)
    assert found.feature_names == wells.feature_names
    for plate, rows in wells.to_frame().groupby("Metadata_Plate"):
        mine = (wells.metadata["Metadata_Plate"] == plate).to_numpy()
        expected = by_pycytominer(rows.reset_index(drop=True), wells.feature_names)
        np.testing.assert_allclose(found.features[mine], expected, rtol=1e-10, atol=1e-12)


def test_pca_mad_equals_scikit_learn_and_pycytominer(wells, controls):
    correction = fit_correction(wells, controls, "pca-mad", components=10)
    found = correction.transform(wells)
    assert found.feature_names == [f"PC_{i:03d}" for i in range(10)]
    scaled = StandardScaler().fit_transform(wells.features)
    theirs = PCA(10, svd_solver="full").fit(scaled)
    ours = correction.steps[0].components
    cosines = np.abs((ours * theirs.components_).sum(axis=1))
    np.testing.assert_allclose(cosines, 1, rtol=0, atol=1e-10)
    signs = np.sign((ours * theirs.components_).sum(axis=1))
    frame = Profiles(scaled @ ours.T, wells.metadata, found.feature_names).to_frame()
    np.testing.assert_allclose(theirs.transform(scaled) * signs, scaled @ ours.T, atol=1e-9)
    for plate, rows in frame.groupby("Metadata_Plate"):
        mine = (wells.metadata["Metadata_Plate"] == plate).to_numpy()
        expected = by_pycytominer(rows.reset_index(drop=True), found.feature_names)
        np.testing.assert_allclose(found.features[mine], expected, rtol=1e-8, atol=1e-10)


def test_sphering_is_fitted_on_the_controls(wells, controls, arrays):
    found = fit_correction(wells, controls, "sphering", regularization=1e-3).transform(wells)
    expected = arrays["whitened_0.001"]
    np.testing.assert_allclose(found.features, expected, rtol=0, atol=1e-9 * abs(expected).max())
    relative = fit_correction(wells, controls, "sphering", regularization=0.1, relative=True)
    step = fit_sphering(wells.features[controls], 0.1, relative=True)
    assert relative.settings == {"lambda": step.regularization, "lambda_relative": 0.1}


def test_centred_sphering_equals_a_loop(wells, controls):
    found = fit_correction(wells, controls, "centred-sphering", regularization=0.5)
    plates = wells.metadata["Metadata_Plate"].to_numpy()
    centred = wells.features.copy()
    for plate in set(plates):
        centred[plates == plate] -= wells.features[(plates == plate) & controls].mean(axis=0)
    scaled = centred / np.sqrt((centred[controls] ** 2).mean(axis=0))
    expected = fit_sphering(scaled[controls], 0.5).transform(scaled)
    np.testing.assert_allclose(found.transform(wells).features, expected, rtol=0, atol=1e-9)
    assert found.settings == {"lambda": 0.5}


@pytest.mark.parametrize("method", METHODS)
def test_its_file_gives_the_same_bits(wells, controls, method, tmp_path):
    correction = fit_correction(wells, controls, method)
    correction.save(tmp_path / "correction")
    read = Correction.load(tmp_path / "correction.npz")
    assert (read.method, read.settings) == (method, correction.settings)
    before, after = correction.transform(wells), read.transform(wells)
    assert before.feature_names == after.feature_names
    assert before.features.tobytes() == after.features.tobytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "correction.npz"]


def test_constant_features_are_left_out_and_said(wells, controls):
    wells.features[:, 3] = 7
    with pytest.warns(ProfileWarning, match=r"1 of 48 features is left out, .*_003$"):
        correction = fit_correction(wells, controls, "plate-mad")
    found = correction.transform(wells)
    assert found.feature_names == [n for n in wells.feature_names if not n.endswith("_003")]
    assert np.isfinite(found.features).all()
    with pytest.warns(ProfileWarning, match=r"1 of 48 features is left out, .*_003$"):
        found = fit_correction(wells, controls, "centred-sphering").transform(wells)
    assert found.features.shape[1] == 47
    for method in ("sphering", "pca-mad"):
        features = fit_correction(wells, controls, method).transform(wells).features
        assert np.isfinite(features).all()


def test_one_plate_is_enough(wells, controls):
    one = (wells.metadata["Metadata_Plate"] == wells.metadata["Metadata_Plate"][0]).to_numpy()
    plate, said = wells.select(one), []
    for method in METHODS:
        correction = fit_correction(plate, controls[one], method, tell=said.append)
        assert len(correction.transform(plate).features) == one.sum()
    assert len(said) == 2


def test_few_controls_for_sphering_are_said_where_lambda_is_small(wells, controls):
    few = np.flatnonzero(controls)
    said = []
    for count, how in (
        (19, {"regularization": 0.1}),
        (20, {"regularization": 0.1}),
        (19, {"regularization": 1.0}),
    ):
        mine = np.isin(np.arange(len(controls)), few[:count])
        fit_correction(wells, mine, "sphering", relative=True, tell=said.append, **how)
    # 48 features by 2.5 are 19.2.
    [sentence] = said
    assert sentence == (
        "sphering learns from 19 control wells, and 48 features need 20 (one for 2.5 features): "
        "with fewer, wells look alike by chance; take more controls, or a larger lambda, such as "
        "--lambda 1 --relative"
    )


def test_what_cannot_be_fitted_is_one_line(wells, controls):
    with pytest.raises(ProfileError, match=r"none of the 516 wells is a control; sphering learns"):
        fit_correction(wells, np.zeros(516, bool), "sphering")
    with pytest.raises(
        ProfileError, match=r"expected a correction of none, sphering, .* got 'zca'"
    ):
        fit_correction(wells, controls, "zca")
    first = str(wells.metadata["Metadata_Plate"][0])
    elsewhere = controls & (wells.metadata["Metadata_Plate"].astype(str) != first).to_numpy()
    with pytest.raises(ProfileError, match=f"plate {first} has no control wells"):
        fit_correction(wells, elsewhere, "plate-mad")
    lonely = elsewhere.copy()
    lonely[np.flatnonzero(wells.metadata["Metadata_Plate"].astype(str) == first)[0]] = True
    with pytest.raises(ProfileError, match=f"plate {first} has 1 control wells"):
        fit_correction(wells, lonely, "plate-mad")


def test_what_it_was_not_fitted_on_is_one_line(wells, controls):
    correction = fit_correction(wells, controls, "pca-mad")
    other = Profiles(wells.features[:, 1:], wells.metadata, wells.feature_names[1:])
    with pytest.raises(ProfileError, match=r"48 features from Cells_CPCNN_000 .* have 47 features"):
        correction.transform(other)
    wells.metadata["Metadata_Plate"] = "P9"
    with pytest.raises(ProfileError, match=r"plate P9 was not among those"):
        correction.transform(wells)


def test_a_file_that_is_none_is_one_line(tmp_path):
    with pytest.raises(ProfileError, match=r"there is no correction .*nothing.npz"):
        Correction.load(tmp_path / "nothing")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", x=1)
    for name in ("text", "other"):
        with pytest.raises(ProfileError, match=f"{name}.npz is not a correction that cpcnn wrote"):
            Correction.load(tmp_path / f"{name}.npz")
    about = json.dumps({"cpcnn_correction": 2}).encode()
    np.savez(tmp_path / "newer.npz", about=np.frombuffer(about, np.uint8))
    with pytest.raises(ProfileError, match=r"has format 2, this cpcnn reads 1; upgrade"):
        Correction.load(tmp_path / "newer.npz")
