"""The module's settings: what they are, in which order a pipeline keeps them, and which show.

With the module itself and `MeasurementRequest.from_settings`, this is all that knows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellprofiler_core.preferences import (
    ABSOLUTE_FOLDER_NAME,
    DEFAULT_INPUT_FOLDER_NAME,
    DEFAULT_INPUT_SUBFOLDER_NAME,
    get_headless,
)
from cellprofiler_core.setting import (
    Binary,
    Divider,
    HiddenCount,
    SettingsGroup,
    ValidationError,
)
from cellprofiler_core.setting.choice import Choice
from cellprofiler_core.setting.do_something import DoSomething
from cellprofiler_core.setting.subscriber import ImageSubscriber, LabelSubscriber
from cellprofiler_core.setting.text import Directory, Filename, Integer, Text

from . import checks, help_texts
from .channel_names import guess_images
from .measurement_columns import NOT_ASKED, library_holds
from .request import (
    MODEL_FILE,
    NO_TREATMENT,
    OBJECTS,
    UNITS,
    UNKNOWN,
    MeasurementRequest,
    SettingError,
)
from .worker_client import ask, ask_remembering, forget
from .worker_python import ALLOW, AUTOMATIC, SETTING, WorkerError, allow_program, program_to_allow

if TYPE_CHECKING:
    from cellprofiler_core.module import Module
    from cellprofiler_core.pipeline import Pipeline
    from cellprofiler_core.setting import Setting

BUILT_IN_MODELS = (
    help_texts.DEFAULT_MODEL,
    "imagenet-efficientnet-lite0",
    "untrained-efficientnet-b0",
)
OWN_CENTERS = "The objects themselves"
LEFT_OUT = "Leave out"
DEFAULT_CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
MAX_NEIGHBORS = 10
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
# And with the fourth; hidden, see `measurement_columns`.
HIDDEN = {"library_holds": NOT_ASKED}
# These are followed by name and image of every channel.
FIXED = (*FIRST_REVISION, *LATER, *LATEST, *HIDDEN, "channel_count")

ALLOW_QUESTION = (
    "This pipeline wants to run the program\n\n%s\n\n"
    "A program can do whatever you can do: read, change and send your files. Allow it only if you "
    "know it and trust it, and the environment that it belongs to. Pipelines may then start it on "
    "this machine until you run: cpcnn cellprofiler forbid\n\nAllow it?"
)


def create(module: Module) -> None:
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
        value=help_texts.DEFAULT_MODEL,
        choices_fn=lambda pipeline: model_choices(module),
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


def _create_library_settings(module: Module) -> None:
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
        maxval=MAX_NEIGHBORS,
        doc=help_texts.NEIGHBOR_COUNT,
    )
    module.treatment = Text(
        "Compare each object with the treatment", NO_TREATMENT, doc=help_texts.TREATMENT
    )
    module.library_holds = Text("What the library holds", NOT_ASKED)


def add_channel(module: Module, name: str) -> None:
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


def model_choices(module: Module) -> list[str]:
    """List the models that can be chosen."""
    try:
        worker = MeasurementRequest.from_settings(module).worker
        names = ask_remembering(worker, {"type": "models"})["names"]
    except WorkerError:
        names = list(BUILT_IN_MODELS)
    # A model that another machine has stays chosen; the module's checks speak of it.
    others = [module.model.value] if module.model.value not in [*names, MODEL_FILE] else []
    return [*names, *others, MODEL_FILE]


def follow(module: Module, setting: Setting) -> None:
    """Fit the settings that depend on one that was changed."""
    # Settings are equal when their values are; here it has to be this very one.
    of_model = (module.model, module.model_directory, module.model_file_name, module.python)
    if any(setting is one for one in of_model):
        _follow_model(module)
    follow_library(module)


def _follow_model(module: Module) -> None:
    """Ask for the model's channels; images that were chosen for a name stay."""
    request = MeasurementRequest.from_settings(module)
    try:
        card = ask_remembering(request.worker, request.model_question(whole=True))["card"]
    except WorkerError:
        return  # `check` says why
    if card["channels"] == [channel for channel, _ in request.channels]:
        return
    images = {group.name.value: group.image.value for group in module.channels}
    del module.channels[:]
    for name in card["channels"]:
        add_channel(module, name)
        module.channels[-1].image.value = images.get(name, "None")


def follow_library(module: Module) -> None:
    """Find out what the library holds, for the names of the measurements."""
    request = MeasurementRequest.from_settings(module)
    module.library_holds.value = NOT_ASKED
    if request.library is None:
        return
    try:
        library = ask_remembering(request.worker, request.library_question(request.library))
    except WorkerError:
        return  # `check` says why
    module.library_holds.value = library_holds(library)


def guess_channel_images(module: Module, pipeline: Pipeline) -> None:
    """Fill in the images whose names tell their channel."""
    if not module.channels:
        return
    choices = module.channels[0].image.get_choices(pipeline)
    images = [choice[0] if isinstance(choice, tuple) else choice for choice in choices]
    guesses = guess_images([group.name.value for group in module.channels], images)
    for group in module.channels:
        group.image.value = guesses.get(group.name.value, group.image.value)


def accept_licence(module: Module) -> None:
    """Record, with the models, that the user accepts the licence of the model chosen."""
    request = MeasurementRequest.from_settings(module)
    ask(request.worker, {"type": "accept", "model": request.model})
    forget()


def _has_licence_to_accept(request: MeasurementRequest) -> bool:
    try:
        answer = ask_remembering(request.worker, request.model_question(whole=True))
    except WorkerError:
        return False
    return bool(answer["to_accept"])


def ask_to_allow(module: Module) -> None:
    """Ask whether pipelines may start the program of *Python with cpcnn*; allow it after a yes."""
    program = program_to_allow(module.python.value)
    if program is None or get_headless():
        return
    # Only with a window: CellProfiler without one has no wxPython.
    import wx

    answer = wx.MessageBox(
        ALLOW_QUESTION % program, "Allow a program", wx.YES_NO | wx.NO_DEFAULT | wx.ICON_WARNING
    )
    if answer != wx.YES:
        return
    try:
        allow_program(program)
    except WorkerError as error:
        wx.MessageBox(str(error), "Allow a program", wx.OK | wx.ICON_ERROR)
    forget()


def check(module: Module, pipeline: Pipeline) -> None:
    """Raise a ValidationError with the setting that has to be changed."""
    before = [
        MeasurementRequest.from_settings(other)
        for other in pipeline.modules()
        if other is not module
        and other.module_name == module.module_name
        and other.module_num < module.module_num
    ]
    try:
        library = checks.check(MeasurementRequest.from_settings(module), before)
    except SettingError as error:
        raise _complaint(module, error) from error
    # Another value of a setting makes CellProfiler list the columns again.
    module.library_holds.value = NOT_ASKED if library is None else library_holds(library)
    complaint = checks.sqlite_complaint(pipeline)
    if complaint:
        raise ValidationError(complaint, module.model)


def check_warnings(module: Module) -> None:
    """Raise a ValidationError for what may be meant but rarely is."""
    try:
        checks.check_warnings(MeasurementRequest.from_settings(module))
    except SettingError as error:
        raise _complaint(module, error) from error


def _complaint(module: Module, error: SettingError) -> ValidationError:
    setting = getattr(module, error.setting)
    if error.channel is not None:
        setting = next(g.image for g in module.channels if g.name.value == error.channel)
    return ValidationError(str(error), setting)


def plain(error: ValidationError) -> str:
    """Say in a user's words what CellProfiler says in its own."""
    if "No prior instances" in str(error):
        return "nothing before this module makes one; place it after the modules that do."
    return str(error)


def kept(module: Module) -> list[Setting]:
    """List the settings in the order in which a pipeline keeps them."""
    fixed = [getattr(module, name) for name in FIXED]
    return fixed + [s for group in module.channels for s in (group.name, group.image)]


def visible(module: Module) -> list[Setting]:
    """List the settings that the window shows now."""
    shown = [module.unit]
    if module.unit == OBJECTS:
        shown += [module.objects, module.center_objects, module.mask_neighbors]
    shown.append(module.model)
    if module.model == MODEL_FILE:
        shown += [module.model_directory, module.model_file_name]
    if _has_licence_to_accept(MeasurementRequest.from_settings(module)):
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


def explained(module: Module) -> list[Setting]:
    """List the settings that the help explains; the first channel represents all."""
    without_help = ("unit", "channel_count", *HIDDEN)
    names = ["unit", *(name for name in FIXED if name not in without_help)]
    first = [group.image for group in module.channels[:1]]
    buttons = [module.guess_button, module.accept_button, module.allow_button]
    return [getattr(module, name) for name in names] + first + buttons


def upgrade(values: list[str], revision: int) -> tuple[list[str], int]:
    """Turn the values that an older revision kept into those of this one."""
    if revision == 1:
        count = len(FIRST_REVISION)
        values = [*values[:count], *LATER.values(), *values[count:]]
        revision = 2
    if revision == 2:
        count = len(FIRST_REVISION) + len(LATER)
        values = [*values[:count], *LATEST.values(), *values[count:]]
        revision = 3
    if revision == 3:
        count = len(FIRST_REVISION) + len(LATER) + len(LATEST)
        values = [*values[:count], *HIDDEN.values(), *values[count:]]
        revision = 4
    return values, revision


def _directory(text: str, doc: str) -> Directory:
    folders = [ABSOLUTE_FOLDER_NAME, DEFAULT_INPUT_FOLDER_NAME, DEFAULT_INPUT_SUBFOLDER_NAME]
    return Directory(
        text,
        dir_choices=folders,
        value=DEFAULT_INPUT_FOLDER_NAME + "|",
        allow_metadata=False,
        doc=doc,
    )


def _file_name(
    text: str, value: str, directory: Directory, kinds: list[tuple[str, str]], doc: str
) -> Filename:
    return Filename(
        text,
        value,
        get_directory_fn=directory.get_absolute_path,
        set_directory_fn=lambda path: directory.join_parts(*directory.get_parts_from_path(path)),
        browse_msg="Choose the file",
        exts=kinds,
        doc=doc,
    )
