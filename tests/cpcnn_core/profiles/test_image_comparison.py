"""Cells compared with a library: against loops written from the formulas."""

import json

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.profiles.correction import correction_file, fit_correction
from cpcnn_core.profiles.image_comparison import compare_image
from cpcnn_core.profiles.library_files import write_corrected
from cpcnn_core.profiles.open_library import open_library
from cpcnn_core.schema.columns import feature_names
from cpcnn_core.schema.profiles import Profiles

DIM = 12
NAMES = feature_names(DIM, compartment="Cells")
CARD = ModelCard("mine", "", ("DNA",), DIM, sha256="abc")
MADE = {"model": "mine", "model_sha256": "abc", "controls": "Treatment == 'DMSO'"}


@pytest.fixture
def wells():
    """Two plates, five control wells and three of each of three treatments on each."""
    rng = np.random.default_rng(8)
    treatments = ["DMSO"] * 5 + ["taxol"] * 3 + ["nocodazole"] * 3 + ["colchicine"] * 3
    rows = pd.DataFrame({"Metadata_Treatment": treatments * 2})
    rows["Metadata_Plate"] = np.repeat(["P1", "P2"], len(treatments))
    shift = {name: rng.normal(size=DIM) for name in treatments}
    features = np.stack([3 * shift[t] + rng.normal(size=DIM) for t in rows["Metadata_Treatment"]])
    features += (rows["Metadata_Plate"] == "P2").to_numpy()[:, None] * 2.0
    return Profiles(features.astype(np.float32), rows, NAMES, dict(MADE))


@pytest.fixture
def cells():
    features = np.random.default_rng(9).normal(size=(7, DIM)).astype(np.float32)
    features[2] = np.nan
    return features


def save(wells, path, method="none", **settings):
    """Write a library as cpcnn profile does."""
    controls = (wells.metadata["Metadata_Treatment"] == "DMSO").to_numpy()
    correction = fit_correction(wells, controls, method, **settings)
    write_corrected(correction.transform(wells), correction, path)
    return path


def opened(path):
    return open_library(path, "Treatment")


def expected(wells, cells, whole):
    """Compare corrected wells, cells and image as the documentation says, slowly."""
    of = wells.metadata["Metadata_Treatment"].to_numpy()
    controls = wells.features[of == "DMSO"].astype(float)
    center = sum(controls) / len(controls)
    far = sorted(np.sqrt(((row - center) ** 2).sum()) for row in controls)
    spread = (far[len(far) // 2] + far[(len(far) - 1) // 2]) / 2
    near = [1 / (1 + np.sqrt(((row - center) ** 2).sum()) / spread) for row in [*cells, whole]]
    profiles = {t: wells.features[of == t].astype(float).mean(axis=0) for t in set(of) - {"DMSO"}}

    def cosine(a, b):
        return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())

    ranking = sorted(((cosine(whole, p), t) for t, p in profiles.items()), reverse=True)
    return near, [cosine(row, profiles["taxol"]) for row in cells], ranking


def whiten(wells, rows, regularization):
    """Sphering from its formula (docs/method.md#sphering)."""
    of = wells.metadata["Metadata_Treatment"].to_numpy()
    controls = wells.features[of == "DMSO"].astype(float)
    mean = controls.mean(axis=0)
    values, vectors = np.linalg.eigh((controls - mean).T @ (controls - mean) / len(controls))
    return (rows - mean) @ vectors @ np.diag(1 / np.sqrt(values + regularization)) @ vectors.T


def center_plate(wells, rows, plate):
    """Plate-mad from its formula: minus the plate's control median, divided by the MAD."""
    frame = wells.metadata
    chosen = (frame["Metadata_Plate"] == plate) & (frame["Metadata_Treatment"] == "DMSO")
    controls = wells.features[chosen].astype(float)
    median = np.median(controls, axis=0)
    return (rows - median) / (1.4826 * np.median(np.abs(controls - median), axis=0))


@pytest.mark.parametrize("method", ["none", "sphering", "plate-mad"])
def test_cells_and_image_compare_as_written_down(wells, cells, tmp_path, method):
    path = save(wells, tmp_path / "l.parquet", method)
    library = opened(path)
    usable = cells[np.isfinite(cells).all(axis=1)].astype(float)
    whole = np.median(usable, axis=0)

    def correct(rows):
        if method == "sphering":
            return whiten(wells, rows, 1e-2)
        return center_plate(wells, rows, "P2") if method == "plate-mad" else rows

    corrected = Profiles(wells.features.astype(float), wells.metadata, NAMES)
    if method == "sphering":
        corrected.features = whiten(wells, corrected.features, 1e-2)
    if method == "plate-mad":
        plates = wells.metadata["Metadata_Plate"]
        for plate in ("P1", "P2"):
            rows = (plates == plate).to_numpy()
            corrected.features[rows] = center_plate(wells, corrected.features[rows], plate)
    near, like_taxol, ranking = expected(corrected, correct(usable), correct(whole))
    nearest, similarities = compare_image(library, cells, plate="P2", count=2, treatment="taxol")
    # Library files hold 32-bit numbers.
    rows = [0, 1, 3, 4, 5, 6]
    np.testing.assert_allclose(similarities["like_controls"][rows], near[:-1], rtol=1e-5)
    np.testing.assert_allclose(similarities["image_like_controls"], near[-1:], rtol=1e-5)
    np.testing.assert_allclose(similarities["like_treatment"][rows], like_taxol, atol=1e-5)
    assert [one["treatment"] for one in nearest] == [name for _, name in ranking[:2]]
    similarity = [one["similarity"] for one in nearest]
    np.testing.assert_allclose(similarity, [value for value, _ in ranking[:2]], atol=1e-5)
    assert all(np.isnan(similarities[name][2]) for name in ("like_controls", "like_treatment"))


def test_the_controls_are_the_nearest_to_the_controls(wells, tmp_path):
    library = opened(save(wells, tmp_path / "l.parquet", "sphering"))
    _, similarities = compare_image(library, wells.features)
    of = wells.metadata["Metadata_Treatment"].to_numpy()
    likes = pd.Series(similarities["like_controls"]).groupby(of).median()
    assert likes.idxmax() == "DMSO"
    assert likes["DMSO"] == pytest.approx(0.5, abs=0.02)


def test_nothing_measured_is_like_nothing(wells, tmp_path):
    library = opened(save(wells, tmp_path / "l.parquet"))
    for rows in (0, 3):
        features = np.full((rows, DIM), np.nan, np.float32)
        nearest, similarities = compare_image(library, features, treatment="taxol")
        assert nearest == []
        assert {name: len(values) for name, values in similarities.items()} == {
            "like_controls": rows,
            "like_treatment": rows,
            "image_like_controls": 1,
        }
        assert all(np.isnan(values).all() for values in similarities.values())


def test_without_controls_nothing_is_compared_with_them(wells, cells, tmp_path):
    del wells.provenance["controls"]
    library = opened(save(wells, tmp_path / "l.parquet"))
    assert library.describe()["controls"] == 0
    nearest, similarities = compare_image(library, cells, count=9)
    assert similarities == {}
    # DMSO is a treatment like any other then.
    assert sorted(one["treatment"] for one in nearest) == [
        "DMSO",
        "colchicine",
        "nocodazole",
        "taxol",
    ]


def test_control_wells_that_do_not_differ_are_no_measure(wells, tmp_path):
    controls = (wells.metadata["Metadata_Treatment"] == "DMSO").to_numpy()
    wells.features[controls] = 1
    with pytest.raises(ProfileError, match=r"the 10 control wells of l\.parquet do not differ"):
        opened(save(wells, tmp_path / "l.parquet")).describe()


def test_what_is_in_it_is_described(wells, tmp_path):
    described = opened(save(wells, tmp_path / "l.parquet", "sphering")).describe()
    assert len(described.pop("sha256")) == 64
    assert described == {
        "file": "l.parquet",
        "treatments": 3,
        "wells": 28,
        "controls": 10,
        "correction": "sphering",
        "has_p_values": False,
        "p_values": "no p-values: p-values need the wells as they were before the correction, and "
        "they are not kept with it; make the table again with: cpcnn profile",
    }
    json.dumps(described)


def with_wells(wells):
    rows = wells.metadata
    rows["Metadata_Well"] = [
        f"A{1 + number:02d}" for number in rows.groupby("Metadata_Plate").cumcount()
    ]
    return wells


def many_controls(seed, *, strong=()):
    """Two plates, sixteen control wells and two of each of eight treatments on each."""
    random = np.random.default_rng(seed)
    treatments = ["DMSO"] * 16 + [f"t{number}" for number in range(8)] * 2
    rows = pd.DataFrame({"Metadata_Treatment": treatments * 2})
    rows["Metadata_Plate"] = np.repeat(["P1", "P2"], len(treatments))
    features = random.normal(size=(len(rows), DIM))
    for name in strong:
        features[rows["Metadata_Treatment"] == name] += 3 * random.normal(size=DIM)
    rows["Metadata_Well"] = [f"A{number:02d}" for number in range(1, len(treatments) + 1)] * 2
    return Profiles(features.astype(np.float32), rows, NAMES, dict(MADE))


def save_with_uncorrected(wells, path, method="sphering", **settings):
    controls = (wells.metadata["Metadata_Treatment"] == "DMSO").to_numpy()
    correction = fit_correction(wells, controls, method, **settings)
    write_corrected(correction.transform(wells), correction, path, wells)
    return path


@pytest.mark.parametrize("method", ["none", "sphering", "centred-sphering", "plate-mad"])
def test_p_values_are_those_of_the_library(tmp_path, cells, method):
    path = save_with_uncorrected(many_controls(5, strong=["t3"]), tmp_path / "l.parquet", method)
    library = opened(path)
    assert library.describe()["has_p_values"]
    assert library.describe()["p_values"].startswith("p-values compare with 32 control wells")
    known, correction = library.library, library.correction
    usable = cells[np.isfinite(cells).all(axis=1)].astype(float)
    rows = pd.DataFrame({"Metadata_Plate": ["P2"]})
    whole = Profiles(np.median(usable, axis=0)[None], rows, NAMES)
    corrected = whole if correction is None else correction.transform(whole)
    how = {"significance": True, "uncorrected": whole}
    for well, own in ((None, None), ("A02", [33]), ("A20", [51])):
        expected = known.nearest(corrected.features, 3, rows=own, **how)
        nearest, _ = compare_image(library, cells, plate="P2", well=well, count=3)
        for column in ("similarity", "p_value", "q_value"):
            told = [one[column] for one in nearest]
            np.testing.assert_allclose(told, expected[column], rtol=1e-12)


def test_the_image_of_a_control_is_not_compared_with_itself(tmp_path):
    wells = many_controls(6)
    library = opened(save_with_uncorrected(wells, tmp_path / "l.parquet", "none"))
    cell = wells.features[:1]
    p_values = {}
    for well in ("A01", "Z99"):
        nearest, _ = compare_image(library, cell, plate="P1", well=well, count=8)
        p_values[well] = sum(one["p_value"] for one in nearest)
    # It is the control that is most like it.
    assert p_values["A01"] < p_values["Z99"]


def test_of_treatments_that_do_nothing_few_have_small_p_values(tmp_path):
    told = []
    for seed in range(12):
        path = save_with_uncorrected(many_controls(seed), tmp_path / f"{seed}.parquet")
        library, random = opened(path), np.random.default_rng(100 + seed)
        for _ in range(8):
            image = random.normal(size=(5, DIM)).astype(np.float32)
            told += [one["p_value"] for one in compare_image(library, image, count=8)[0]]
    share = np.mean(np.array(told) <= 0.05)
    assert 0.03 < share < 0.075


@pytest.mark.parametrize(
    ("made", "card", "words"),
    [
        ({"model_sha256": "xyz"}, {}, r"made with the model mine \(xyz\), chosen here is mine"),
        ({"model": "other", "model_sha256": None}, {}, "made with the model other"),
        ({"model": "other"}, {"name": "mine"}, None),
        ({"model": None, "model_sha256": None}, {}, None),
        ({}, {"embed_dim": 5}, "has 12 features from Cells_CPCNN_000 .* gives 5 from CPCNN_000"),
    ],
)
def test_another_model_is_refused_by_name(wells, tmp_path, made, card, words):
    wells.provenance.update(made)
    library = opened(save(wells, tmp_path / "l.parquet"))
    mine = ModelCard(**{"name": "mine", "embed_dim": DIM, **card}, summary="", channels=("DNA",),
                     sha256="abc")  # fmt: skip
    if words is None:
        library.check_model(mine)
        return
    with pytest.raises(ProfileError, match=words):
        library.check_model(mine)


@pytest.mark.parametrize(
    ("fact", "value", "words"),
    [
        ("layer", "pooled", "made with layer pooled, here it is block6a_activation"),
        ("channels", "ER", "made with channels ER, here it is DNA"),
        ("crop_px", "96", "made with crop_px 96, here it is 128"),
        ("normalizer", "none", "made with normalizer none, here it is minmax-per-crop"),
        ("mask_neighbors", "True", "made with mask_neighbors True, here it is False"),
    ],
)
def test_a_model_used_in_another_way_is_refused(wells, tmp_path, fact, value, words):
    wells.provenance[fact] = value
    library = opened(save(wells, tmp_path / "l.parquet"))
    with pytest.raises(ProfileError, match=rf"l\.parquet was {words}; measure as the library was"):
        library.check_model(CARD, mask_neighbors=False)
    if fact == "mask_neighbors":
        # Tiles have no neighbours.
        library.check_model(CARD)
        library.check_model(CARD, mask_neighbors=True)


@pytest.mark.parametrize(
    ("prefix", "sha256", "fits"),
    [
        ("CPCNN", None, True),
        # What a user of CellProfiler has called them, which no model is called.
        ("MyCells", None, True),
        ("DINOv2S", None, False),
        ("OpenPhenom", None, False),
        # The same weights, whatever they are called.
        ("OpenPhenom", "abc", True),
    ],
)
def test_features_of_another_models_name_are_refused(wells, tmp_path, prefix, sha256, fits):
    wells.provenance["model_sha256"] = sha256
    wells.feature_names = feature_names(DIM, prefix, "Cells")
    library = opened(save(wells, tmp_path / "l.parquet", "sphering"))
    if fits:
        library.check_model(CARD)
        return
    with pytest.raises(ProfileError, match=f"has 12 features from Cells_{prefix}_000 .*mine gives"):
        library.check_model(CARD)


@pytest.mark.parametrize("method", ["none", "sphering", "pca-mad"])
def test_features_are_taken_by_their_numbers_and_not_by_their_place(wells, cells, tmp_path, method):
    order = np.random.default_rng(2).permutation(DIM)
    mixed = Profiles(
        wells.features[:, order], wells.metadata, [NAMES[n] for n in order], wells.provenance
    )
    answers = []
    for name, table in (("one", wells), ("other", mixed)):
        library = opened(save(table, tmp_path / f"{name}.parquet", method))
        library.check_model(CARD)
        answers.append(compare_image(library, cells, plate="P2", treatment="taxol"))
    nearest, similarities = answers[0]
    assert [one["treatment"] for one in answers[1][0]] == [one["treatment"] for one in nearest]
    for name, values in similarities.items():
        np.testing.assert_allclose(answers[1][1][name], values, rtol=1e-4, atol=1e-5)


def test_corrected_features_keep_the_names_that_the_model_gave_them(wells, tmp_path):
    # pca-mad turns features into components; cells come with the model's.
    opened(save(wells, tmp_path / "l.parquet", "pca-mad", components=4)).check_model(CARD)


def test_an_unknown_treatment_is_answered_with_those_like_it(wells, tmp_path):
    library = opened(save(wells, tmp_path / "l.parquet"))
    with pytest.raises(ProfileError, match=r"no treatment 'Taxol' in l\.parquet; did you mean"):
        library.row("Taxol")
    with pytest.raises(ProfileError, match=r"'x' in l\.parquet; it has taxol, nocodazole"):
        library.row("x")


def test_a_correction_by_plates_wants_to_know_the_plate(wells, cells, tmp_path):
    library = opened(save(wells, tmp_path / "l.parquet", "plate-mad"))
    with pytest.raises(ProfileError, match="load the metadata Plate with the images"):
        compare_image(library, cells)
    with pytest.raises(ProfileError, match="plate P9 was not among those"):
        compare_image(library, cells, plate="P9")


def test_a_corrected_library_needs_its_own_correction(wells, tmp_path):
    path = save(wells, tmp_path / "l.parquet", "sphering")
    correction_file(path).unlink()
    with pytest.raises(ProfileError, match=r"put l\.parquet\.correction\.npz there"):
        opened(path)
    save(wells, tmp_path / "other.parquet", "sphering", regularization=5.0)
    correction_file(tmp_path / "other.parquet").rename(correction_file(path))
    with pytest.raises(ProfileError, match=r"l\.parquet\.correction\.npz .*does not belong"):
        opened(path)


def test_a_table_of_text_does_as_well(wells, cells, tmp_path):
    path = save(wells, tmp_path / "l.csv", "sphering")
    library = open_library(path, "Metadata_Treatment")
    assert library.correction.method == "sphering"
    assert not library.library.controls.any()
