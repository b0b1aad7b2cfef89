"""Tables of features: their column names and the pair of features and metadata."""

from cpcnn_core.tables.columns import feature_names
from cpcnn_core.tables.profiles import Profiles

__all__ = ["Profiles", "feature_names"]
