"""What is said when a training cannot write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cpcnn_core.errors import TrainingError


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Say in one line why a file could not be written, e.g. on a full disk.

    Raises
    ------
    TrainingError

    Examples
    --------
    >>> with writing("a.safetensors"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    cpcnn_core.errors.TrainingError: a.safetensors cannot be written (No space left on device)...
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error.strerror or error}); what was written before is "
            "whole: make room and start the same training again, and it goes on"
        ) from error
