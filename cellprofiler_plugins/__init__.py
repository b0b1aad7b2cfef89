"""CellProfiler modules of cpcnn: Python 3.8, no import that CellProfiler lacks."""
