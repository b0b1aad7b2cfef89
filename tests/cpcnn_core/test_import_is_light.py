"""What is imported is what is needed: nothing heavy before it is used."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "timm", "pandas", "matplotlib", "scipy", "pooch", "h5py"}
HOSTS = {"qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "napari", "cellprofiler", "wx"}
RUN = """
import contextlib
from cpcnn_core.cli.main import main
with contextlib.suppress(SystemExit): """


def loaded_by(code):
    code = f"{code}\nimport sys\nprint('loaded:', *sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(said.stdout.split("loaded:")[1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import cpcnn_core; cpcnn_core.__version__; dir(cpcnn_core)",
        "from cpcnn_core import feature_names; feature_names(3)",
        "from cpcnn_core import crop_cells, Field, ModelCard, Profiles, touches_border",
        "from cpcnn_core import list_models; list_models()",
        "import cpcnn_core.worker.server",
        "import cpcnn_core.hosts.install",
        f"{RUN}main(['--version'])",
        f"{RUN}main(['models', '--help'])",
        f"{RUN}main(['models', 'list'])",
        f"{RUN}main(['models', 'show', 'untrained-efficientnet-b0'])",
    ],
)
def test_nothing_heavy_is_loaded(code):
    assert loaded_by(code) & (HEAVY | HOSTS) == set()


def test_the_network_loads_torch_and_no_host():
    loaded = loaded_by("from cpcnn_core import load_model; load_model('untrained-efficientnet-b0')")
    assert {"torch", "timm"} <= loaded
    assert loaded & (HOSTS | {"pandas", "matplotlib", "h5py"}) == set()


def test_what_draws_is_loaded_when_something_is_drawn():
    drawing = {"matplotlib"}
    assert not loaded_by(f"{RUN}main(['design', '--help'])") & HEAVY
    for name in ("power", "evaluation", "comparison", "strong_treatments"):
        assert not loaded_by(f"import cpcnn_core.evaluation.{name}") & drawing, name


def test_every_public_name_is_there():
    import cpcnn_core

    assert set(cpcnn_core.__all__) == {
        *("crop_cells", "touches_border", "Field", "ModelCard", "Profiles", "feature_names"),
        *("Embedder", "embed_cells", "embed_field", "load_model", "list_models"),
        *("simulate_field", "train_model"),
        *(
            "aggregate",
            "CorrectedWells",
            "Correction",
            "fit_correction",
            "Sphering",
            "fit_sphering",
        ),
        *("TreatmentLibrary", "build_library", "evaluate_profiles"),
    }
    for name in cpcnn_core.__all__:
        assert getattr(cpcnn_core, name).__name__ == name
