"""A DeepProfiler project, read as it lies."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cpcnn_core.errors import ImageError, SiteError
from cpcnn_core.io.deepprofiler import read_project, read_sites
from cpcnn_core.io.sites import read_field

PROJECT = Path(__file__).parents[2] / "data" / "deepprofiler_project"


@pytest.fixture
def root(tmp_path):
    shutil.copytree(PROJECT, tmp_path / "project")
    return tmp_path / "project"


def configure(root, **changes):
    path = root / "inputs" / "config" / "profile.json"
    values = json.loads(path.read_text())
    for place, value in changes.items():
        *outer, last = place.split("__")
        entry = values
        for name in outer:
            entry = entry[name]
        entry[last] = value
    path.write_text(json.dumps(values))


def test_the_configuration():
    project = read_project(PROJECT)
    assert project.channels == ("DNA", "RNA", "ER", "AGP", "Mito")
    assert (project.size, project.box_px) == ((280, 300), 128)
    assert (project.mask_objects, project.compressed) == (False, False)
    assert project.checkpoint == "Cell_Painting_CNN_v1.hdf5"
    assert (project.feature_layer, project.model_name) == ("block6a_activation", "efficientnet")


def test_sites_and_their_metadata():
    sites = read_sites(read_project(PROJECT))
    assert [str(site) for site in sites] == ["P1/A01/1", "P1/A01/2", "P1/B02/3", "P1/B03/4"]
    assert sites[2].metadata["Treatment"] == "cpdX@1.5"
    assert "DNA" not in sites[2].metadata


def test_objects_are_row_and_column_in_the_order_of_the_file():
    objects = read_sites(read_project(PROJECT))[0].read_objects()
    assert objects.centers.shape == (14, 2)
    assert objects.centers[3].tolist() == [140.81, 150.37]
    assert objects.locations[3].tolist() == [150.37, 140.81]
    assert objects.numbers.tolist() == list(range(1, 15))


def test_whole_numbers_stay_whole_as_the_reference_stores_them():
    assert read_sites(read_project(PROJECT))[1].read_objects().locations.dtype == np.int64


def test_a_file_without_rows_is_no_object_and_no_file_is_no_locations():
    *_, empty, none = read_sites(read_project(PROJECT))
    assert len(empty.read_objects().centers) == 0
    assert none.read_objects() is None


def test_channels_are_read_by_name():
    site = read_sites(read_project(PROJECT))[0]
    field = read_field(site, site.read_objects(), ("Mito", "DNA"))
    images = PROJECT / "inputs" / "images" / "P1"
    np.testing.assert_array_equal(field.image[0], tifffile.imread(images / "A01_s1_Mito.tif"))
    np.testing.assert_array_equal(field.image[1], tifffile.imread(images / "A01_s1_DNA.tif"))


def test_compressed_images_are_read_when_the_configuration_says_so(root):
    configure(root, prepare__compression__implement=True)
    folder = root / "outputs" / "compressed" / "images" / "P1"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (280, 300)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "A01_s1_DNA.png")
    site = read_sites(read_project(root))[0]
    np.testing.assert_array_equal(read_field(site, site.read_objects(), ("DNA",)).image[0], pixels)


def test_outlines_become_numbered_regions(root):
    configure(root, dataset__locations__mask_objects=True)
    outlines = np.ones((280, 300), np.uint8)
    outlines[10:20, 10:20] = 0
    outlines[20:30, 20:30] = 0
    outlines[50:60, 50:60] = 0
    outlines[60:70, 50:60] = 7
    (root / "inputs" / "outlines").mkdir()
    Image.fromarray(outlines).save(root / "inputs" / "outlines" / "a.png")
    (root / "inputs" / "metadata" / "outlines.csv").write_text(
        "Metadata_Plate,Metadata_Well,Metadata_Site,Outlines\nP1,A01,1,a.png\n"
    )
    first, second, *_ = read_sites(read_project(root))
    labels = first.read_objects().labels
    # Corners touch: one region. Equal value apart, or another value beside it: others.
    found = [labels[15, 15], labels[25, 25], labels[55, 55], labels[65, 55], labels[100, 100]]
    assert len(set(found)) == 4
    assert found[0] == found[1]
    assert found[4] == 0
    with pytest.raises(ImageError, match="names no outlines of site P1/A01/2"):
        second.read_objects()


def test_a_position_that_is_not_a_number_is_named(root):
    path = root / "inputs" / "locations" / "P1" / "A01-1-Nuclei.csv"
    path.write_text("Nuclei_Location_Center_X,Nuclei_Location_Center_Y\n1,north\n")
    with pytest.raises(SiteError, match=r"A01-1-Nuclei.csv has 'north' in row 1 of the column Nuc"):
        read_sites(read_project(root))[0].read_objects()


def test_sites_are_found_however_they_are_spelt(root):
    folder = root / "inputs" / "locations" / "P1"
    before = read_sites(read_project(root))[1].read_objects().centers
    (folder / "A01-2-Nuclei.csv").rename(folder / "a1-02-Nuclei.csv")
    after = read_sites(read_project(root))[1].read_objects().centers
    np.testing.assert_array_equal(after, before)
    shutil.copy(folder / "a1-02-Nuclei.csv", folder / "A01-2.0-Nuclei.csv")
    with pytest.raises(SiteError, match="which other programs write alike"):
        read_sites(read_project(root))[1].read_objects()


def test_missing_columns_and_double_sites_are_named(root):
    path = root / "inputs" / "metadata" / "index.csv"
    text = path.read_text()
    path.write_text(text.replace("Mito\n", "Mitochondria\n", 1))
    with pytest.raises(SiteError, match="has no column Mito; it has: Metadata_Plate"):
        read_sites(read_project(root))
    path.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(SiteError, match="has site P1/A01/1 twice, in its rows 1 and 5"):
        read_sites(read_project(root))


def test_what_is_no_project_is_named(tmp_path, root):
    with pytest.raises(SiteError, match="is no DeepProfiler project"):
        read_project(tmp_path)
    (root / "inputs" / "config" / "other.json").write_text("{}")
    with pytest.raises(SiteError, match=r"got 2 \(other.json, profile.json\); name one"):
        read_project(root)
    with pytest.raises(SiteError, match="is no configuration of DeepProfiler"):
        read_project(root, "other.json")
    assert read_project(root, "profile.json").box_px == 128
    configure(root, prepare__compression__scaling_factor=0.5)
    with pytest.raises(SiteError, match=r"images scaled by 0.5; only 1.0 is supported"):
        read_project(root, "profile.json")
    configure(root, prepare__compression__scaling_factor=1.0)
    configure(root, dataset__locations__mode="full_image")
    with pytest.raises(SiteError, match="asks for the mode full_image"):
        read_project(root, "profile.json")
