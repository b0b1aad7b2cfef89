"""From an empty folder to measured cells: set up, run, look, report."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from cpcnn_core.demo.pipeline import add_module, widen_corner
from cpcnn_core.errors import HostError
from cpcnn_core.hosts.environment import CELLPROFILER_VERSION, create_environment
from cpcnn_core.hosts.foreign_python import code_command
from cpcnn_core.hosts.headless import run_pipeline
from cpcnn_core.hosts.install import install_plugin
from cpcnn_core.models.home import cpcnn_home

# The channels of ExampleFly as its pipeline names them, and their files' ends.
IMAGES = {"Blue": "CropBlue", "Green": "CropGreen", "Red": "CropRed"}
_MARKER = "made_by_cpcnn_demo.txt"
Report = Callable[[str], None]


def run_demo(
    out: str | Path, cellprofiler_python: str | Path | None = None, report: Report | None = None
) -> str:
    """Measure the ExampleFly images in headless CellProfiler, with our module.

    Parameters
    ----------
    out : str or Path
        Folder to write; one that an earlier demo has written is replaced.
    cellprofiler_python : str or Path, optional
        A Python with CellProfiler 4.2.8; default: one that is made, once.
    report : callable (str), optional
        Told what happens, a line at a time.

    Returns
    -------
    str
        What was measured and where it is, in a few lines.

    Raises
    ------
    HostError
        Something that is needed is missing, or CellProfiler ended with an error.

    Examples
    --------
    >>> run_demo("demo_output")  # doctest: +SKIP
    """
    from cpcnn_core.demo.picture import draw_cells
    from cpcnn_core.demo.summary import summarize
    from cpcnn_core.models.untrained import untrained_efficientnet_b0
    from cpcnn_core.models.weights import save_model

    report = report or (lambda _line: None)
    out = _empty_folder(Path(out).absolute())
    python = cellprofiler_python or create_environment(
        cpcnn_home() / f"cellprofiler-{CELLPROFILER_VERSION}", report=report
    )
    examples = _example_folder(python)
    report(f"real images: three fields of fly cells in {examples}")
    plugins = install_plugin(out / "plugins")
    model = out / "model.safetensors"
    card, weights = untrained_efficientnet_b0(tuple(IMAGES))
    card = save_model(model, card, weights)
    pipeline = out / "pipeline.cppipe"
    text = (examples / "ExampleFly.cppipe").read_text(encoding="utf-8")
    pipeline.write_text(add_module(widen_corner(text), model, IMAGES), encoding="utf-8")
    report("running CellProfiler on them, MeasureCellPaintingCNN included (about a minute)")
    run_pipeline(python, pipeline, out, images=examples / "images", plugins_directory=plugins)
    cells = summarize(out / "Cells.csv", card.embed_dim)
    picture = draw_cells(
        cells, sorted(out.glob("CroppedFlyImage*.tiff")), card.crop_px, out / "cells.png"
    )
    return (
        f"\n{len(cells.features)} cells in {cells.fields} fields were measured by CellProfiler, "
        f"each with {len(cells.features[0])} deep features beside {cells.classical} others.\n"
        f"  the measurements   {out / 'Cells.csv'} (also Nuclei, Cytoplasm, Image)\n"
        f"  the pipeline       {pipeline}\n"
        f"  the picture        {picture}\n"
        f"The model has learned nothing ({card.name}): it shows that all works, not biology. "
        "The published one takes the five channels of your own Cell Painting images: "
        "cpcnn models fetch cell-painting-cnn-v1"
    )


def _empty_folder(out: Path) -> Path:
    if out.exists() and any(out.iterdir()):
        if not (out / _MARKER).is_file():
            raise HostError(f"{out} holds other files; name another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARKER).write_text("cpcnn demo replaces everything in this folder.\n")
    return out


def _example_folder(python: str | Path) -> Path:
    """Find ExampleFly in the CellProfiler that this Python has."""
    code = "import importlib.util as u; print(u.find_spec('cellprofiler').origin)"
    try:
        # The Python that the user named, or that cpcnn made; the code is above, no shell.
        asked = subprocess.run(  # noqa: S603
            code_command([str(python)], code), capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise HostError(
            f"{python} has no CellProfiler; make one with: cpcnn cellprofiler create FOLDER"
        ) from error
    folder = Path(asked.stdout.strip()).parent / "data" / "examples" / "ExampleFly"
    if not (folder / "ExampleFly.cppipe").is_file():
        raise HostError(f"CellProfiler in {python} comes without its ExampleFly images ({folder})")
    return folder
