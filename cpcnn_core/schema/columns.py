"""Column names that pycytominer, CytoTable and CellProfiler Analyst understand."""

from __future__ import annotations

METADATA_PREFIX = "Metadata_"
# Where an image is from, and what was done to its cells.
PLATE, WELL, SITE = "Metadata_Plate", "Metadata_Well", "Metadata_Site"
BATCH, STUDY = "Metadata_Batch", "Metadata_Study"
TREATMENT = "Metadata_Treatment"
# What is known of every cell, and of the model that embedded it.
IMAGE_NUMBER, OBJECT_NUMBER = "Metadata_ImageNumber", "Metadata_ObjectNumber"
CENTER_X, CENTER_Y = "Metadata_Location_Center_X", "Metadata_Location_Center_Y"
TOUCHES_BORDER = "Metadata_CropTouchesBorder"
MODEL = "Metadata_Model"
# What is known of a well: how many cells it is the mean of.
CELL_COUNT = "Metadata_CellCount"


def feature_names(dim: int, prefix: str = "CPCNN", compartment: str = "") -> list[str]:
    """Name the features of a model, zero padded so that they sort in order.

    Parameters
    ----------
    dim : int
        Number of features.
    prefix : str
        Short name of the tool, the category of the measurement in CellProfiler.
    compartment : str
        ``Cells``, ``Nuclei`` or ``Cytoplasm``: downstream programs take a column
        for a feature when it begins with one of these. Empty inside CellProfiler,
        which puts the object's name in front itself.

    Returns
    -------
    list of str

    Examples
    --------
    >>> feature_names(672, compartment="Cells")[-1]
    'Cells_CPCNN_671'
    >>> feature_names(1280)[7]
    'CPCNN_0007'
    """
    width = max(3, len(str(dim - 1)))
    start = f"{compartment}_" if compartment else ""
    return [f"{start}{prefix}_{i:0{width}d}" for i in range(dim)]


def metadata_column(name: str) -> str:
    """Put ``Metadata_`` in front, where it is not there yet.

    Examples
    --------
    >>> metadata_column("Well"), metadata_column("Metadata_Well")
    ('Metadata_Well', 'Metadata_Well')
    """
    return name if name.startswith("Metadata_") else f"Metadata_{name}"
