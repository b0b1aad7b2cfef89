"""Requests to the module without CellProfiler and its settings."""

from cellprofiler_plugins._cpcnn.request import MeasurementRequest
from cellprofiler_plugins._cpcnn.worker_client import WorkerChoice

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")


def request_of(**changed):
    """Return what a module with five channels and no other wishes asks for."""
    values = {
        "module_name": "MeasureCellPaintingCNN",
        "module_number": 1,
        "unit": "Objects",
        "objects": "Cells",
        "center_objects": None,
        "mask_neighbors": False,
        "model": "untrained-efficientnet-b0",
        "channels": tuple((name, f"Orig{name}") for name in CHANNELS),
        "um_per_px": "Unknown",
        "prefix": None,
        "worker": WorkerChoice("Automatic", "Automatic"),
        "library": None,
    }
    return MeasurementRequest(**{**values, **changed})
