"""Ask in CellProfiler's window whether pipelines may start the program that this one names."""

from cellprofiler_core.preferences import get_headless

from .memory import forget
from .python_finder import allow_program, program_to_allow

QUESTION = (
    "This pipeline wants to run the program\n\n%s\n\n"
    "A program can do whatever you can do: read, change and send your files. Allow it only if you "
    "know it and trust it, and the environment that it belongs to. Pipelines may then start it on "
    "this machine until you run: cpcnn cellprofiler forbid\n\nAllow it?"
)


def ask_to_allow(module):
    """Allow the program of the setting *Python with cpcnn* if the user says so."""
    program = program_to_allow(module.python.value)
    if program is None or get_headless():
        return
    # Only with a window: CellProfiler without one has no wxPython.
    import wx

    answer = wx.MessageBox(
        QUESTION % program, "Allow a program", wx.YES_NO | wx.NO_DEFAULT | wx.ICON_WARNING
    )
    if answer != wx.YES:
        return
    try:
        allow_program(program)
    except RuntimeError as error:
        wx.MessageBox(str(error), "Allow a program", wx.OK | wx.ICON_ERROR)
    forget()
