"""How many threads a worker may use, so that all together use the machine once."""

import os
import re
import sys

import psutil

from .errors import WorkerError
from .python_finder import AUTOMATIC

# CellProfiler's analysis processes have this among their arguments.
ANALYSIS_ARGUMENT = "--work-announce"
VARIABLE = "OMP_NUM_THREADS"
# A pipeline of unknown origin must not bring the machine to a halt.
MOST_THREADS = 1024
NUMBER = re.compile(r"[0-9]{1,4}")


def worker_threads(setting):
    """Return the number of threads, or None: as many as the worker's Python takes."""
    if setting != AUTOMATIC:
        return int(checked_threads(setting))
    processes = analysis_processes()
    if processes < 2 or os.environ.get(VARIABLE):
        return None
    return max(1, usable_cores() // processes)


def checked_threads(setting):
    """Return the setting if it is *Automatic* or a number; else raise WorkerError."""
    if setting == AUTOMATIC or (NUMBER.fullmatch(setting) and 0 < int(setting) <= MOST_THREADS):
        return setting
    raise WorkerError(
        "Expected %s or a number of threads from 1 to %d, got %r."
        % (AUTOMATIC, MOST_THREADS, setting[:40])
    )


def analysis_processes():
    """Count this CellProfiler's analysis processes; 1 where this is none of them."""
    if not is_analysis_process():
        return 1
    try:
        siblings = psutil.Process().parent().children()
    except (psutil.Error, AttributeError):
        return 1
    return max(1, sum(_analyzes(process) for process in siblings))


def is_analysis_process():
    """Tell whether this is one of several processes that CellProfiler analyzes with."""
    return ANALYSIS_ARGUMENT in sys.argv


def usable_cores():
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _analyzes(process):
    try:
        return ANALYSIS_ARGUMENT in process.cmdline()
    except psutil.Error:
        return False
