"""Labels of treatments: what says that there is none is none."""

import pytest

from cpcnn_core.errors import ProfileWarning, TableError
from cpcnn_core.evaluation.annotations import label_of, read_annotations


def read(path, text, *arguments, **how):
    path.write_text(text)
    said = []
    found = read_annotations(path, *(arguments or ("Treatment", "moa")), tell=said.append, **how)
    return found, said


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("prefix", ["", "Metadata_"])
def test_labels_of_several_rows_and_of_one(tmp_path, delimiter, prefix):
    rows = [
        *((f"{prefix}Treatment", "x", "moa"), ("taxol", "1", "tubulin"), ("AMG900", "2", "b|a")),
        *(("AMG900", "3", "c | b"), ("taxol", "4", "tubulin"), ("0012", "5", "z")),
    ]
    found, said = read(tmp_path / "moa.txt", "\n".join(delimiter.join(row) for row in rows))
    assert found == {"taxol": "tubulin", "AMG900": "a|b|c", "0012": "z"}
    assert said == []
    assert read_annotations(tmp_path / "moa.txt", "Metadata_Treatment", "Metadata_moa") == found


@pytest.mark.parametrize("text", ["", "NA", "nan", "NaN", "NULL", "None", "none", "#N/A"])
def test_no_label_is_none_and_is_counted(tmp_path, text):
    table = f"Treatment,moa\na,tubulin\nb,{text}\nc,{text}\nd,x|{text}\ne,NA@NA\n"
    found, [said] = read(tmp_path / "moa.csv", table)
    assert found == {"a": "tubulin", "b": "", "c": "", "d": "x", "e": "NA@NA"}
    assert f"has no moa for 2 of 5 treatments; found instead: {text or 'an empty cell'} (3)" in said
    if text:
        kept, said = read(tmp_path / "moa.csv", table, keep_labels=[text])
        assert kept == found | {"b": text, "c": text, "d": "|".join(sorted(["x", text]))}
        assert said == []


def test_rows_without_a_treatment_are_no_treatment(tmp_path):
    table = "Treatment,moa\na,x\n,y\nNA,z\n"
    assert read(tmp_path / "moa.csv", table)[0] == {"a": "x"}
    assert read(tmp_path / "moa.csv", table, keep_labels=["NA"])[0] == {"a": "x", "NA": "z"}


def test_a_library_is_warned(tmp_path):
    (tmp_path / "moa.csv").write_text("Treatment,moa\na,NA\n")
    with pytest.warns(ProfileWarning, match="has no moa for 1 of 1 treatment; found instead: NA"):
        read_annotations(tmp_path / "moa.csv", "Treatment", "moa")


def test_extra_commas_change_nothing(tmp_path):
    plain = "Treatment,moa\na,x\nb,y\n"
    commas = "Treatment,moa\na,x,\nb,y,\n,,\n"
    assert read(tmp_path / "moa.csv", plain) == read(tmp_path / "moa.csv", commas)
    with pytest.raises(TableError, match="has '7' in row 2 of its column 3, which has no name"):
        read(tmp_path / "moa.csv", "Treatment,moa\na,x,\nb,y,7\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Compound,moa\na,x\n", "has no column Metadata_Treatment; it has Metadata_Compound"),
        ("Treatment,target\na,x\n", "has no column Metadata_moa; it has"),
        ("Treatment,moa,Metadata_moa\na,x,y\n", "the columns moa and Metadata_moa, which mean"),
        ("", "is empty"),
        ("Treatment,moa\na\n", "fewer values in line 2"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(TableError, match=message):
        read(tmp_path / "moa.csv", text)


def test_names_that_are_numbers_are_found_however_they_are_written():
    annotations = {
        "7157": "TP53",
        "672.0": "BRCA1",
        "0.50": "half",
        "007": "Bond",
        "taxol": "tubulin",
    }
    names = ["7157", "7157.0", "672", "0.5", "007", "7", "taxol", "Taxol"]
    labels = ["TP53", "TP53", "BRCA1", "half", "Bond", "", "tubulin", ""]
    assert label_of(annotations, names) == labels
    # What is written so comes first.
    assert label_of({"7157": "a", "7157.0": "b"}, ["7157", "7157.0"]) == ["a", "b"]
