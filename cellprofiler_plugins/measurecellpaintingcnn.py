"""\
MeasureCellPaintingCNN
======================

**MeasureCellPaintingCNN** measures deep-learning features of objects: a crop is cut
around every object in all channels and the Cell Painting CNN turns it into 672 numbers
that tell treatment effects apart better than classical features do (Moshkov et al., 2024).

|

============ ============ ===============
Supports 2D? Supports 3D? Respects masks?
============ ============ ===============
YES          NO           NO
============ ============ ===============

What do I need as input?
^^^^^^^^^^^^^^^^^^^^^^^^

Objects, one grayscale image per channel of the model, and a Python in which *cpcnn* is
installed; ``cpcnn cellprofiler install`` has told this module where it is.

Place the module after those that identify the objects. The published model wants images
as they were taken; pixel values may be in any unit, since every crop is stretched by its
own darkest and brightest pixel in each channel. A crop is 128 x 128 pixels wide whatever
the size of the object. Fields without objects can be measured in tiles.

What do the settings mean?
^^^^^^^^^^^^^^^^^^^^^^^^^^

See below. What most people need: the objects, their nuclei as the centres to measure
around, and an image for each channel.

What do I get as output?
^^^^^^^^^^^^^^^^^^^^^^^^

The window shows the crops of some objects as the model sees them, and a map on which
objects with similar features are close together, for all image sets measured so far. With a
library, it names the treatments that the image looks like.

Measurements made by this module
^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

-  *CPCNN_000* to *CPCNN_671*: the features of each object, or of the image. *CPCNN* is the
   published model's name for them; other models have their own.
-  *CPCNN_Model_<objects>* (experiment): name and checksum of the model that made them.

With a library of treatments:

-  *CPCNNLike_Controls*: how near each object is to the negative controls; 1 where their
   mean is, 0.5 at the distance of half of the control wells, towards 0 far away.
-  *CPCNNLike_Treatment*: how much each object looks like the chosen treatment (cosine).
-  *CPCNNNearest_Treatment1_<objects>*, *CPCNNNearest_Similarity1_<objects>* and so on
   (image): the treatments that the image looks like, and how much.
-  *CPCNNNearest_PValue1_<objects>*, *CPCNNNearest_QValue1_<objects>* and so on (image): how
   often control wells look as much like the image, and the same corrected for the number of
   treatments; where the library has enough control wells.
-  *CPCNNNearest_LikeControls_<objects>* (image): how near the image is to the controls.
-  *CPCNN_Library_<objects>* (experiment): name and checksum of the library.
-  *CPCNN_PValues_<objects>* (experiment): what p-values compare with, or why there are none.

An object around whose centre nothing can be cut, for lack of a partner among the objects
that give the centres, has no value (NaN) and is named in the log.

How do I use the features?
^^^^^^^^^^^^^^^^^^^^^^^^^^

Single features have no meaning one could name; taken together they tell what cells look
like. Export them like any other measurement: pycytominer and CytoTable know them as
*Cells_CPCNN_000* and so on, ``cpcnn profile`` makes profiles of wells and removes batch
effects, and CellProfiler Analyst learns classes from them. *CPCNNLike_Controls* and
*CPCNNLike_Treatment* can be used in **FilterObjects** and **ClassifyObjects**.

Citation
^^^^^^^^

-  Moshkov N, Bornholdt M, Benoit S, et al. (2024) "Learning representations for
   image-based profiling of perturbations" *Nature Communications* 15:1594.
   (`link <https://doi.org/10.1038/s41467-024-45999-1>`__)
"""

# Only the standard library, numpy and CellProfiler are imported here: a plugin that
# fails to import is dropped from a pipeline with everything after it, and the run says
# "Complete". What is next to this file in _cpcnn is imported when needed.
from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Callable, ClassVar, cast

from cellprofiler_core.module import Module
from cellprofiler_core.setting import ValidationError

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from cellprofiler.gui.figure import Figure
    from cellprofiler_core.pipeline import Pipeline
    from cellprofiler_core.setting import Setting
    from cellprofiler_core.workspace import Workspace

LOGGER = logging.getLogger("cellprofiler_plugins")


class MeasureCellPaintingCNN(Module):  # noqa: D101  (help shows the text above)
    module_name = "MeasureCellPaintingCNN"
    category = "Measurement"
    variable_revision_number = 4
    doi: ClassVar = {
        "Please cite the following when using MeasureCellPaintingCNN:": (
            "https://doi.org/10.1038/s41467-024-45999-1"
        )
    }

    def create_settings(self) -> None:
        self._pipeline = None
        # A module that cannot be made is dropped from the pipeline, and the run says
        # "Complete": without its folder it is made all the same, and stops the run.
        self._missing = None
        try:
            _room("settings").create(self)
        except (RuntimeError, ImportError) as error:
            self._missing = str(error)

    def settings(self) -> list[Setting]:
        return [] if self._missing else _room("settings").kept(self)

    def visible_settings(self) -> list[Setting]:
        return [] if self._missing else _room("settings").visible(self)

    def help_settings(self) -> list[Setting]:
        return [] if self._missing else _room("settings").explained(self)

    def prepare_settings(self, setting_values: list[str]) -> None:
        if self._missing:
            return
        settings = _room("settings")
        del self.channels[:]
        for name in setting_values[len(settings.FIXED) :: 2]:
            settings.add_channel(self, name)

    def upgrade_settings(
        self, setting_values: list[str], variable_revision_number: int, module_name: str
    ) -> tuple[list[str], int]:
        if self._missing:
            return setting_values, self.variable_revision_number
        return _room("settings").upgrade(setting_values, variable_revision_number)

    def on_activated(self, workspace: Workspace) -> None:
        self._pipeline = workspace.pipeline
        if not self._missing:
            # As in a pipeline of an earlier version, which does not tell.
            _room("settings").follow_library(self)

    def on_deactivated(self) -> None:
        self._pipeline = None

    def on_setting_changed(self, setting: Setting, pipeline: Pipeline) -> None:
        _room("settings").follow(self, setting)

    def guess_images(self) -> None:
        """Fill in the images whose names tell their channel."""
        if self._pipeline is not None:
            _room("settings").guess_channel_images(self, self._pipeline)

    def accept_licence(self) -> None:
        """Write down that the user accepts the licence of the model chosen."""
        _room("settings").accept_licence(self)

    def allow_named_program(self) -> None:
        """Ask whether pipelines may start the Python that this one names."""
        _room("settings").ask_to_allow(self)

    def validate_module(self, pipeline: Pipeline) -> None:
        if not self._missing:
            _room("settings").check(self, pipeline)

    def validate_module_warnings(self, pipeline: Pipeline) -> None:
        if not self._missing:
            _room("settings").check_warnings(self)

    def prepare_run(self, workspace: Workspace) -> bool:
        if self._missing:
            raise RuntimeError(self._missing)
        # Without a window nothing was validated; an error here stops the run before
        # the first image set, and with an exit status other than 0.
        try:
            self.test_valid(workspace.pipeline)
        except ValidationError as error:
            raise RuntimeError(
                "%s cannot run: %s: %s"
                % (self.module_name, error.setting.text, _room("settings").plain(error))
            ) from None
        try:
            self.validate_module_warnings(workspace.pipeline)
        except ValidationError as error:
            LOGGER.warning("%s: %s", self.module_name, error)
        _room("measure").record_origin(_request(self), workspace.measurements)
        return True

    def prepare_to_create_batch(
        self, workspace: Workspace, fn_alter_path: Callable[..., str]
    ) -> None:
        self.model_directory.alter_for_create_batch_files(fn_alter_path)
        self.library_directory.alter_for_create_batch_files(fn_alter_path)

    def run(self, workspace: Workspace) -> None:
        _room("measure").measure(_request(self), workspace, show=bool(self.show_window))

    def display(self, workspace: Workspace, figure: Figure) -> None:
        _room("display").draw(workspace.display_data, figure)

    def volumetric(self) -> bool:
        return False

    def get_measurement_columns(self, pipeline: Pipeline) -> list[tuple[str, str, str]]:
        return [] if self._missing else _room("measurement_columns").columns(_request(self))

    def get_categories(self, pipeline: Pipeline, object_name: str) -> list[str]:
        if self._missing:
            return []
        return _room("measurement_columns").categories(_request(self), object_name)

    def get_measurements(self, pipeline: Pipeline, object_name: str, category: str) -> list[str]:
        if self._missing:
            return []
        return _room("measurement_columns").measurements(_request(self), object_name, category)


def _request(module: MeasureCellPaintingCNN) -> Any:  # noqa: ANN401  (of a file that is loaded)
    """Return what the settings ask for, as plain values."""
    return _room("request").MeasurementRequest.from_settings(module)


def _room(name: str) -> ModuleType:
    """Import a module of the folder ``_cpcnn`` beside this file, wherever that is."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_cpcnn")
    package = "_cpcnn"
    if package not in sys.modules:
        file = os.path.join(folder, "__init__.py")
        spec = importlib.util.spec_from_file_location(
            package, file, submodule_search_locations=[folder]
        )
        # There is one for each file of Python, whether it exists or not.
        loaded = importlib.util.module_from_spec(cast("ModuleSpec", spec))
        try:
            cast("Loader", loaded.__loader__).exec_module(loaded)
        except OSError:
            raise RuntimeError(
                "The folder %s, which belongs to the module MeasureCellPaintingCNN, is missing. "
                "Run cpcnn cellprofiler install again, where cpcnn is installed." % folder
            ) from None
        sys.modules[package] = loaded
    return importlib.import_module("%s.%s" % (package, name))
