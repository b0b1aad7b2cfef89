"""Another Python that answers messages, so that napari's window never waits for its work."""

from __future__ import annotations

from cpcnn_core.child_processes import child_command
from cpcnn_core.worker.client import MessageProcess

NICENESS = 10


class ChildProcess(MessageProcess):
    """``python -m MODULE``, which speaks `cpcnn_core.worker.protocol`, behind the window's work.

    It ends with this process too, whatever it does: see `cpcnn_core.child_processes`.

    Parameters
    ----------
    module : str
        It greets with one message, then answers.
    name : str
        What it is, for error messages.
    """

    def __init__(self, module: str, name: str) -> None:
        super().__init__(child_command(module), name, niceness=NICENESS)
