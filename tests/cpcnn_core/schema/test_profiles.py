"""Profiles: features and metadata side by side, or an error."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.schema.profiles import Profiles

FEATURES = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
NAMES = ["Cells_CPCNN_000", "Cells_CPCNN_001"]


def test_the_frame_has_metadata_first_then_the_features():
    rows = pd.DataFrame({"Metadata_Well": ["A01", "A01", "B02"], "Metadata_Site": [1, 2, 1]})
    frame = Profiles(FEATURES, rows, NAMES).to_frame()
    assert list(frame.columns) == ["Metadata_Well", "Metadata_Site", *NAMES]
    np.testing.assert_array_equal(frame[NAMES].to_numpy(), FEATURES)
    assert set(frame[NAMES].dtypes) == {np.dtype(np.float32)}
    assert frame["Metadata_Well"].tolist() == ["A01", "A01", "B02"]


def test_rows_belong_together_whatever_their_index():
    rows = pd.DataFrame({"Metadata_Well": ["A01", "B02", "C03"]}, index=[7, 3, 7])
    frame = Profiles(FEATURES, rows, NAMES).to_frame()
    assert frame["Cells_CPCNN_000"].tolist() == [1, 3, 5]
    assert frame.index.tolist() == [7, 3, 7]


def test_no_rows_make_an_empty_frame_with_all_columns():
    rows = pd.DataFrame({"Metadata_Well": []})
    frame = Profiles(np.zeros((0, 2), np.float32), rows, NAMES).to_frame()
    assert frame.shape == (0, 3)


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (3,), (2, 3)])
def test_features_of_another_shape_are_an_error(shape):
    rows = pd.DataFrame({"Metadata_Well": ["A01", "B02", "C03"]})
    with pytest.raises(ValueError, match=r"expected features of shape \(3, 2\)"):
        Profiles(np.zeros(shape, np.float32), rows, NAMES)


def test_a_metadata_column_without_its_prefix_is_named():
    rows = pd.DataFrame({"Metadata_Well": ["A01", "B02", "C03"], "Site": [1, 2, 3], 4: [1, 2, 3]})
    with pytest.raises(ValueError, match=r"begin with Metadata_, got \['Site', 4\]"):
        Profiles(FEATURES, rows, NAMES)
