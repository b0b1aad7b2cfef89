"""Objects from CellProfiler's tables: each at its own site, or a sentence that says why not."""

import contextlib
import gzip
import re
import shutil
import sqlite3

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import CPCNNError, SiteError
from cpcnn_core.io.cellprofiler_objects import objects_from_cellprofiler
from cpcnn_core.io.load_data import read_load_data

# (x, y) of the objects of four sites, no two alike.
CENTERS = {
    ("P1", "A01", "1"): [(40.5, 30.25), (90.0, 100.5)],
    ("P1", "A02", "1"): [(20.0, 110.0), (64.0, 64.0), (110.5, 25.0)],
    ("P1", "B01", "1"): [(70.0, 40.0)],
    ("P1", "B02", "1"): [(33.0, 33.0), (99.0, 66.0)],
}
SITES = list(CENTERS)


def objects_frame(sites=SITES, numbers=None):
    rows = [
        (number, k, 100 + k, x, y)
        for number, site in zip(numbers or range(1, 9), sites, strict=False)
        for k, (x, y) in enumerate(CENTERS[site], start=1)
    ]
    names = ["ImageNumber", "ObjectNumber", "AreaShape_Area", "Location_Center_X"]
    return pd.DataFrame(rows, columns=[*names, "Location_Center_Y"])


def image_frame(sites=SITES, numbers=None, **more):
    frame = pd.DataFrame(sites, columns=["Metadata_Plate", "Metadata_Well", "Metadata_Site"])
    frame.insert(0, "ImageNumber", numbers or range(1, len(sites) + 1))
    return frame.assign(**more)


def load_data(folder, sites=SITES):
    rows = pd.DataFrame(sites, columns=["Metadata_Plate", "Metadata_Well", "Metadata_Site"])
    rows["FileName_DNA"] = [f"{'_'.join(site)}.tif" for site in sites]
    rows.to_csv(folder / "load_data.csv", index=False)
    return folder / "load_data.csv"


def found(folder, objects, sites=SITES, name="Nuclei"):
    """Return {site: [(x, y), ...]} as a screen would have them, and the notices."""
    source = objects_from_cellprofiler(objects, name)
    read = read_load_data(load_data(folder, sites), ("DNA",), objects=source)
    there = {site.key: site.read_objects() for site in read}
    places = {k: None if o is None else o.centers[:, ::-1].tolist() for k, o in there.items()}
    return places, source.notices


def right(sites=SITES):
    return {site: [list(place) for place in CENTERS[site]] for site in sites}


def write(folder, name="Nuclei.csv", objects=None, images=None, **how):
    """Write both tables as ExportToSpreadsheet names them."""
    folder.mkdir(exist_ok=True)
    prefix, end = re.fullmatch(r"(.*)Nuclei(\..*)", name).groups()
    tables = {
        name: objects_frame() if objects is None else objects,
        f"{prefix}Image{end}": image_frame() if images is None else images,
    }
    for file, frame in tables.items():
        if "parquet" in end:
            frame.to_parquet(folder / file)
        else:
            frame.to_csv(folder / file, index=False, **how)
    return folder / name


# Found by keys, in every file that programs write


@pytest.mark.parametrize(
    "name",
    ["Nuclei.csv", "MyExpt_Nuclei.csv", "Nuclei.csv.gz", "x_Nuclei.tsv.gz", "Nuclei.parquet"],
)
def test_the_table_of_images_is_found_by_prefix_and_ending(tmp_path, name):
    how = {"sep": "\t"} if "tsv" in name else {}
    path = write(tmp_path, name, **how)
    assert found(tmp_path, path) == (right(), [])
    # A part of the screen, in another order.
    assert found(tmp_path, path, SITES[::-3])[0] == right(SITES[::-3])


def test_tables_of_other_runs_in_the_same_folder_are_not_mixed_up(tmp_path):
    write(tmp_path, "Nuclei.csv", objects_frame(SITES[::-1]), image_frame(SITES[::-1]))
    path = write(tmp_path, "MyExpt_Nuclei.csv")
    assert found(tmp_path, path)[0] == right()
    assert found(tmp_path, tmp_path / "Nuclei.csv")[0] == right()
    (tmp_path / "MyExpt_Image.csv").unlink()
    with pytest.raises(SiteError, match=r"there is Image.csv, but no MyExpt_Image.csv"):
        found(tmp_path, path)


def test_a_table_that_only_one_ending_has_is_taken(tmp_path):
    path = write(tmp_path, "Nuclei.csv.gz")
    (tmp_path / "Image.csv").write_bytes(gzip.decompress((tmp_path / "Image.csv.gz").read_bytes()))
    image_frame(SITES[::-1]).to_csv(tmp_path / "Image.csv", index=False)
    assert found(tmp_path, path)[0] == right()
    (tmp_path / "Image.csv.gz").unlink()
    image_frame().to_csv(tmp_path / "Image.csv", index=False)
    assert found(tmp_path, path)[0] == right()


def test_an_object_s_own_name_may_have_the_form_of_a_prefix(tmp_path):
    objects_frame().to_csv(tmp_path / "My_Cells.csv", index=False)
    counts = [len(CENTERS[site]) for site in SITES]
    image_frame(Count_My_Cells=counts).to_csv(tmp_path / "Image.csv", index=False)
    assert found(tmp_path, tmp_path / "My_Cells.csv")[0] == right()


def respell(frame, **columns):
    return frame.assign(**{f"Metadata_{name}": values for name, values in columns.items()})


@pytest.mark.parametrize(
    "images",
    [
        respell(image_frame(), Site=[1.0] * 4),
        respell(image_frame(), Site=["01"] * 4),
        respell(image_frame(), Well=["A1", "A2", "B1", "B2"]),
        respell(image_frame(), Well=["a01", "a02", "b01", "b02"]),
        respell(image_frame(), Well=["A001", "A002", "B001", "B002"]),
        image_frame().rename(columns={"Metadata_Site": "Metadata_FieldID"}),
        image_frame().rename(columns={"Metadata_Site": "Metadata_FOV"}),
        image_frame().rename(
            columns={"Metadata_Well": "well_position", "Metadata_Plate": "Metadata_Barcode"}
        ),
        image_frame().sample(frac=1, random_state=3)[::-1],
        image_frame().iloc[:, ::-1],
    ],
)
def test_sites_are_told_apart_however_they_are_spelt(tmp_path, images):
    assert found(tmp_path, write(tmp_path, "Nuclei.csv", images=images)) == (right(), [])


def test_plates_that_lost_their_zeros(tmp_path):
    sites = [("000123", well, "01") for _, well, _ in SITES]
    images = respell(image_frame(), Plate=[123] * 4, Site=[1] * 4)
    places, _ = found(tmp_path, write(tmp_path, images=images), sites)
    assert list(places.values()) == list(right().values())


def test_two_spellings_of_one_name_in_one_table_are_refused(tmp_path):
    images = respell(image_frame(), Plate=["01", "1", "01", "01"], Well=["A01", "A1", "B01", "B02"])
    with pytest.raises(
        SiteError,
        match=r"Image.csv has site 01/A01/1 in row 1 and 1/A1/1 in row 2, which other pro",
    ):
        found(tmp_path, write(tmp_path, images=images))
    path = write(tmp_path)
    with pytest.raises(SiteError, match=r"load_data.csv has site P1/A01/1 in row 1 and P1/a1/1 in"):
        found(tmp_path, path, [("P1", "A01", "1"), ("P1", "a1", "1")])


def test_where_nothing_matches_a_key_of_each_table_is_shown(tmp_path):
    images = respell(image_frame(), Plate=["Plate 7"] * 4)
    with pytest.raises(SiteError, match="P1/A01/1 there, Plate 7/A01/1 here; call them the same"):
        found(tmp_path, write(tmp_path, images=images))


def test_sites_that_were_not_measured_are_said(tmp_path):
    path = write(tmp_path, objects=objects_frame(SITES[:3]), images=image_frame(SITES[:3]))
    places, notices = found(tmp_path, path)
    assert places == {**right(SITES[:3]), SITES[3]: None}
    assert notices == ["1 of 4 sites are not in Image.csv: P1/B02/1"]


def test_two_columns_that_may_be_the_site_are_not_chosen_from(tmp_path):
    images = image_frame(Metadata_Field=[1, 1, 1, 1]).rename(columns={"Metadata_Site": "FOV"})
    with pytest.raises(SiteError, match="FOV, Metadata_Field, which may all be the site; call the"):
        found(tmp_path, write(tmp_path, images=images))


# By place, where only the place can decide


@pytest.mark.parametrize("images", [image_frame()[["ImageNumber"]], None])
def test_by_place_only_where_all_agrees_and_it_is_said(tmp_path, images):
    path = write(tmp_path, images=images)
    if images is None:
        (tmp_path / "Image.csv").unlink()
    places, notices = found(tmp_path, path)
    assert places == right()
    assert len(notices) == 1
    assert "were matched to the rows of load_data.csv by their place" in notices[0]
    with pytest.raises(SiteError, match="but these are 2, and here are 4 image sets, 1 to 4"):
        found(tmp_path, path, SITES[:2])


def test_by_place_is_refused_where_other_files_were_measured(tmp_path):
    files = [f"{'_'.join(site)}.tif" for site in SITES]
    plain = image_frame()[["ImageNumber"]]
    path = write(tmp_path, images=plain.assign(FileName_DNA=files))
    assert found(tmp_path, path)[0] == right()
    with pytest.raises(
        SiteError, match=r"image set 1 is not row 1 of load_data.csv: DNA is P1_A01"
    ):
        found(tmp_path, path, SITES[::-1])


def test_by_place_is_refused_where_files_of_other_image_names_were_measured(tmp_path):
    files = [f"{'_'.join(site)}.tif" for site in SITES]
    plain = image_frame()[["ImageNumber"]]
    path = write(tmp_path, images=plain.assign(FileName_Hoechst=files))
    assert found(tmp_path, path)[0] == right()
    with pytest.raises(SiteError, match=r"Hoechst is P1_A01_1.tif here and none of its files"):
        found(tmp_path, path, SITES[::-1])
    # CellProfiler keeps the folders that a name has.
    path = write(tmp_path, images=plain.assign(FileName_DNA=[f"raw/{name}" for name in files]))
    assert found(tmp_path, path)[0] == right()


@pytest.mark.parametrize(
    ("names", "of_objects"),
    [
        (["Metadata_Well", "Metadata_Site"], False),
        (["Metadata_Well"], False),
        (["Metadata_Plate", "Metadata_Well"], True),
    ],
)
def test_by_place_is_refused_where_a_part_of_the_keys_says_otherwise(tmp_path, names, of_objects):
    objects, images = objects_frame(), image_frame()
    known = images[["ImageNumber", *names]]
    path = write(
        tmp_path,
        objects=objects.merge(known) if of_objects else objects,
        images=images[["ImageNumber"]] if of_objects else known,
    )
    assert found(tmp_path, path)[0] == right()
    with pytest.raises(SiteError, match=r"image set 1 is not row 1 .*: Well is A01 here and B02"):
        found(tmp_path, path, SITES[::-1])


def test_a_part_of_the_rows_is_no_match_by_place(tmp_path):
    # LoadData's own range of rows numbers them from 1 again.
    rows = objects_frame(SITES[2:])
    path = write(tmp_path, objects=rows, images=image_frame()[["ImageNumber"]][:2])
    with pytest.raises(SiteError, match="these are 4, and here are 2 image sets, 1 to 2"):
        found(tmp_path, path)


def test_columns_of_keys_in_other_letter_case_are_keys(tmp_path):
    for change in (str.lower, str.upper):
        images = image_frame().rename(columns=lambda c, f=change: f(c) if c[0] == "M" else c)
        path = write(tmp_path, images=images)
        assert found(tmp_path, path, SITES[::-1]) == (right(SITES[::-1]), [])


def test_file_names_in_lower_case_belong_together(tmp_path):
    path = write(tmp_path)
    (tmp_path / "Image.csv").rename(tmp_path / "image.csv")
    path.rename(tmp_path / "nuclei.csv")
    assert found(tmp_path, tmp_path / "nuclei.csv", SITES[::-1]) == (right(SITES[::-1]), [])


def test_objects_whose_name_ends_as_another_are_counted_by_their_table(tmp_path):
    counts = [len(CENTERS[site]) for site in SITES]
    objects_frame().to_csv(tmp_path / "MyExpt_FilteredNuclei.csv", index=False)
    images = image_frame(Count_FilteredNuclei=counts)
    images.to_csv(tmp_path / "MyExpt_Image.csv", index=False)
    path = tmp_path / "MyExpt_FilteredNuclei.csv"
    assert found(tmp_path, path) == (right(), [])
    objects_frame()[:-1].to_csv(path, index=False)
    with pytest.raises(SiteError, match=r"has 1 objects of image set 4, MyExpt_Image.csv counts 2"):
        found(tmp_path, path)


def test_keys_that_are_empty_say_nothing(tmp_path):
    keys = image_frame().rename(columns={"Metadata_Plate": "Plate"}).assign(Metadata_Plate="")
    objects = objects_frame().merge(keys.drop(columns="Plate"))
    path = write(tmp_path, objects=objects)
    assert found(tmp_path, path, SITES[::-1]) == (right(SITES[::-1]), [])
    # Image sets that failed before their metadata were known.
    images = image_frame()
    images.loc[[1, 3], ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]] = None
    objects = objects_frame().query("ImageNumber in (1, 3)")
    places, notices = found(tmp_path, write(tmp_path, objects=objects, images=images))
    there = right(SITES[::2])
    assert places == dict.fromkeys(SITES) | there
    assert notices == ["2 of 4 sites are not in Image.csv: P1/A02/1, P1/B02/1"]
    with pytest.raises(
        SiteError, match=r"image set 2, which Image.csv does not have, or has without"
    ):
        found(tmp_path, write(tmp_path, images=images))


def test_an_object_that_does_not_say_its_well_is_named(tmp_path):
    objects = objects_frame().merge(image_frame())
    objects.loc[3, "Metadata_Well"] = None
    objects.to_csv(tmp_path / "cells.csv", index=False)
    places, notices = found(tmp_path, tmp_path / "cells.csv")
    assert places == right() | {SITES[1]: [[20.0, 110.0], [110.5, 25.0]]}
    assert len(notices) == 1
    assert notices[0].endswith("every object, so no features: object 2 of image set 2")


def test_tables_that_contradict_each_other_are_refused(tmp_path):
    objects = objects_frame().merge(image_frame(SITES[::-1]))
    with pytest.raises(
        SiteError, match=r"says that P1/B02/1 is image set 1, and Image.csv that it is 4"
    ):
        found(tmp_path, write(tmp_path, objects=objects))


def test_an_object_twice_under_two_spellings_is_refused(tmp_path):
    once = objects_frame().merge(image_frame())
    again = once.assign(Metadata_Well=once["Metadata_Well"].str.lower())
    with pytest.raises(SiteError, match="Well A1, Site 1, ObjectNumber 1 twice, in its rows 1 and"):
        found(tmp_path, write(tmp_path, objects=pd.concat([once, again])))


# Runs that were appended
# Runs that were appended


def test_appended_runs_are_refused(tmp_path):
    objects = pd.concat([objects_frame(SITES[:2]), objects_frame(SITES[2:])])
    with pytest.raises(
        SiteError, match=r"Nuclei.csv has ImageNumber 1, ObjectNumber 1 twice, in its"
    ):
        found(tmp_path, write(tmp_path, objects=objects, images=image_frame(numbers=[1, 2, 1, 2])))
    with pytest.raises(
        SiteError, match=r"Image.csv has ImageNumber 1 twice, in its rows 1 and 3: tables"
    ):
        found(tmp_path, write(tmp_path, images=image_frame(numbers=[1, 2, 1, 2])))


def test_an_object_twice_is_refused(tmp_path):
    objects = pd.concat([objects_frame()] * 2)
    with pytest.raises(
        SiteError, match="has ImageNumber 1, ObjectNumber 1 twice, in its rows 1 and 9"
    ):
        found(tmp_path, write(tmp_path, objects=objects))


def run_tables():
    """One run a site, each with the image number 1."""
    runs = [10_000_000_000 + k for k in range(4)]
    objects = pd.concat(
        objects_frame([site], [1]).assign(TableNumber=run)
        for site, run in zip(SITES, runs, strict=True)
    )
    images = image_frame(numbers=[1] * 4).assign(TableNumber=runs)
    return objects, images[::-1]


def test_the_table_s_number_tells_runs_apart_in_csv(tmp_path):
    objects, images = run_tables()
    assert found(tmp_path, write(tmp_path, objects=objects, images=images)) == (right(), [])
    objects["TableNumber"] = objects["TableNumber"].clip(upper=10_000_000_001)
    with pytest.raises(
        SiteError, match="has TableNumber 10000000001, ImageNumber 1, ObjectNumber 1 twice"
    ):
        found(tmp_path, write(tmp_path, objects=objects, images=images))
    with pytest.raises(SiteError, match=r"the tables of 4 runs \(TableNumber 10000000003"):
        found(
            tmp_path,
            write(tmp_path, objects=run_tables()[0], images=images[["ImageNumber", "TableNumber"]]),
        )


# Cut tables


def test_cut_tables_are_noticed(tmp_path):
    counts = [len(CENTERS[site]) for site in SITES]
    whole = write(tmp_path, images=image_frame(Count_Nuclei=counts))
    text = whole.read_text()
    assert found(tmp_path, whole)[0] == right()
    whole.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(
        SiteError, match=r"has 1 objects of image set 4, Image.csv counts 2; the tab"
    ):
        found(tmp_path, whole)
    whole.write_text(text[: text.rindex(",")])
    with pytest.raises(
        SiteError, match="has fewer values in line 9 than in its header: 4, expected"
    ):
        found(tmp_path, whole)
    # Within the last number, where nothing else tells.
    whole.write_text(text.rstrip()[:-1])
    assert "does not end with a line break" in found(tmp_path, whole)[1][0]
    image = tmp_path / "Image.csv"
    image.write_text("\n".join(image.read_text().splitlines()[:-1]) + "\n")
    whole.write_text(text)
    with pytest.raises(
        SiteError, match=r"has objects of image set 4, which Image.csv does not have"
    ):
        found(tmp_path, whole)


def test_the_count_that_is_looked_at_is_that_of_the_table_s_objects(tmp_path):
    counts = [len(CENTERS[site]) for site in SITES]
    images = image_frame(Count_Nuclei=[9] * 4, Count_Cells=counts)
    images.to_csv(tmp_path / "MyExpt_Image.csv", index=False)
    objects_frame().to_csv(tmp_path / "MyExpt_Cells.csv", index=False)
    assert found(tmp_path, tmp_path / "MyExpt_Cells.csv")[0] == right()


# One bad row costs that row


def test_an_object_without_a_centre_is_named_and_costs_no_other(tmp_path):
    objects = objects_frame().astype(object)
    for nothing in (np.nan, "nan", "NULL"):
        objects.loc[3, ["Location_Center_X", "Location_Center_Y"]] = nothing
        counts = [len(CENTERS[site]) for site in SITES]
        path = write(tmp_path, objects=objects, images=image_frame(Count_Nuclei=counts))
        site = read_load_data(
            load_data(tmp_path), ("DNA",), objects=objects_from_cellprofiler(path)
        )[1]
        there = site.read_objects()
        assert there.centers[:, ::-1].tolist() == [list(CENTERS[SITES[1]][k]) for k in (0, 2)]
        assert there.numbers.tolist() == [1, 3]
        assert there.notes == ("an object has no centre in Nuclei.csv, so no features: 2",)


def test_empty_rows_of_spreadsheets_are_no_objects(tmp_path):
    path = write(tmp_path)
    path.write_text(path.read_text() + "\n,,,,\n\n,,,,\n")
    assert found(tmp_path, path)[0] == right()


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        (
            "Location_Center_X",
            "40,5",
            "has '40,5' in row 2 of the column Location_Center_X; expected",
        ),
        ("Location_Center_X", "left", "has 'left' in row 2 of the column Location_Center_X"),
        ("Location_Center_Y", "inf", "has an infinite position in row 2"),
        ("ImageNumber", "", "has no number in row 2 of the column ImageNumber"),
        ("ImageNumber", "1.5", "has 1.5 in row 2 of the column ImageNumber; expected a whole"),
        ("ObjectNumber", "", "has no number in row 2 of the column ObjectNumber"),
        ("ObjectNumber", "1e300", r"has 1e\+300 in row 2 of the column ObjectNumber"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(tmp_path, column, value, sentence):
    objects = objects_frame().astype(str)
    objects.loc[1, column] = value
    with pytest.raises(SiteError, match=sentence):
        found(tmp_path, write(tmp_path, objects=objects))


def test_numbers_of_runs_are_the_same_in_every_spelling(tmp_path):
    objects, images = objects_frame(), image_frame()
    objects = objects.assign(TableNumber=objects["ImageNumber"].astype(float), ImageNumber=1)
    images = images.assign(TableNumber=images["ImageNumber"], ImageNumber=1)
    assert found(tmp_path, write(tmp_path, objects=objects, images=images)) == (right(), [])


@pytest.mark.parametrize("which", ["objects", "images"])
def test_a_run_s_number_in_one_table_only_is_no_contradiction(tmp_path, which):
    tables = {"objects": objects_frame(), "images": image_frame()}
    tables[which] = tables[which].assign(TableNumber=7)
    assert found(tmp_path, write(tmp_path, **tables)) == (right(), [])
    tables[which].loc[0, "TableNumber"] = 8
    if which == "objects":
        with pytest.raises(
            SiteError, match=r"has objects of image set 1, which Image.csv does not"
        ):
            found(tmp_path, write(tmp_path, **tables))


# What people have: databases, combined tables, tables with their own keys, folders


def as_database(folder, objects, images, names=("MyExpt_Per_Nuclei", "MyExpt_Per_Image")):
    own = ("ImageNumber", "ObjectNumber", "TableNumber")
    path = folder / "run.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as db:
        for frame, kind, name in ((objects, "Nuclei", names[0]), (images, "Image", names[1])):
            frame.rename(columns=lambda c, k=kind: c if c in own else f"{k}_{c}").to_sql(
                name, db, index=False
            )
    db.close()
    return path


@pytest.mark.parametrize(
    "names",
    [
        ("MyExpt_Per_Nuclei", "MyExpt_Per_Image"),
        ("Per_Object", "Per_Image"),
        ("Nuclei", "Image"),
    ],
)
def test_databases_of_cellprofiler_and_cytominer(tmp_path, names):
    path = as_database(tmp_path, objects_frame(), image_frame()[::-1], names)
    assert found(tmp_path, path) == (right(), [])
    path.rename(tmp_path / "backend")
    assert found(tmp_path, tmp_path / "backend")[0] == right()


def test_databases_of_many_runs(tmp_path):
    objects, images = run_tables()
    path = as_database(tmp_path, objects, images, ("Nuclei", "Image"))
    assert found(tmp_path, path) == (right(), [])
    doubled = pd.concat([objects, objects])
    with pytest.raises(
        SiteError, match="has TableNumber 10000000000, ImageNumber 1, ObjectNumber 1 twice"
    ):
        found(tmp_path, as_database(tmp_path, doubled, images, ("Nuclei", "Image")))


def test_a_table_of_the_very_name_is_taken_before_others_that_end_so(tmp_path):
    path = as_database(tmp_path, objects_frame(), image_frame(), ("Nuclei", "Image"))
    with contextlib.closing(sqlite3.connect(path)) as db:
        objects_frame(SITES[::-1]).to_sql("Expanded_Nuclei", db, index=False)
    assert found(tmp_path, path) == (right(), [])


def test_the_filled_up_rows_of_a_single_object_table_are_no_objects(tmp_path):
    spots = objects_frame().drop(columns=["Location_Center_X", "Location_Center_Y"])
    more = pd.DataFrame({"ImageNumber": [1, 3, 3], "ObjectNumber": [3, 2, 3]})
    table = pd.concat([spots, more]).sort_values(["ImageNumber", "ObjectNumber"])
    table = table.rename(columns={"AreaShape_Area": "Spots_AreaShape_Area"})
    nuclei = objects_frame().rename(columns=lambda c: f"Nuclei_{c}")
    nuclei["Nuclei_Number_Object_Number"] = nuclei["Nuclei_ObjectNumber"]
    table = table.merge(
        nuclei,
        how="left",
        left_on=["ImageNumber", "ObjectNumber"],
        right_on=["Nuclei_ImageNumber", "Nuclei_ObjectNumber"],
    ).drop(columns=["Nuclei_ImageNumber", "Nuclei_ObjectNumber"])
    images = image_frame(Count_Nuclei=[len(CENTERS[site]) for site in SITES])
    with sqlite3.connect(tmp_path / "single.db") as db:
        table.to_sql("MyExpt_Per_Object", db, index=False)
        images.rename(columns=lambda c: c if c == "ImageNumber" else f"Image_{c}").to_sql(
            "MyExpt_Per_Image", db, index=False
        )
        # A nucleus that is there, but nowhere.
        db.execute(
            "update MyExpt_Per_Object set Nuclei_Location_Center_X = null "
            "where ImageNumber = 4 and ObjectNumber = 2"
        )
    db.close()
    source = objects_from_cellprofiler(tmp_path / "single.db")
    sites = read_load_data(load_data(tmp_path), ("DNA",), objects=source)
    there = [site.read_objects() for site in sites]
    assert [objects.centers[:, ::-1].tolist() for objects in there[:3]] == list(right().values())[
        :3
    ]
    assert there[3].centers[:, ::-1].tolist() == [[33.0, 33.0]]
    assert [len(objects.notes) for objects in there] == [0, 0, 0, 1]


def test_two_header_rows(tmp_path):
    plain = objects_frame()
    lines = ["Image,Cells,Nuclei,Nuclei,Cells,Cells"]
    lines.append("ImageNumber,ObjectNumber" + ",Location_Center_X,Location_Center_Y" * 2)
    lines += [
        f"{row.ImageNumber},{row.ObjectNumber},{row.Location_Center_X},{row.Location_Center_Y},0,0"
        for row in plain.itertuples()
    ]
    (tmp_path / "Cells.csv").write_text("\n".join(lines) + "\n")
    image_frame().to_csv(tmp_path / "Image.csv", index=False)
    assert found(tmp_path, tmp_path / "Cells.csv")[0] == right()
    assert found(tmp_path, tmp_path / "Cells.csv", name="Cells")[0][SITES[0]] == [[0, 0], [0, 0]]
    with pytest.raises(
        SiteError, match="it has positions of Nuclei, Cells: choose with --object-na"
    ):
        found(tmp_path, tmp_path / "Cells.csv", name="Spots")


@pytest.mark.parametrize("prefix", ["Metadata_", "Image_Metadata_", ""])
@pytest.mark.parametrize("end", [".csv", ".parquet", ".csv.gz"])
def test_tables_that_say_the_site_of_every_object(tmp_path, prefix, end):
    table = objects_frame().merge(image_frame(), on="ImageNumber").drop(columns="ImageNumber")
    table = table.rename(columns=lambda c: c.replace("Metadata_", prefix)).iloc[::-1]
    path = tmp_path / f"cells{end}"
    table.to_parquet(path) if end == ".parquet" else table.to_csv(path, index=False)
    places, notices = found(tmp_path, path)
    assert {key: value[::-1] for key, value in places.items()} == right()
    assert notices == []


def test_own_keys_do_for_appended_runs(tmp_path):
    tables = [
        objects_frame(sites).merge(image_frame(sites), on="ImageNumber")
        for sites in (SITES[:2], SITES[2:])
    ]
    pd.concat(tables).to_csv(tmp_path / "all.csv", index=False)
    assert found(tmp_path, tmp_path / "all.csv")[0] == right()


def test_columns_as_cytotable_and_pycytominer_write_them(tmp_path):
    table = objects_frame().merge(image_frame(), on="ImageNumber")
    names = {
        "ImageNumber": "Metadata_ImageNumber",
        "ObjectNumber": "Metadata_Nuclei_Number_Object_Number",
        "Location_Center_X": "Metadata_Nuclei_Location_Center_X",
        "Location_Center_Y": "Metadata_Nuclei_Location_Center_Y",
    }
    table.rename(columns=names).convert_dtypes().to_parquet(tmp_path / "cells.parquet")
    assert found(tmp_path, tmp_path / "cells.parquet") == (right(), [])


def site_folders(tmp_path, name="{0}-{1}-{2}", keys=True):
    for site in SITES:
        folder = tmp_path / "analysis" / name.format(*site)
        folder.mkdir(parents=True)
        objects_frame([site], [1]).to_csv(folder / "Nuclei.csv", index=False)
        images = image_frame([site], [1])
        images[images.columns if keys else ["ImageNumber"]].to_csv(
            folder / "Image.csv", index=False
        )
    return tmp_path / "analysis"


@pytest.mark.parametrize("name", ["{0}-{1}-{2}", "{1}/{0}-{1}-0{2}", "site_{1}"])
def test_a_folder_for_every_site(tmp_path, name):
    assert found(tmp_path, site_folders(tmp_path, name)) == (right(), [])


def test_a_folder_for_every_site_whose_tables_do_not_say_it(tmp_path):
    folder = site_folders(tmp_path, keys=False)
    assert found(tmp_path, folder) == (right(), [])
    # A folder in the wrong place contradicts its tables.
    shutil.rmtree(folder)
    folder = site_folders(tmp_path)
    (folder / "P1-A01-1").rename(folder / "P1-C01-1")
    (folder / "P1-A02-1").rename(folder / "P1-A01-1")
    with pytest.raises(SiteError, match=r"is not of the site P1/A01/1, which its folder is called"):
        found(tmp_path, folder)


def test_a_folder_of_a_well_by_row_and_column(tmp_path):
    wells = {"A01": "r01c01", "A02": "r01c02", "B01": "r02c01", "B02": "r02c02"}
    folder = site_folders(tmp_path, keys=False)
    for place in list(folder.iterdir()):
        place.rename(folder / f"a-b-{wells[place.name[3:6]]}-s1")
    sites = {("a-b", wells[well], "s1"): places for (_, well, _), places in right().items()}
    assert found(tmp_path, folder, list(sites)) == (sites, [])


def test_a_cut_table_in_the_folder_of_its_site_is_said(tmp_path):
    folder = site_folders(tmp_path, keys=False)
    table = folder / "P1-A02-1" / "Nuclei.csv"
    table.write_bytes(table.read_bytes()[:-1])
    source = objects_from_cellprofiler(folder)
    sites = read_load_data(load_data(tmp_path), ("DNA",), objects=source)
    notes = [site.read_objects().notes for site in sites]
    assert [len(note) for note in notes] == [0, 1, 0, 0]
    assert "Nuclei.csv does not end with a line break" in notes[1][0]


def test_folders_that_do_not_tell_their_site_are_refused(tmp_path):
    folder = site_folders(tmp_path, "field_{1}", keys=False)
    with pytest.raises(SiteError, match=r"nothing says which sites .* is of; expected a folder"):
        found(tmp_path, folder)
    with pytest.raises(SiteError, match=r"there is no table Spots.csv in the folders below"):
        found(tmp_path, folder, name="Spots")


def test_a_folder_for_every_plate(tmp_path):
    sites = [*SITES, *(("P2", well, site) for _, well, site in SITES)]
    for plate, mine in (("P1", sites[:4]), ("P2", sites[4:])):
        folder = tmp_path / "results" / plate
        folder.mkdir(parents=True)
        objects_frame(SITES[:: 1 if plate == "P1" else -1]).to_csv(
            folder / "MyExpt_Nuclei.csv", index=False
        )
        image_frame(mine).to_csv(folder / "MyExpt_Image.csv", index=False)
    places, _ = found(tmp_path, tmp_path / "results", sites)
    values = list(right().values())
    assert list(places.values()) == [*values, *values[::-1]]
    shutil.copytree(tmp_path / "results" / "P1", tmp_path / "results" / "P1 again")
    with pytest.raises(
        SiteError, match=r"P1 again/MyExpt_Nuclei.csv are both of the site P1/A01/1"
    ):
        found(tmp_path, tmp_path / "results", sites)


# Whatever else is given


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(SiteError, match="there is no file"):
        objects_from_cellprofiler(tmp_path / "nowhere.csv")
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("create table songs (title)")
    db.close()
    with pytest.raises(SiteError, match="has no table Per_Image or Image; it has: songs"):
        objects_from_cellprofiler(tmp_path / "other.db")
    (tmp_path / "none.db").write_text("no database at all, but long enough" * 99)
    with pytest.raises(SiteError, match="cannot be read as an SQLite database of CellProfiler"):
        objects_from_cellprofiler(tmp_path / "none.db")
    path = write(tmp_path, objects=objects_frame().drop(columns="Location_Center_Y"))
    with pytest.raises(SiteError, match="lacks a column: expected ImageNumber, ObjectNumber and"):
        objects_from_cellprofiler(path)
    with sqlite3.connect(tmp_path / "two.db") as db:
        for prefix in ("a", "b"):
            image_frame().to_sql(f"{prefix}_Per_Image", db, index=False)
    db.close()
    with pytest.raises(SiteError, match="has several tables Per_Image: a_Per_Image, b_Per_Image"):
        objects_from_cellprofiler(tmp_path / "two.db")


@pytest.mark.parametrize("seed", range(60))
def test_damaged_tables_are_read_right_or_refused_in_a_sentence(tmp_path, seed):
    random = np.random.default_rng(seed)
    images = image_frame(Count_Nuclei=[len(CENTERS[site]) for site in SITES])
    if seed % 2:
        path = as_database(tmp_path, objects_frame(), images)
    else:
        path = write(tmp_path, images=images)
    data = bytearray(path.read_bytes())
    for _ in range(random.integers(1, 6)):
        if random.random() < 0.3:
            del data[random.integers(len(data)) :]
        if data:
            data[random.integers(len(data))] = random.integers(256)
    path.write_bytes(data)
    with contextlib.suppress(CPCNNError):
        # Any other exception fails the test.
        found(tmp_path, path)
