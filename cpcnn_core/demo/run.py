"""From an empty folder to measured cells: set up, run, look, report.

The pipeline is ExampleFly, which comes with CellProfiler, with our module in it.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from cpcnn_core.demo.cells import NEAREST, Cells, draw_cells, neighbor_agreement, summarize
from cpcnn_core.errors import HostError
from cpcnn_core.hosts.environments import CELLPROFILER_VERSION, code_command, create_environment
from cpcnn_core.hosts.headless import run_pipeline
from cpcnn_core.hosts.install import install_plugin
from cpcnn_core.models.folders import cpcnn_home
from cpcnn_core.models.registry import PUBLISHED, WITHOUT_DOWNLOAD, find_model

# The channels of ExampleFly as its pipeline names them, and their files' ends.
IMAGES = {"Blue": "CropBlue", "Green": "CropGreen", "Red": "CropRed"}
# A fly's cell with what is around it; of the 128 px of the model's card neighbours are most.
CROP_PX = 48
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
    ModelNotFoundError
        The package of the network's weights is not installed.

    Examples
    --------
    >>> run_demo("demo_output")  # doctest: +SKIP
    """
    from cpcnn_core.models.opening import open_model
    from cpcnn_core.models.weights import save_model

    report = report or (lambda _line: None)
    # What is not installed is said before anything is made.
    find_model(WITHOUT_DOWNLOAD)
    out = _empty_folder(Path(out).absolute())
    python = cellprofiler_python or create_environment(
        cpcnn_home() / f"cellprofiler-{CELLPROFILER_VERSION}", report=report
    )
    examples = _example_folder(python)
    report(f"real images: three fields of fly cells in {examples}")
    plugins = install_plugin(out / "plugins")
    model = out / "model.safetensors"
    card, weights = open_model(WITHOUT_DOWNLOAD)
    card = dataclasses.replace(card.with_channels(tuple(IMAGES)), crop_px=CROP_PX)
    card = save_model(model, card, weights)
    pipeline = out / "pipeline.cppipe"
    text = (examples / "ExampleFly.cppipe").read_text(encoding="utf-8")
    pipeline.write_text(add_module(widen_corner(text), model, IMAGES), encoding="utf-8")
    report("running CellProfiler on them, MeasureCellPaintingCNN included (a minute or two)")
    run_pipeline(python, pipeline, out, images=examples / "images", plugins_directory=plugins)
    cells = summarize(out, card.embed_dim)
    picture = draw_cells(
        cells, sorted(out.glob("CroppedFlyImage*.tiff")), card.crop_px, out / "cells.png"
    )
    return (
        f"\n{len(cells.features)} cells in {cells.fields} fields were measured by CellProfiler, "
        f"each with {len(cells.features[0])} deep features beside {cells.classical} others.\n"
        f"  the measurements   {out / 'Cells.csv'} (also Nuclei, Cytoplasm, Image)\n"
        f"  the pipeline       {pipeline}\n"
        f"  the picture        {picture}\n"
        f"{agreement_text(cells)}\n"
        f"The network ({card.name}) was trained on photographs, not on cells. The published "
        "one takes the five channels of your own Cell Painting images: "
        f"cpcnn models fetch {PUBLISHED}"
    )


def agreement_text(cells: Cells) -> str:
    """Say how far cells that look alike to the network are alike."""
    said = []
    for name, values in cells.known.items():
        found, shuffled = neighbor_agreement(cells.features, cells.field, values)
        said.append(f"{name}, Spearman {found:.2f} (at most {shuffled:.2f} with shuffled values)")
    return (
        f"The {NEAREST} most similar cells of the other fields tell what a cell is like: "
        f"{'; '.join(said)}."
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


# The example measures a corner of 200 x 200 pixels, which has few cells.
_CORNER = (
    ("Left and right rectangle positions:501,700", "Left and right rectangle positions:101,800"),
    ("Top and bottom rectangle positions:251,450", "Top and bottom rectangle positions:101,800"),
)
# Each field is cropped by itself, so that some of them can be run alone (-f, -l).
_EVERY = (
    "Apply which cycle's cropping pattern?:First",
    "Apply which cycle's cropping pattern?:Every",
)
# "Images only" passes over all folders below one whose name begins with a dot, such as ~/.local,
# where cpcnn keeps CellProfiler.
_ANY_FOLDER = ("Filter images?:Images only", "Filter images?:No filtering")
_HEADING = re.compile(r"^(\w+):\[module_num:(\d+)\|", re.MULTILINE)


def add_module(
    pipeline: str,
    model_file: Path,
    images: Mapping[str, str],
    objects: str = "Cells",
    centers: str = "Nuclei",
) -> str:
    r"""Add MeasureCellPaintingCNN to a pipeline, after everything else is measured.

    Parameters
    ----------
    pipeline : str
        Text of a ``.cppipe`` file.
    model_file : Path
    images : mapping of str to str
        The image of each channel of the model, in the model's order.
    objects, centers : str
        The objects to measure, and those whose centres the crops are cut around.

    Returns
    -------
    str
        Text of the new pipeline.

    Raises
    ------
    HostError
        The pipeline has no ExportToSpreadsheet.

    Examples
    --------
    >>> text = "ModuleCount:1\n\nExportToSpreadsheet:[module_num:1|enabled:True]\n    A:B\n"
    >>> new = add_module(text, Path("m.safetensors"), {"DNA": "OrigBlue"})
    >>> [line for line in new.splitlines() if "module_num" in line][1][:34]
    'ExportToSpreadsheet:[module_num:2|'
    """
    exports = [m for m in _HEADING.finditer(pipeline) if m.group(1) == "ExportToSpreadsheet"]
    if not exports:
        raise HostError("the pipeline has no ExportToSpreadsheet to put the measurements out")
    place, number = exports[0].start(), int(exports[0].group(2))
    block = module_text(number, model_file, images, objects, centers)
    after = _HEADING.sub(
        lambda m: f"{m.group(1)}:[module_num:{int(m.group(2)) + 1}|", pipeline[place:]
    )
    count = len(_HEADING.findall(pipeline))
    before = pipeline[:place].replace(f"ModuleCount:{count}\n", f"ModuleCount:{count + 1}\n")
    return f"{before}{block}\n{after}"


def module_text(
    number: int, model_file: Path, images: Mapping[str, str], objects: str, centers: str
) -> str:
    """Write the module's part of a ``.cppipe`` file.

    Examples
    --------
    >>> module_text(7, Path("m.safetensors"), {"DNA": "A"}, "Cells", "Nuclei")[:37]
    'MeasureCellPaintingCNN:[module_num:7|'
    """
    folder = str(model_file.absolute().parent).replace("\\", "\\\\")
    settings = [
        ("Select the objects to measure", objects),
        ("Measure around the centre of", centers),
        ("Mask neighbouring cells?", "No"),
        ("Select the model", "Model file"),
        ("Model file location", f"Elsewhere...|{folder}"),
        ("Model file name", model_file.name),
        ("Python with cpcnn", "Automatic"),
        ("Channel count", len(images)),
    ]
    for channel, image in images.items():
        settings += [
            ("Channel of the model", channel),
            (f"Select the {channel} image", image),
        ]
    heading = (
        f"MeasureCellPaintingCNN:[module_num:{number}|svn_version:'Unknown'"
        "|variable_revision_number:1|show_window:False|notes:[]"
        "|batch_state:array([], dtype=uint8)|enabled:True|wants_pause:False]\n"
    )
    return heading + "".join(f"    {text}:{value}\n" for text, value in settings)


def widen_corner(pipeline: str) -> str:
    """Let the ExampleFly pipeline look at 700 x 700 pixels of each field, in any folder.

    Raises
    ------
    HostError
        This is not the pipeline that we know.

    Examples
    --------
    >>> widen_corner("something else")
    Traceback (most recent call last):
    cpcnn_core.errors.HostError: CellProfiler's ExampleFly pipeline is not the one of 4.2.8...
    """
    for old, new in (*_CORNER, _EVERY, _ANY_FOLDER):
        if old not in pipeline:
            raise HostError(
                f"CellProfiler's ExampleFly pipeline is not the one of 4.2.8 ({old!r} is missing); "
                "let the demo make its own CellProfiler: leave out --cellprofiler-python"
            )
        pipeline = pipeline.replace(old, new)
    return pipeline
