"""\
MeasureCellPaintingCNN
======================

**MeasureCellPaintingCNN** measures deep-learning features of objects: a crop is cut
around every object in all channels and the Cell Painting CNN turns it into 672 numbers
that tell treatment effects apart better than classical features do (Moshkov et al.,
Nature Communications 2024).

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
the size of the object.

Measurements made by this module
^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

-  *CPCNN_000* to *CPCNN_671*: the features of each object.
-  *CPCNN_Model_<objects>* (experiment): name and checksum of the model that made them.

An object around whose centre nothing can be cut, for lack of a partner among the objects
that give the centres, has no value (NaN) and is named in the log.
"""

# Only the standard library, numpy and CellProfiler are imported here: a plugin that
# fails to import is dropped from a pipeline with everything after it, and the run says
# "Complete". What is next to this file in _cpcnn is imported when needed.
import importlib
import importlib.util
import logging
import os
import sys

import numpy as np
from cellprofiler_core.constants.measurement import COLTYPE_FLOAT, COLTYPE_VARCHAR, EXPERIMENT
from cellprofiler_core.module import Module
from cellprofiler_core.preferences import (
    ABSOLUTE_FOLDER_NAME,
    DEFAULT_INPUT_FOLDER_NAME,
    DEFAULT_INPUT_SUBFOLDER_NAME,
)
from cellprofiler_core.setting import Binary, Divider, HiddenCount, SettingsGroup, ValidationError
from cellprofiler_core.setting.choice import Choice
from cellprofiler_core.setting.do_something import DoSomething
from cellprofiler_core.setting.subscriber import ImageSubscriber, LabelSubscriber
from cellprofiler_core.setting.text import Directory, Filename, Text

LOGGER = logging.getLogger(__name__)

CATEGORY = "CPCNN"
MODEL_FEATURE = "CPCNN_Model"
MODEL_FILE = "Model file"
DEFAULT_MODEL = "cell-painting-cnn-v1"
BUILT_IN_MODELS = (DEFAULT_MODEL, "untrained-efficientnet-b0")
DEFAULT_CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
OWN_CENTERS = "The objects themselves"
AUTOMATIC = "Automatic"
# objects, centre objects, mask, model, its folder and file, Python, channel count
FIXED_SETTINGS = 8


class MeasureCellPaintingCNN(Module):  # noqa: D101  (help shows the text above)
    module_name = "MeasureCellPaintingCNN"
    category = "Measurement"
    variable_revision_number = 1

    def create_settings(self):
        self.objects = LabelSubscriber(
            "Select the objects to measure",
            "None",
            doc="Every one of these objects gets its features, usually the cells.",
        )
        self.center_objects = LabelSubscriber(
            "Measure around the centre of",
            OWN_CENTERS,
            can_be_blank=True,
            blank_text=OWN_CENTERS,
            doc="""\
The crop is cut around this centre. The published model was trained on crops around
nuclei: choose the nuclei here when you measure the cells that were found from them.
An object's partner is known from the identification modules (parent or child), else by
overlap; of several, the largest counts.""",
        )
        self.mask_neighbors = Binary(
            "Mask neighbouring cells?",
            False,
            doc="""\
Select *Yes* to set every pixel of the crop outside the object to zero. The published
profiles were made without.""",
        )
        self.model = Choice(
            "Select the model",
            [*BUILT_IN_MODELS, MODEL_FILE],
            value=DEFAULT_MODEL,
            choices_fn=lambda pipeline: self._model_choices(),
            doc="""\
*%s* are the published weights: run ``cpcnn models fetch %s`` once.
*untrained-efficientnet-b0* has learned nothing and serves for trials and as a baseline.
Models imported with ``cpcnn models import`` are listed too; *%s* opens any other."""
            % (DEFAULT_MODEL, DEFAULT_MODEL, MODEL_FILE),
        )
        self.model_directory = Directory(
            "Model file location",
            dir_choices=[
                ABSOLUTE_FOLDER_NAME,
                DEFAULT_INPUT_FOLDER_NAME,
                DEFAULT_INPUT_SUBFOLDER_NAME,
            ],
            value=DEFAULT_INPUT_FOLDER_NAME + "|",
            allow_metadata=False,
            doc="The folder of the model file.",
        )
        self.model_file_name = Filename(
            "Model file name",
            "model.safetensors",
            get_directory_fn=self.model_directory.get_absolute_path,
            set_directory_fn=lambda path: self.model_directory.join_parts(
                *self.model_directory.get_parts_from_path(path)
            ),
            browse_msg="Choose the model file",
            exts=[("Model file (*.safetensors)", "*.safetensors")],
            doc="A file written by ``cpcnn models import``.",
        )
        self.python = Text(
            "Python with cpcnn",
            AUTOMATIC,
            doc="""\
*%s*: the Python that ``cpcnn cellprofiler install`` recorded, or the environment variable
CPCNN_PYTHON when it is set. To use another one, enter its path here."""
            % AUTOMATIC,
        )
        self.divider = Divider()
        self.channel_count = HiddenCount([], "Channel count")
        self.channels = []
        for name in DEFAULT_CHANNELS:
            self._add_channel(name)
        self.channel_count.set_sequence(self.channels)
        self.guess_button = DoSomething(
            "Fill in the images whose names tell their channel",
            "Guess from names",
            self._guess_images,
            doc="Look at the result: only images whose name fits one channel are filled in.",
        )
        self._pipeline = None

    def _add_channel(self, name):
        group = SettingsGroup()
        group.append("name", Text("Channel of the model", name, doc="Given by the model."))
        group.append(
            "image",
            ImageSubscriber(
                "Select the %s image" % name,
                "None",
                doc="The image of this channel; the model's order is kept by name.",
            ),
        )
        self.channels.append(group)

    def settings(self):
        fixed = [
            self.objects,
            self.center_objects,
            self.mask_neighbors,
            self.model,
            self.model_directory,
            self.model_file_name,
            self.python,
            self.channel_count,
        ]
        return fixed + [s for group in self.channels for s in (group.name, group.image)]

    def visible_settings(self):
        shown = [self.objects, self.center_objects, self.mask_neighbors, self.model]
        if self.model == MODEL_FILE:
            shown += [self.model_directory, self.model_file_name]
        shown += [self.python, self.divider]
        return shown + [group.image for group in self.channels] + [self.guess_button]

    def help_settings(self):
        # The per-channel settings repeat; one stands for all.
        first = [group.image for group in self.channels[:1]]
        return self.settings()[: FIXED_SETTINGS - 1] + first + [self.guess_button]

    def prepare_settings(self, setting_values):
        del self.channels[:]
        for name in setting_values[FIXED_SETTINGS::2]:
            self._add_channel(name)

    def on_activated(self, workspace):
        self._pipeline = workspace.pipeline

    def on_deactivated(self):
        self._pipeline = None

    def on_setting_changed(self, setting, pipeline):
        # Settings are equal when their values are; here it has to be this very one.
        followed = (self.model, self.model_directory, self.model_file_name, self.python)
        if any(setting is one for one in followed):
            self._follow_model()

    def _follow_model(self):
        """Ask for the channels that the chosen model has; images chosen by name stay."""
        try:
            names = self._card()["channels"]
        except RuntimeError:
            return  # validate_module says why
        if names == [group.name.value for group in self.channels]:
            return
        images = {group.name.value: group.image.value for group in self.channels}
        del self.channels[:]
        for name in names:
            self._add_channel(name)
            self.channels[-1].image.value = images.get(name, "None")

    def _guess_images(self):
        if self._pipeline is None or not self.channels:
            return
        choices = self.channels[0].image.get_choices(self._pipeline)
        images = [choice[0] if isinstance(choice, tuple) else choice for choice in choices]
        guesses = _helper("channels").guess_images(
            [group.name.value for group in self.channels], images
        )
        for group in self.channels:
            group.image.value = guesses.get(group.name.value, group.image.value)

    # ---- before the run -------------------------------------------------------------

    def validate_module(self, pipeline):
        """Find what would stop the run or spoil its results."""
        try:
            card = self._card()
        except RuntimeError as error:
            raise ValidationError(str(error), self.model) from error
        expected, found = card["channels"], [group.name.value for group in self.channels]
        if expected != found:
            raise ValidationError(
                "%s takes %d channels (%s), this module was set up for %d (%s). Choose the model "
                "again to get its channels."
                % (card["name"], len(expected), ", ".join(expected), len(found), ", ".join(found)),
                self.model,
            )
        complaint = _helper("sqlite_limit").sqlite_complaint(pipeline)
        if complaint:
            raise ValidationError(complaint, self.objects)

    def validate_module_warnings(self, pipeline):
        """Point out what may be meant but rarely is."""
        chosen = {}
        for group in self.channels:
            if group.image.value in chosen:
                raise ValidationError(
                    "%s is chosen for both %s and %s. The model expects a different image in each."
                    % (group.image.value, chosen[group.image.value], group.name.value),
                    group.image,
                )
            chosen[group.image.value] = group.name.value

    def prepare_run(self, workspace):
        # Without a window nobody has validated; an error here stops the run before
        # the first image set, and with an exit status other than 0.
        try:
            self.test_valid(workspace.pipeline)
        except ValidationError as error:
            raise RuntimeError(
                "%s cannot run: %s: %s" % (self.module_name, error.setting.text, _plain(error))
            ) from None
        try:
            self.validate_module_warnings(workspace.pipeline)
        except ValidationError as error:
            LOGGER.warning("%s: %s", self.module_name, error)
        workspace.measurements.add_experiment_measurement(
            self._model_measurement(), _identity(self._card())
        )
        return True

    def prepare_to_create_batch(self, workspace, fn_alter_path):
        self.model_directory.alter_for_create_batch_files(fn_alter_path)

    # ---- the run --------------------------------------------------------------------

    def run(self, workspace):
        """Measure the objects of one image set."""
        name = self.objects.value
        card = self._card(self._ask)
        self._check_model(workspace.measurements, card)
        objects = workspace.object_set.get_objects(name)
        if objects.volumetric:
            raise RuntimeError("%s are three-dimensional; this module measures 2D objects." % name)
        values = np.full((objects.count, len(card["features"])), np.nan)
        numbers, centers = self._numbers_and_centers(workspace, objects)
        if len(numbers):
            image = _helper("channels").stack_channels(
                workspace.image_set,
                {group.name.value: group.image.value for group in self.channels},
                name,
                objects.shape,
            )
            for chosen, labels in self._layers(objects, numbers):
                values[numbers[chosen] - 1] = self._embed(
                    workspace, card, image, numbers[chosen], centers[chosen], labels
                )
        for index, feature in enumerate(card["features"]):
            workspace.measurements.add_measurement(name, feature, values[:, index])
        if self.show_window:
            workspace.display_data.rows = [
                [name, str(len(numbers)), str(len(card["features"])), _identity(card)]
            ]

    def display(self, workspace, figure):
        figure.set_subplots((1, 1))
        figure.subplot_table(
            0,
            0,
            workspace.display_data.rows,
            col_labels=["Objects", "Measured", "Features", "Model"],
        )

    def volumetric(self):
        return False

    def _check_model(self, measurements, card):
        """Refuse a model that is not the one the run began with."""
        if not measurements.has_feature(EXPERIMENT, self._model_measurement()):
            return
        begun = measurements.get_experiment_measurement(self._model_measurement())
        if begun != _identity(card):
            raise RuntimeError(
                "The model was changed during the run: it began with %s, now there is %s. Start "
                "the run again." % (begun, _identity(card))
            )

    def _numbers_and_centers(self, workspace, objects):
        """Return the numbers of the objects to measure and the centres of their crops."""
        centers = _helper("centers")
        numbers, own = centers.centers_of(objects)
        if self.center_objects.is_blank or not len(numbers):
            return numbers, own
        name, center_name = self.objects.value, self.center_objects.value
        others = workspace.object_set.get_objects(center_name)
        partners = centers.partners(workspace.measurements, name, objects, center_name, others)
        found, around = centers.centers_of_partners(numbers, partners, others)
        if not found.all():
            self._warn(
                workspace,
                "%d of %d %s have no %s to measure around and get no features; their numbers: %s"
                % (
                    np.count_nonzero(~found),
                    len(numbers),
                    name,
                    center_name,
                    ", ".join(str(n) for n in numbers[~found]),
                ),
            )
        return numbers[found], around

    def _layers(self, objects, numbers):
        """Yield (which of the numbers, label image or None) to embed together."""
        if not self.mask_neighbors:
            yield slice(None), None
            return
        left = np.ones(len(numbers), bool)
        for labels, indices in objects.get_labels():
            # Labels that overlap lie in several planes; each object is in one.
            chosen = left & np.isin(numbers, indices)
            if chosen.any():
                left &= ~chosen
                yield chosen, labels.astype(np.int32)

    def _embed(self, workspace, card, image, numbers, centers, labels):
        request = {
            "type": "embed",
            "model": self._model(),
            "sha256": card["sha256"],
            "channels": [group.name.value for group in self.channels],
        }
        arrays = {"image": image, "centers": centers}
        if labels is not None:
            arrays.update(labels=labels, label_ids=numbers)
        try:
            answer, arrays = self._ask_with_arrays(request, arrays)
        except RuntimeError as error:
            raise RuntimeError(
                "%s could not measure %s in image set %d: %s"
                % (
                    self.module_name,
                    self.objects.value,
                    workspace.measurements.image_set_number,
                    error,
                )
            ) from error
        for warning in answer["warnings"]:
            self._warn(workspace, warning)
        return arrays["features"]

    def _warn(self, workspace, text):
        number = workspace.measurements.image_set_number
        LOGGER.warning("%s: image set %d: %s", self.module_name, number, text)

    # ---- what the measurements are called ---------------------------------------------

    def get_measurement_columns(self, pipeline):
        features = self._features()
        if not features:
            return []
        columns = [(self.objects.value, feature, COLTYPE_FLOAT) for feature in features]
        return [*columns, (EXPERIMENT, self._model_measurement(), COLTYPE_VARCHAR)]

    def get_categories(self, pipeline, object_name):
        if object_name == self.objects.value:
            return [CATEGORY]
        return [CATEGORY] if object_name == EXPERIMENT else []

    def get_measurements(self, pipeline, object_name, category):
        if category != CATEGORY:
            return []
        if object_name == self.objects.value:
            return [feature[len(CATEGORY) + 1 :] for feature in self._features()]
        if object_name == EXPERIMENT:
            return [self._model_measurement()[len(CATEGORY) + 1 :]]
        return []

    def _model_measurement(self):
        return "%s_%s" % (MODEL_FEATURE, self.objects.value)

    def _features(self):
        try:
            return self._card()["features"]
        except RuntimeError:
            return []

    # ---- the worker -----------------------------------------------------------------

    def _model(self):
        """Return the chosen model as the worker knows it: a name or a path."""
        if self.model != MODEL_FILE:
            return self.model.value
        folder = self.model_directory.get_absolute_path()
        return os.path.join(folder, self.model_file_name.value)

    def _model_choices(self):
        try:
            names = self._remembered({"type": "models"})["names"]
        except RuntimeError:
            names = list(BUILT_IN_MODELS)
        # A model that another machine has stays chosen; validate_module speaks of it.
        others = [self.model.value] if self.model.value not in [*names, MODEL_FILE] else []
        return [*names, *others, MODEL_FILE]

    def _card(self, ask=None):
        """Return the chosen model's card, with the names of its features."""
        answer = (ask or self._remembered)({"type": "describe", "model": self._model()})
        return dict(answer["card"], features=answer["features"])

    def _remembered(self, request):
        return _helper("memory").remembered(self.python.value, request, self._ask)

    def _ask(self, request):
        return self._ask_with_arrays(request)[0]

    def _ask_with_arrays(self, request, arrays=None):
        python, _ = _helper("python_finder").find_python(self.python.value)
        return _helper("client").ask(python, request, arrays)


def _identity(card):
    sha256 = card["sha256"]
    return "%s sha256:%s" % (card["name"], sha256) if sha256 else card["name"]


def _plain(error):
    """Say in a user's words what CellProfiler says in its own."""
    if "No prior instances" in str(error):
        return "nothing before this module makes one; place it after the modules that do."
    return str(error)


def _helper(name):
    """Import a module of the folder ``_cpcnn`` beside this file, wherever that lies."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_cpcnn")
    package = "_cpcnn"
    if package not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            package, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )
        loaded = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(loaded)
        except OSError:
            raise RuntimeError(
                "The folder %s, which belongs to the module MeasureCellPaintingCNN, is missing. "
                "Run cpcnn cellprofiler install again, where cpcnn is installed." % folder
            ) from None
        sys.modules[package] = loaded
    return importlib.import_module("%s.%s" % (package, name))
