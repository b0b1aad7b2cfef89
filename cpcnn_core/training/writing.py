"""The message when a training cannot write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cpcnn_core.disk import told_if_full
from cpcnn_core.errors import DiskFullError, TrainingError


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Say in one line why a file could not be written.

    Raises
    ------
    DiskFullError
    TrainingError
        Any other reason.

    Examples
    --------
    >>> with writing("a.safetensors"):
    ...     raise OSError(27, "File too large")
    Traceback (most recent call last):
    cpcnn_core.errors.TrainingError: a.safetensors cannot be written (File too large)...
    """
    try:
        with told_if_full(path):
            yield
    except DiskFullError:
        raise
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error.strerror or error}); what was written before is "
            "whole: make room and start the same training again, and it resumes"
        ) from error
