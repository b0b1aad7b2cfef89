"""One screen, one command, models of every kind: only the name changes."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from cpcnn_core.cli.main import main

from ...four_models import MODELS, make_models
from .conftest import command_for


@pytest.fixture(scope="module")
def tables(screen, tmp_path_factory):
    """The cells of a plate as every model sees them, by the model's name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CPCNN_HOME", str(tmp_path_factory.mktemp("home")))
        make_models()
        words, found = command_for(screen), {}
        place = words.index("--model") + 1
        for name in MODELS:
            out = tmp_path_factory.mktemp(name)
            words[place] = name
            assert main([*words, "--engine", "torch", "--out", str(out)]) == 0
            found[name] = out / "plates" / "P1.parquet"
        yield {name: pq.read_table(path) for name, path in found.items()}, found


def test_every_model_names_its_own_features(tables):
    for name, (count, prefix) in MODELS.items():
        table = tables[0][name]
        features = [column for column in table.column_names if column.startswith("Cells_")]
        assert (len(features), features[0]) == (count, f"Cells_{prefix}_000")
        values = np.column_stack([table[column].to_numpy() for column in features])
        assert np.isfinite(values).all()
        assert np.ptp(values, axis=0).max() > 0
        assert set(table["Metadata_Model"].to_pylist()) == {name}


def test_all_saw_the_same_cells(tables):
    keys = [
        table.select(["Metadata_Well", "Metadata_ObjectNumber"]).to_pydict()
        for table in tables[0].values()
    ]
    assert all(key == keys[0] for key in keys)


def test_tables_of_two_models_are_not_put_together(tables, tmp_path, capsys):
    both = [str(tables[1][name]) for name in ("bag", "grey")]
    assert main(["profile", *both, "--out", str(tmp_path / "wells.parquet")]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "different features: 480 from Cells_TestResnet_000, 320 from Cells_TestVit_000" in error
