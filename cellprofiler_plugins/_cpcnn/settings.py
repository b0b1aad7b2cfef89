"""The module's settings: what they are, in which order a pipeline keeps them, and which show."""

from cellprofiler_core.preferences import (
    ABSOLUTE_FOLDER_NAME,
    DEFAULT_INPUT_FOLDER_NAME,
    DEFAULT_INPUT_SUBFOLDER_NAME,
)
from cellprofiler_core.setting import Binary, Divider, HiddenCount, SettingsGroup
from cellprofiler_core.setting.choice import Choice
from cellprofiler_core.setting.do_something import DoSomething
from cellprofiler_core.setting.subscriber import ImageSubscriber, LabelSubscriber
from cellprofiler_core.setting.text import Directory, Filename, Integer, Text

from . import help_texts
from .models import (
    BUILT_IN_MODELS,
    DEFAULT_MODEL,
    MODEL_FILE,
    UNKNOWN,
    choices,
    licence_question,
)
from .python_finder import ALLOW, AUTOMATIC, SETTING, program_to_allow

OBJECTS = "Objects"
TILES = "The whole image, in tiles"
FIELD = "The whole image, shrunk to one crop"
UNITS = (OBJECTS, TILES, FIELD)
OWN_CENTERS = "The objects themselves"
NO_TREATMENT = "None"
LEFT_OUT = "Leave out"
DEFAULT_CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
MOST_NEIGHBORS = 10
# Of the first revision, in its order: what came later follows.
FIRST_REVISION = (
    "objects",
    "center_objects",
    "mask_neighbors",
    "model",
    "model_directory",
    "model_file_name",
    "python",
)
LATER = {
    "unit": OBJECTS,
    "prefix": "CPCNN",
    "threads": AUTOMATIC,
    "wants_library": "No",
    "library_directory": DEFAULT_INPUT_FOLDER_NAME + "|",
    "library_file_name": "profiles.parquet",
    "treatment_column": "Treatment",
    "neighbor_count": "3",
    "treatment": NO_TREATMENT,
}
# What came with the third revision.
LATEST = {"um_per_px": UNKNOWN}
# These are followed by name and image of every channel.
FIXED = (*FIRST_REVISION, *LATER, *LATEST, "channel_count")


def create(module):
    """Give the module its settings."""
    module.unit = Choice("Select what to measure", UNITS, OBJECTS, doc=help_texts.UNIT)
    module.objects = LabelSubscriber(
        "Select the objects to measure", "None", doc=help_texts.OBJECTS
    )
    module.center_objects = LabelSubscriber(
        "Measure around the centre of",
        OWN_CENTERS,
        can_be_blank=True,
        blank_text=OWN_CENTERS,
        doc=help_texts.CENTERS,
    )
    module.mask_neighbors = Binary("Mask neighbouring cells?", False, doc=help_texts.MASK)
    module.model = Choice(
        "Select the model",
        [*BUILT_IN_MODELS, MODEL_FILE],
        value=DEFAULT_MODEL,
        choices_fn=lambda pipeline: choices(module),
        doc=help_texts.MODEL,
    )
    module.model_directory = _directory("Model file location", help_texts.MODEL_DIRECTORY)
    module.model_file_name = _file_name(
        "Model file name",
        "model.safetensors",
        module.model_directory,
        [("Model file (*.safetensors)", "*.safetensors")],
        help_texts.MODEL_FILE_NAME,
    )
    module.accept_button = DoSomething(
        "Use the model as its licence allows",
        "Accept the licence",
        module.accept_licence,
        doc=help_texts.ACCEPT,
    )
    module.um_per_px = Text("Micrometres per pixel", UNKNOWN, doc=help_texts.UM_PER_PX)
    module.prefix = Text("Name of the measurements", AUTOMATIC, doc=help_texts.PREFIX)
    module.python = Text(SETTING, AUTOMATIC, doc=help_texts.PYTHON)
    module.allow_button = DoSomething(
        "Let pipelines start that program",
        ALLOW,
        module.allow_named_program,
        doc=help_texts.ALLOW,
    )
    module.threads = Text("CPU threads of the worker", AUTOMATIC, doc=help_texts.THREADS)
    _create_library_settings(module)
    module.divider = Divider()
    module.channel_count = HiddenCount([], "Channel count")
    module.channels = []
    for name in DEFAULT_CHANNELS:
        add_channel(module, name)
    module.channel_count.set_sequence(module.channels)
    module.guess_button = DoSomething(
        "Fill in the images whose names tell their channel",
        "Guess from names",
        module.guess_images,
        doc=help_texts.GUESS,
    )


def _create_library_settings(module):
    module.wants_library = Binary(
        "Compare with a library of treatments?", False, doc=help_texts.WANTS_LIBRARY
    )
    module.library_directory = _directory("Library location", help_texts.LIBRARY_DIRECTORY)
    module.library_file_name = _file_name(
        "Library file name",
        LATER["library_file_name"],
        module.library_directory,
        [("Profiles (*.parquet, *.csv)", "*.parquet;*.csv;*.csv.gz;*.h5ad")],
        help_texts.LIBRARY_FILE_NAME,
    )
    module.treatment_column = Text(
        "Column that names the treatment",
        LATER["treatment_column"],
        doc=help_texts.TREATMENT_COLUMN,
    )
    module.neighbor_count = Integer(
        "Number of nearest treatments",
        int(LATER["neighbor_count"]),
        minval=1,
        maxval=MOST_NEIGHBORS,
        doc=help_texts.NEIGHBOR_COUNT,
    )
    module.treatment = Text(
        "Compare each object with the treatment", NO_TREATMENT, doc=help_texts.TREATMENT
    )


def add_channel(module, name):
    """Add the settings of one channel of the model."""
    group = SettingsGroup()
    group.append("name", Text("Channel of the model", name, doc=help_texts.CHANNEL))
    group.append(
        "image",
        ImageSubscriber(
            "Select the %s image" % name,
            "None",
            can_be_blank=True,
            blank_text=LEFT_OUT,
            doc=help_texts.IMAGE,
        ),
    )
    module.channels.append(group)


def follow_channels(module, names):
    """Ask for these channels; images that were chosen for a name stay."""
    if names == [group.name.value for group in module.channels]:
        return
    images = {group.name.value: group.image.value for group in module.channels}
    del module.channels[:]
    for name in names:
        add_channel(module, name)
        module.channels[-1].image.value = images.get(name, "None")


def kept(module):
    """List the settings in the order in which a pipeline keeps them."""
    fixed = [getattr(module, name) for name in FIXED]
    return fixed + [s for group in module.channels for s in (group.name, group.image)]


def visible(module):
    """List the settings that the window shows now."""
    shown = [module.unit]
    if module.unit == OBJECTS:
        shown += [module.objects, module.center_objects, module.mask_neighbors]
    shown.append(module.model)
    if module.model == MODEL_FILE:
        shown += [module.model_directory, module.model_file_name]
    if licence_question(module):
        shown.append(module.accept_button)
    shown += [group.image for group in module.channels]
    shown += [module.guess_button, module.divider, module.wants_library]
    if module.wants_library:
        shown += [module.library_directory, module.library_file_name, module.treatment_column]
        shown.append(module.neighbor_count)
        if module.unit == OBJECTS:
            shown.append(module.treatment)
    shown += [module.um_per_px, module.prefix, module.python]
    if program_to_allow(module.python.value):
        shown.append(module.allow_button)
    return [*shown, module.threads]


def explained(module):
    """List the settings that the help explains; the first channel represents all."""
    names = ["unit", *(name for name in FIXED if name not in ("unit", "channel_count"))]
    first = [group.image for group in module.channels[:1]]
    buttons = [module.guess_button, module.accept_button, module.allow_button]
    return [getattr(module, name) for name in names] + first + buttons


def upgrade(values, revision):
    """Turn the values that an older revision kept into those of this one."""
    if revision == 1:
        count = len(FIRST_REVISION)
        values = [*values[:count], *LATER.values(), *values[count:]]
        revision = 2
    if revision == 2:
        count = len(FIRST_REVISION) + len(LATER)
        values = [*values[:count], *LATEST.values(), *values[count:]]
        revision = 3
    return values, revision


def _directory(text, doc):
    folders = [ABSOLUTE_FOLDER_NAME, DEFAULT_INPUT_FOLDER_NAME, DEFAULT_INPUT_SUBFOLDER_NAME]
    return Directory(
        text,
        dir_choices=folders,
        value=DEFAULT_INPUT_FOLDER_NAME + "|",
        allow_metadata=False,
        doc=doc,
    )


def _file_name(text, value, directory, kinds, doc):
    return Filename(
        text,
        value,
        get_directory_fn=directory.get_absolute_path,
        set_directory_fn=lambda path: directory.join_parts(*directory.get_parts_from_path(path)),
        browse_msg="Choose the file",
        exts=kinds,
        doc=doc,
    )
