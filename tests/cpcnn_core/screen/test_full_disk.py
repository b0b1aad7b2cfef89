"""A disk that fills up stops the run at once; with room, it ends with the same bytes."""

import re
import sys

import pytest

from cpcnn_core.cli.main import main

from ...small_disk import needs_small_disk, run_on_small_disk
from .conftest import command_for, make_screen
from .test_embed import bytes_in

CPCNN = [sys.executable, "-m", "cpcnn_core.cli"]
SITES, CELLS, KIB_OF_A_SITE = 24, 20, 55
# As many features as fill a disk.
MODEL = "untrained-efficientnet-b0"
pytestmark = needs_small_disk


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("screen")
    make_screen(folder, wells=SITES, cells=CELLS, side=40)
    return folder


@pytest.fixture(scope="module")
def undisturbed(screen):
    out = screen / "undisturbed"
    command = [*command_for(screen, MODEL), "--tables", "parquet", "anndata", "--out", str(out)]
    assert main(command) == 0
    return out


@pytest.mark.parametrize(
    ("kib", "said"),
    [
        # Full in the midst of the sites; and while the tables are written, in the hands of HDF5,
        # which crashes when it is left alone.
        (1100, rf"error: \d+ of {SITES} sites are done; there is no room"),
        pytest.param(
            SITES * KIB_OF_A_SITE + 1700, r"to write \S+P[12].h5ad", marks=pytest.mark.long
        ),
    ],
)
def test_embedding_stops_and_goes_on(screen, undisturbed, tmp_path, kib, said):
    out = tmp_path / "out"
    command = [*CPCNN, *command_for(screen, MODEL), "--tables", "parquet", "anndata"]
    command += ["--out", out]
    (first, second), left = run_on_small_disk(out, kib, command)
    assert first["code"] == 1
    assert first["left"] == second["left"] == []
    assert re.search(said, first["err"])
    assert re.search(r"there is no room left on the disk to write \S+", first["err"])
    assert "make room and run the same again" in first["err"]
    assert first["err"].count("error") == 1
    assert (second["code"], "error" in second["err"]) == (0, False)
    assert bytes_in(left) == bytes_in(undisturbed)
