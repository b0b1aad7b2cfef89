"""Which image shows which channel: one table of names, for all who guess."""

import ast
import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import cellprofiler_plugins
import cpcnn_core.channel_names
from cpcnn_core.channel_names import guess_images, told_channels
from cpcnn_core.errors import ChannelError
from cpcnn_core.io.load_data import match_images
from cpcnn_core.models.registry import known_cards

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
OURS = Path(cpcnn_core.channel_names.__file__)
PLUGINS = Path(next(iter(cellprofiler_plugins.__path__)), "_cpcnn", "channel_names.py")
# A name, and the one channel of Cell Painting that it tells; None where it leaves a doubt.
NAMES = {
    # CellProfiler's images.
    **{f"Orig{name}": name for name in CHANNELS},
    **{f"Corr{name}": name for name in CHANNELS},
    "CropDNA": "DNA",
    "OrigConA": "ER",
    "CorrER_2": "ER",
    "orig_er": "ER",
    "corr_dna": "DNA",
    "origdna": "DNA",
    "ORIGMITO": "Mito",
    "OrigHoechst": "DNA",
    "OrigPh_golgi": "AGP",
    "RescaledSyto": "RNA",
    "MaskedDNA": "DNA",
    "DNAIllumCorrected": "DNA",
    "BackgroundSubtractedER": "ER",
    # What is made of images.
    "IllumDNA": None,
    "illumdna": None,
    "Illum_ER": None,
    "MitoIllumFunction": None,
    "DNA_mask": None,
    "MaskER": None,
    "NucleiOutlines": None,
    "DNAOutlines": None,
    "dna_segmentation": None,
    "BackgroundRNA": None,
    # Dyes and targets, in whatever spelling.
    "w2ConA": "ER",
    "ConA": "ER",
    "Con A": "ER",
    "con-a": "ER",
    "Concanavalin A": "ER",
    "ConcanavalinA-488": "ER",
    "Endoplasmic": "ER",
    "endoplasmic reticulum": "ER",
    "ER-Tracker": "ER",
    "DAPI": "DNA",
    "dapi": "DNA",
    "DRAQ5": "DNA",
    "draq5": "DNA",
    "Hoechst33342": "DNA",
    "Hoechst 33342": "DNA",
    "HOECHST_33342": "DNA",
    "Nuclei": "DNA",
    "nucleus": "DNA",
    "SYTO14": "RNA",
    "SYTO 14": "RNA",
    "Syto-14": "RNA",
    "nucleoli": "RNA",
    "RNA": "RNA",
    "Phalloidin/WGA": "AGP",
    "wgaphalloidin": "AGP",
    "WGA": "AGP",
    "Golgi": "AGP",
    "AGP": "AGP",
    "Actin": "AGP",
    "F-actin": "AGP",
    "f_actin": "AGP",
    "Plasma": "AGP",
    "plasma membrane": "AGP",
    "MitoTracker Deep Red": "Mito",
    "MitoTrackerDeepRed": "Mito",
    "mitotracker": "Mito",
    "mitochondria": "Mito",
    "mito": "Mito",
    # Numbers and indices written onto words.
    "w1DNA": "DNA",
    "DNA1": "DNA",
    "ERch2": "ER",
    "ch1-DNA": "DNA",
    "ch02ER": "ER",
    "erch3": "ER",
    "488ER": "ER",
    "DNAz1": "DNA",
    "DNAimage": "DNA",
    "ERImage": "ER",
    # napari's layers and files of instruments.
    "site1 OrigDNA": "DNA",
    "DNA [1]": "DNA",
    "C1-plate1 DAPI": "DNA",
    "plate1_actin": "AGP",
    "A - 01(fld 1 wv DAPI - DAPI).tif": "DNA",
    "20200101_P1_A01_s3_w2-ERTracker.tif": "ER",
    "con_A01_DAPI.tif": "DNA",
    "plateE_r02c03_DAPI.tiff": "DNA",
    "r02c05f01p01-ch1sk1fk1fl1.tiff": None,
    "AS_09125_A01_s1_w1D5C0A2B3.tif": None,
    # Words that only hold one of these.
    **dict.fromkeys(("Filter", "Other", "Internal", "Layer", "water", "stainer", "imager")),
    **dict.fromkeys(("Mitotic", "mitosis", "Mycoplasma", "actinin", "ERK", "ERbB2", "ERalpha")),
    **dict.fromkeys(("siRNA", "sgRNA_plate2", "RNAi", "DNase", "SYTOX", "SYTO 61", "SYTO9")),
    **dict.fromkeys(("Brightfield", "Image [1]", "C05", "", "²", "Zelle ü")),
    "siRNA_DAPI": "DNA",
    "mitotic cells DNA": "DNA",
    # Two channels in one name.
    **dict.fromkeys(("MitoActin", "mito_actin", "ERSyto", "DNA-RNA", "dapi+phalloidin")),
}


def load(path):
    spec = importlib.util.spec_from_file_location("of_the_plugin", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_napari(channels, images):
    planes = pytest.importorskip("napari_cpcnn.planes")
    found = planes.guess_channels(channels, images)
    assert list(found) == list(channels)
    return {channel: image for channel, image in found.items() if image is not None}


GUESSES = [load(PLUGINS).guess_images, of_napari]


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_tells_its_channel_or_nothing(guess, name):
    expected = {} if NAMES[name] is None else {NAMES[name]: name}
    assert guess(CHANNELS, ["Brightfield", name]) == expected


@pytest.mark.parametrize("guess", GUESSES)
def test_of_all_pairs_of_names_none_is_taken_where_both_tell_a_channel(guess):
    for one, other in itertools.combinations([name for name in NAMES if NAMES[name]], 2):
        expected = {NAMES[one]: one, NAMES[other]: other} if NAMES[one] != NAMES[other] else {}
        assert guess(CHANNELS, [one, other]) == expected, (one, other)


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (["IllumDNA", "OrigDNA"], {"DNA": "OrigDNA"}),
        (["OrigDNA", "CropDNA"], {}),
        (["DNA", "DNA [1]", "OrigER"], {"ER": "OrigER"}),
        # What tells of two channels is in the way of both.
        (["MitoActin", "OrigMito", "OrigAGP"], {}),
        (["MitoActin", "OrigER"], {"ER": "OrigER"}),
        (["None", "Leave out", "OrigRNA"], {"RNA": "OrigRNA"}),
        (["OrigDNA", "OrigDNA"], {"DNA": "OrigDNA"}),
        ([], {}),
    ],
)
def test_two_candidates_are_no_guess(guess, images, expected):
    for order in itertools.permutations(images):
        assert guess(CHANNELS, list(order)) == expected


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize(
    ("channels", "images", "expected"),
    [
        (("DNA", "protein"), ["OrigProtein", "dapi"], {"DNA": "dapi", "protein": "OrigProtein"}),
        (
            ("microtubules",),
            ["corr_microtubules", "tubulin"],
            {"microtubules": "corr_microtubules"},
        ),
        (("CD45", "CD4"), ["CD4", "cd45 (PE)"], {"CD45": "cd45 (PE)", "CD4": "CD4"}),
        (("ch1", "ch10"), ["x_ch10", "x_ch01"], {"ch1": "x_ch01", "ch10": "x_ch10"}),
        (("Alexa 488",), ["Alexa488", "Alexa 568"], {"Alexa 488": "Alexa488"}),
        # Their own name, and no synonym.
        (("Hoechst",), ["DAPI"], {}),
        (
            ("Golgi", "Actin"),
            ["GolgiStack", "F-actin"],
            {"Golgi": "GolgiStack", "Actin": "F-actin"},
        ),
        (("DNA", "Hoechst"), ["Hoechst"], {}),
        # A doubtful candidate stays one.
        (("AGP", "Actin"), ["OrigAGP", "Actin"], {}),
        # A channel of Cell Painting that the model lacks makes a name doubtful too.
        (("Mito", "DNA"), ["MitoActin", "DNA"], {"DNA": "DNA"}),
        (("dna", "Er"), ["OrigDNA", "OrigER"], {"dna": "OrigDNA", "Er": "OrigER"}),
        (("all channels in one layer",), ["stack"], {}),
        (("+",), ["+", "DNA"], {}),
    ],
)
def test_other_channels_are_told_by_their_own_names(guess, channels, images, expected):
    assert guess(channels, images) == expected


def test_every_model_finds_images_that_bear_its_channels_names():
    for card in known_cards().values():
        for start in ("Orig", "", "w1", "plate-"):
            images = [f"{start}{channel}" for channel in card.channels]
            assert guess_images(card.channels, images) == dict(
                zip(card.channels, images, strict=True)
            )


def test_the_command_line_takes_no_guess_but_offers_it():
    columns = ["FileName_OrigDNA", "FileName_w2ConA", "FileName_SYTO14", "FileName_Mito [1]"]
    words = "is RNA, ER, Mito; .* --channels RNA=NAME, by the names perhaps RNA=SYTO14 ER=w2ConA M"
    with pytest.raises(ChannelError, match=words):
        match_images(columns, ("DNA", "RNA", "ER", "Mito"), {}, "load_data.csv")
    with pytest.raises(ChannelError, match=r"--channels ER=NAME$"):
        match_images(["FileName_ConA", "FileName_OldER"], ("ER",), {}, "load_data.csv")


def test_what_is_told_is_said_in_the_models_spelling():
    assert told_channels("origdna", ("DnA",)) == {"DnA"}
    assert told_channels("DNA", ()) == {"dna"}


def test_the_plugins_file_is_the_cores_to_the_byte():
    assert PLUGINS.read_bytes() == OURS.read_bytes()


def test_the_file_is_python_3_8_and_needs_nothing_else():
    tree = ast.parse(OURS.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            imported.add(node.module)
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
    code = "import runpy, sys; runpy.run_path(sys.argv[1])"
    subprocess.run([sys.executable, "-I", "-S", "-c", code, str(PLUGINS)], check=True)


def test_long_names_take_no_time():
    for name in ("corr" * 60 + "x", "mitotracker" * 22 + "x", "imgimage" * 30 + "x", "A" * 250):
        assert told_channels(name, CHANNELS) == set()
