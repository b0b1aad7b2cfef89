"""Ask the worker on behalf of a module, whose settings tell which one."""

from . import client
from .memory import recall
from .python_finder import find_python
from .threads import worker_threads


def ask(module, header):
    """Return the header of the worker's answer."""
    return ask_with_arrays(module, header)[0]


def ask_with_arrays(module, header, arrays=None):
    """Return header and arrays of the worker's answer."""
    python, _ = find_python(module.python.value)
    return client.ask(python, header, arrays, worker_threads(module.threads.value))


def remembered(module, header):
    """As `ask`, or what was answered to the same question some seconds ago."""
    settings = module.python.value, module.threads.value
    return recall(settings, header, lambda asked: ask(module, asked))
