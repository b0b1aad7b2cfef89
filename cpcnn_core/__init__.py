"""Deep-learning features of cells: crop, embed, profile.

Importing this package is cheap: a name is looked up when it is first used, and
only then torch is loaded.
"""

import logging as _logging

import lazy_loader as _lazy

__version__ = "0.1.0"

# As libraries do: who uses this one decides what is heard of it. See `cpcnn_core.user_messages`.
_logging.getLogger(__name__).addHandler(_logging.NullHandler())

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "embedding.cells": ["embed_cells", "embed_field"],
        "imaging.crops": ["crop_cells", "touches_border"],
        "embedding.embedder": ["Embedder", "load_model"],
        "imaging.field": ["Field"],
        "models.card": ["ModelCard"],
        "models.registry": ["list_models"],
        "profiles.aggregate": ["aggregate"],
        "evaluation.evaluation": ["evaluate_profiles"],
        "profiles.corrected_wells": ["CorrectedWells"],
        "profiles.correction": ["Correction", "fit_correction"],
        "profiles.library": ["TreatmentLibrary", "build_library"],
        "profiles.correction_steps": ["Sphering", "fit_sphering"],
        "simulation.field": ["simulate_field"],
        "schema.columns": ["feature_names"],
        "schema.profiles": ["Profiles"],
        "training.fit": ["train_model"],
    },
)
