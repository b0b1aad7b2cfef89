"""Fixtures: the reference's downstream numbers, 516 wells of 120 treatments and controls."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.schema.profiles import Profiles

DOWNSTREAM = Path(__file__).parent / "data" / "downstream"


@pytest.fixture(scope="session")
def inputs():
    return dict(np.load(DOWNSTREAM / "inputs.npz"))


@pytest.fixture(scope="session")
def arrays():
    return dict(np.load(DOWNSTREAM / "expected_arrays.npz"))


@pytest.fixture(scope="session")
def scalars():
    return json.loads((DOWNSTREAM / "expected.json").read_text())


@pytest.fixture
def wells(inputs):
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": inputs["plate"],
            "Metadata_Well": inputs["well"],
            "Metadata_Treatment": inputs["treatment"],
        }
    )
    names = [f"Cells_CPCNN_{i:03d}" for i in range(48)]
    return Profiles(inputs["features"].copy(), metadata, names)
