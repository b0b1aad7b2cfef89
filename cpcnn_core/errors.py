"""Errors that users see: one base class and children that also are builtins.

Every message says what was expected, what came, and what to do next, so that a
host (CellProfiler, napari, the command line) can show ``str(error)`` as it is.
"""

from collections.abc import Iterable, Iterator


def some_of(names: Iterable[object], shown: int = 5) -> str:
    """Write the first few of many names, and how many more there are.

    Examples
    --------
    >>> some_of("abcdefgh", 3), some_of([1, 2])
    ('a, b, c and 5 more', '1, 2')
    """
    texts = [str(name) for name in names]
    more = f" and {len(texts) - shown} more" if len(texts) > shown else ""
    return ", ".join(texts[:shown]) + more


def origins(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it comes from, what that comes from, and so on, each once.

    Examples
    --------
    >>> error = OSError("b")
    >>> error.__cause__ = ValueError("a")
    >>> list(origins(error))
    [OSError('b'), ValueError('a')]
    """
    # An error that a library raises once more comes from what was made of it: a circle.
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__


class CPCNNError(Exception):
    """Base class of every error that cpcnn raises on purpose."""


class ChannelError(CPCNNError, ValueError):
    """The channels of an image are not the channels a model was made for."""


class ImageError(CPCNNError, ValueError):
    """An image, a label image or object centres cannot be used as they are."""


class SiteError(CPCNNError, ValueError):
    """A screen's tables do not say what is needed, or contradict themselves."""


class CropError(CPCNNError, ValueError):
    """Crops handed to a model do not fit its card."""


class CropStoreError(CPCNNError, ValueError):
    """A store of crops is damaged, unfinished, or not what was asked for."""


class ModelNotFoundError(CPCNNError, FileNotFoundError):
    """No model of that name or file is on this machine."""


class WeightsError(CPCNNError, ValueError):
    """A weights file is damaged, or holds another network than expected."""


class LicenceError(CPCNNError, PermissionError):
    """A model's licence must be accepted before it is used."""


class DownloadError(CPCNNError, ConnectionError):
    """A model could not be downloaded."""


class ProfileError(CPCNNError, ValueError):
    """Profiles cannot be made, corrected or compared as asked."""


class TrainingError(CPCNNError, ValueError):
    """A network cannot be trained as asked, or with these cells."""


class DamageError(TrainingError):
    """A file that an earlier run of a training wrote is no longer as it was written."""


class TableError(SiteError, ProfileError):
    """A table cannot be read as it is: of a screen's sites, or of profiles."""


class JsonError(CPCNNError, ValueError):
    """A file is not the JSON that it should be."""


class DependencyError(CPCNNError, ImportError):
    """A package that is needed here is missing or broken."""


class DeviceError(CPCNNError, RuntimeError):
    """The device or precision asked for cannot be had."""


class ProtocolError(CPCNNError, RuntimeError):
    """The other end of the worker's pipe speaks another language."""


class PrivacyError(CPCNNError, PermissionError):
    """A folder that should be this user's alone is not."""


class HostError(CPCNNError, RuntimeError):
    """CellProfiler, or what it needs on this machine, is not as expected."""


class DiskFullError(CPCNNError, OSError):
    """There is no room left where files are to be written; it would fail for all that follow."""


class OutputError(CPCNNError, OSError):
    """A folder cannot be written to."""


class CancelledError(CPCNNError):
    """The caller's ``cancel`` said so; nothing is wrong."""


class CPCNNWarning(UserWarning):
    """Base class of every warning of cpcnn's: a sentence for users, like an error's."""


class EngineWarning(CPCNNWarning):
    """The faster engine cannot be used; the slower one is."""


class ModelWarning(CPCNNWarning):
    """Models that another package adds cannot be used."""


class CropWarning(CPCNNWarning):
    """Some crops hold little or nothing of the image."""


class ScaleWarning(CPCNNWarning):
    """Images are resampled to the scale that a model was trained at."""


class ProfileWarning(CPCNNWarning):
    """Some rows or features of profiles could not be used."""
