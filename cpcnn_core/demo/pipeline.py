"""The ExampleFly pipeline that comes with CellProfiler, and our module in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cpcnn_core.errors import HostError

# The example measures a corner of 200 x 200 pixels; crops of 128 want more room.
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
