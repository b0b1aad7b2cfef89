"""A correction belongs to its table: whatever their names, and whenever a process is killed."""

import contextlib
import dataclasses
import itertools
import shutil

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.profiles import library_files
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.correction import METHODS, correction_file, fit_correction
from cpcnn_core.profiles.library_files import (
    consensus_file,
    read_marked,
    read_wells,
    write_corrected,
)
from cpcnn_core.profiles.open_library import open_library
from cpcnn_core.schema.profiles import Profiles

NAMES = [f"Cells_CPCNN_{n:03d}" for n in range(4)]
FORMATS = ("screen.parquet", "screen.csv", "screen.csv.gz")


def make(seed=0):
    """Two plates, each of six controls and six treated wells."""
    rows = [(p, t) for p in ("P1", "P2") for t in ["DMSO"] * 6 + ["a", "b", "c"] * 2]
    metadata = pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Treatment"])
    features = np.random.default_rng(seed).normal(size=(24, 4)).astype(np.float32)
    made = {"model": "m", "controls": "Treatment == 'DMSO'"}
    return Profiles(features, metadata, NAMES, made)


def fit(wells, method="sphering", **settings):
    controls = (wells.metadata["Metadata_Treatment"] == "DMSO").to_numpy()
    return fit_correction(wells, controls, method, **settings)


def write(path, method="sphering", seed=0, **settings):
    wells = make(seed)
    correction = fit(wells, method, **settings)
    write_corrected(correction.transform(wells), correction, path)
    return correction


def write_as_before(path, method="sphering", seed=0, **settings):
    """As earlier versions did: one name for all tables of a stem, and no hash."""
    wells = make(seed)
    correction = fit(wells, method, **settings)
    write_profiles(correction.transform(wells), path)
    correction.save(path.with_name(f"{path.name.split('.')[0]}.correction.npz"))
    return correction


def same(one, other):
    wells = make(9)
    return np.array_equal(one.transform(wells).features, other.transform(wells).features)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_table_and_its_correction_come_back(tmp_path, name, method):
    expected = write(tmp_path / name, method)
    wells, found = read_wells(tmp_path / name)
    corrected = expected.transform(make()).features.astype(np.float32)
    np.testing.assert_array_equal(wells.features.astype(np.float32), corrected)
    names = {name} if method == "none" else {name, f"{name}.correction.npz"}
    assert {path.name for path in tmp_path.iterdir()} == names
    if method == "none":
        assert found is None
        return
    assert same(found, expected)
    # A table of text says so, too.
    assert wells.provenance["correction"] == method
    assert len(wells.provenance["correction_sha256"]) == 64


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("screen.v1.parquet", "screen.v2.parquet"),
        ("screen.parquet", "screen.csv"),
        ("screen.csv", "screen.csv.gz"),
        ("2024.01.screen.parquet", "2024.02.screen.parquet"),
        ("a.parquet", "a.parquet.parquet"),
    ],
)
def test_every_table_keeps_its_own_correction(tmp_path, one, other):
    for first, second in itertools.permutations((one, other)):
        mine = write(tmp_path / first, seed=1)
        theirs = write(tmp_path / second, seed=2)
        assert same(read_wells(tmp_path / first)[1], mine)
        assert same(read_wells(tmp_path / second)[1], theirs)
        write(tmp_path / second, "none", seed=2)
        assert same(read_wells(tmp_path / first)[1], mine)
        assert read_wells(tmp_path / second)[1] is None


@pytest.mark.parametrize("name", FORMATS)
def test_the_correction_of_another_fit_is_refused(tmp_path, name):
    path = tmp_path / name
    write(path, seed=1)
    write(tmp_path / f"other.{name}", seed=2)
    # The same method, the same lambda: only the hash knows.
    shutil.copy(correction_file(tmp_path / f"other.{name}"), correction_file(path))
    with pytest.raises(ProfileError, match=rf"{name}.correction.npz .*does not belong to {name}"):
        open_library(path, "Treatment")


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_that_is_written_anew_without_one_has_none(tmp_path, name):
    path = tmp_path / name
    write(path)
    done = library_files.write_corrected(make(2), fit(make(2), "none"), path)
    assert done.removed == [correction_file(path)]
    assert done.correction is None
    assert list(tmp_path.iterdir()) == [path]
    assert read_wells(path)[1] is None


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_of_another_program_does_not_take_what_lies_beside_it(tmp_path, name):
    path = tmp_path / name
    write(path)
    # Without our record, as pandas writes.
    write_profiles(dataclasses.replace(make(3), provenance={}), path)
    words = rf"was written with other wells, or .* remove {name}.correction.npz if {name} is not"
    with pytest.raises(ProfileError, match=words):
        read_wells(path)
    with pytest.raises(ProfileError, match=words):
        read_marked(path)


@pytest.mark.parametrize("name", FORMATS)
def test_rows_may_be_sorted_and_described_by_another_program(tmp_path, name):
    path = tmp_path / name
    expected = write(path)
    wells, _ = read_wells(path)
    rows = np.random.default_rng(0).permutation(24)
    wells = dataclasses.replace(wells.select(rows), provenance={})
    wells.metadata["Metadata_moa"] = "unknown"
    write_profiles(wells, path)
    assert same(read_wells(path)[1], expected)


@pytest.mark.parametrize("name", FORMATS)
def test_both_may_be_renamed_together(tmp_path, name):
    expected = write(tmp_path / name)
    (tmp_path / name).rename(tmp_path / f"renamed.{name}")
    correction_file(tmp_path / name).rename(correction_file(tmp_path / f"renamed.{name}"))
    assert same(read_wells(tmp_path / f"renamed.{name}")[1], expected)


def test_a_table_that_lost_its_correction_is_refused(tmp_path):
    path = tmp_path / "screen.v1.parquet"
    write(path)
    correction_file(path).unlink()
    with pytest.raises(ProfileError) as error:
        read_wells(path)
    assert "its correction screen.v1.parquet.correction.npz is not beside it" in str(error.value)
    # One that an earlier version wrote is not taken for it.
    fit(make(), "sphering").save(tmp_path / "screen.correction.npz")
    with pytest.raises(ProfileError, match="is not beside it"):
        read_wells(path)
    # What is asked alone needs none.
    assert read_marked(path).provenance["correction"] == "sphering"


@pytest.mark.parametrize("name", [*FORMATS, "screen.v1.parquet"])
def test_tables_of_earlier_versions_open_where_there_is_one(tmp_path, name):
    expected = write_as_before(tmp_path / name)
    wells = make()
    means = aggregate(expected.transform(wells), ["Metadata_Treatment"], "mean")
    write_profiles(means, tmp_path / "screen.consensus.parquet")
    (tmp_path / "screens.parquet").write_text("another name")
    assert same(read_wells(tmp_path / name)[1], expected)
    assert same(read_wells(tmp_path / "screen.consensus.parquet")[1], expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("screen.v1.parquet", "screen.v2.parquet"),
        ("screen.csv", "screen.parquet"),
        ("screen.csv.gz", "screen.v1.csv"),
    ],
)
def test_tables_of_earlier_versions_that_share_one_are_refused(tmp_path, one, other):
    write_as_before(tmp_path / one, seed=1)
    second = write_as_before(tmp_path / other, seed=2)
    for mine, theirs in itertools.permutations((one, other)):
        words = rf"screen.correction.npz may belong to {mine} or to {theirs}; rename it to {mine}.c"
        with pytest.raises(ProfileError, match=words):
            read_wells(tmp_path / mine)
    # As it is advised.
    (tmp_path / "screen.correction.npz").rename(correction_file(tmp_path / other))
    assert same(read_wells(tmp_path / other)[1], second)
    # Written again, the first does not make the second's certain.
    write_as_before(tmp_path / other, seed=2)
    correction_file(tmp_path / other).unlink()
    redone = write(tmp_path / one, seed=3)
    assert same(read_wells(tmp_path / one)[1], redone)
    with pytest.raises(ProfileError, match="may belong to"):
        read_wells(tmp_path / other)


@pytest.mark.parametrize("method", ["none", "sphering"])
@pytest.mark.parametrize("name", FORMATS)
def test_what_an_earlier_version_has_left_goes(tmp_path, name, method):
    path = tmp_path / name
    write_as_before(path, seed=1)
    expected = write(path, method, seed=2)
    assert not (tmp_path / "screen.correction.npz").exists()
    found = read_wells(path)[1]
    assert found is None if method == "none" else same(found, expected)


def test_what_may_be_anothers_stays_and_is_not_taken(tmp_path):
    write_as_before(tmp_path / "screen.parquet", seed=1)
    write(tmp_path / "screen.csv", "none", seed=2)
    assert (tmp_path / "screen.correction.npz").is_file()
    with pytest.raises(ProfileError, match="remove it if it belongs to none of them"):
        read_wells(tmp_path / "screen.csv")


def test_an_earlier_correction_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "screen.parquet"
    write_as_before(path, regularization=0.1)
    fit(make(), regularization=0.5).save(tmp_path / "screen.correction.npz")
    with pytest.raises(ProfileError, match=r"lambda is 0.5 and 0.1; make both again"):
        read_wells(path)


class Killed(BaseException):
    """The process ends here."""


BEFORE = {
    "nothing": lambda path: None,
    "uncorrected": lambda path: write(path, "none", seed=1),
    "corrected": lambda path: write(path, seed=1),
    "of an earlier version": lambda path: write_as_before(path, seed=1),
}


@pytest.mark.parametrize("after", ["none", "sphering"])
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", FORMATS)
def test_killed_at_any_moment_no_table_is_taken_with_anothers_correction(
    tmp_path, name, before, after, monkeypatch
):
    path = tmp_path / name
    made = {seed: fit(make(seed)) for seed in (1, 2)}
    plain = {seed: make(seed).features for seed in made}
    corrected = {
        seed: c.transform(make(seed)).features.astype(np.float32) for seed, c in made.items()
    }
    for moment in itertools.count():
        for file in tmp_path.iterdir():
            file.unlink()
        BEFORE[before](path)
        left = iter(range(moment))

        def kill(work, left=left):
            def do(*arguments, **options):
                if next(left, None) is None:
                    raise Killed
                return work(*arguments, **options)

            return do

        with monkeypatch.context() as patch:
            for target in ("rename", "replace", "unlink"):
                patch.setattr(type(path), target, kill(getattr(type(path), target)))
            killed = True
            with contextlib.suppress(Killed):
                write(path, after, seed=2)
                killed = False
        try:
            wells, found = read_wells(path)
        except ProfileError:
            assert killed
            continue
        values = wells.features.astype(np.float32)
        if found is None:
            assert any(np.array_equal(values, features) for features in plain.values())
        else:
            assert any(
                np.array_equal(values, corrected[seed]) and same(found, made[seed]) for seed in made
            )
        if not killed:
            break
    # All moments have passed.
    assert moment > 3
    assert np.array_equal(values, (plain if found is None else corrected)[2])
    assert (found is None) == (after == "none")


@pytest.mark.parametrize("name", ["screen.xlsx", "no folder/screen.csv"])
def test_a_table_that_cannot_be_written_leaves_nothing(tmp_path, name):
    (tmp_path / "no folder").write_text("a file")
    with pytest.raises((ProfileError, OSError)):
        write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["no folder"]


def test_wells_that_were_corrected_before_keep_that(tmp_path):
    path = tmp_path / "screen.parquet"
    expected = write(path)
    wells = read_marked(path).select(np.arange(12))
    write_corrected(wells, fit(wells, "none"), path)
    assert same(read_wells(path)[1], expected)
    assert len(read_wells(path)[0].metadata) == 12
    with pytest.raises(ProfileError, match=r"already \(sphering\), which some.csv cannot say"):
        write_corrected(wells, fit(wells, "none"), tmp_path / "some.csv")
    with pytest.raises(ProfileError, match=r"already \(sphering\), which plate-mad would hide"):
        fit(wells, "plate-mad")


@pytest.mark.parametrize("name", ["screen.parquet", "screen.v1.parquet", "screen.csv"])
def test_treatments_have_the_correction_of_their_wells(tmp_path, name):
    wells = make()
    correction = fit(wells)
    written = write_corrected(correction.transform(wells), correction, tmp_path / name)
    means = aggregate(written.wells, ["Metadata_Treatment"], "mean")
    path = consensus_file(tmp_path / name)
    write_profiles(means, path)
    assert same(read_wells(path)[1], correction)
    write(tmp_path / name, seed=2)
    with pytest.raises(ProfileError, match="does not belong to screen"):
        read_wells(path)


def test_no_two_tables_share_the_name_of_their_treatments():
    names = [*FORMATS, "screen.v1.parquet", "screen.v2.parquet", "screen.v1.csv"]
    assert len({consensus_file(name) for name in names}) == len(names)
    assert len({correction_file(name) for name in names}) == len(names)
    assert consensus_file("out/profiles.parquet").name == "profiles.consensus.parquet"
