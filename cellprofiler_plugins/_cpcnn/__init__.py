"""Code of MeasureCellPaintingCNN outside of CellProfiler; Python 3.8 and numpy only."""
