"""What MeasureCellPaintingCNN needs besides CellProfiler; Python 3.8 and numpy only."""
