"""Requests that need a library of treatments, answered by real processes."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.schema.columns import feature_names
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.worker.protocol import read_message, write_message

from ...attacks import ATTACKS, is_refusal, refused_in_time
from ...saved_library import (  # noqa: F401
    fixture_cells,
    fixture_wells,
)


def start(module, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    )
    read_message(process.stdout)
    return process


@pytest.fixture
def ask():
    process = start("cpcnn_core.cli", "worker")

    def ask(header, arrays=None):
        write_message(process.stdin, header, arrays)
        return read_message(process.stdout)

    yield ask
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_a_process_answers_and_notices_a_library_that_changes(ask, tmp_path):
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"Metadata_Treatment": ["DMSO", "DMSO", "a", "b"]})
    features = rng.normal(size=(4, 672)).astype(np.float32)
    names = feature_names(672, compartment="Cells")
    made = {"model": "untrained-efficientnet-b0", "controls": "Treatment == 'DMSO'"}
    path = tmp_path / "l.parquet"
    write_profiles(Profiles(features, rows, names, made), path)
    header = {"library": str(path), "by": "Treatment", "model": "untrained-efficientnet-b0"}
    described = ask({"type": "library", **header})[0]
    assert (described["treatments"], described["controls"]) == (2, 2)
    query = {"type": "compare", "count": 1, "treatment": "b", **header}
    answer, arrays = ask(query, {"features": features[3:]})
    assert answer["nearest"] == [{"treatment": "b", "similarity": pytest.approx(1)}]
    np.testing.assert_allclose(arrays["like_treatment"], [1], atol=1e-6)
    assert answer["sha256"] == described["sha256"]
    rows.loc[3, "Metadata_Treatment"] = "c"
    write_profiles(Profiles(features, rows, names, made), path)
    assert "no treatment 'b'" in ask(query, {"features": features[3:]})[0]["message"]
    answer = ask({**query, "treatment": None}, {"features": features[3:]})[0]
    assert answer["nearest"][0]["treatment"] == "c"
    path.unlink()
    assert "there is no table" in ask({"type": "library", **header})[0]["message"]


def test_a_process_compares_the_channels_that_are_not_left_out(ask, tmp_path):
    rows = pd.DataFrame({"Metadata_Treatment": ["a", "b"]})
    names = feature_names(1024, "UntrainedRN", "Cells")
    made = {"model": "untrained-resnet18", "channels": "DNA,ER", "mask_neighbors": "False"}
    features = np.random.default_rng(4).normal(size=(2, 1024)).astype(np.float32)
    write_profiles(Profiles(features, rows, names, made), tmp_path / "l.parquet")
    header = {"type": "library", "library": str(tmp_path / "l.parquet"), "by": "Treatment"}
    header |= {"model": "untrained-resnet18", "channels": ["DNA", "ER"], "mask_neighbors": False}
    assert ask(header)[0]["treatments"] == 2
    for changes, words in (
        ({"channels": None}, "channels DNA,ER, here it is DNA,RNA,ER,AGP,Mito"),
        ({"channels": ["ER", "DNA"]}, "channels DNA,ER, here it is ER,DNA"),
        ({"mask_neighbors": True}, "mask_neighbors False, here it is True"),
    ):
        assert f"was made with {words}" in ask(header | changes)[0]["message"]


def test_what_reads_tables_is_loaded_when_a_library_is_asked_for():
    script = (
        "import sys; from cpcnn_core.worker.server import Worker; "
        "Worker('cpu').answer({'type': 'models'}, {}); "
        "print(sorted({'pandas', 'pyarrow', 'sklearn'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert (ended.stdout.strip(), ended.stderr) == ("[]", "")


@pytest.mark.parametrize("kind", ["library", "compare"])
def test_a_library_whose_controls_are_an_attack_is_refused_and_the_worker_goes_on(
    ask, wells, cells, tmp_path, kind
):
    made = tmp_path / "made"
    for name, attack in ATTACKS.items():
        path = tmp_path / f"{name}.parquet"
        wells.provenance["controls"] = attack.replace("{file}", str(made))
        write_profiles(wells, path)
        header = {"type": kind, "library": str(path), "by": "Treatment", "count": 1}
        with refused_in_time(made):
            answer, _ = ask(
                header | {"model": "untrained-efficientnet-b0"}, {"features": cells.features}
            )
        assert (answer["type"], answer["kind"]) == ("error", "ProfileError")
        assert is_refusal(answer["message"])
    assert ask({"type": "models"})[0]["type"] == "models"
