"""What MeasureCellPaintingCNN does; Python 3.8, NumPy, psutil, and what CellProfiler has.

========================= ======================================================================
``settings``              the settings: made, kept, shown, checked; ``help_texts`` explains them
``request``               what is set, as plain values: all that follows gets nothing else
``checks``                what would stop a run or spoil its results
``measurement_columns``   names of the measurements, without the worker
``measure``               one image set: read, sent to the worker, written
``display``               what the window shows
``worker_client``         the worker's process, and its answers
``worker_python``         the Python that it runs in
========================= ======================================================================

Only ``settings`` needs CellProfiler to be loaded. Three files stand in the core, too, in equal
words: ``allowed_programs``, ``channel_names`` and ``protocol``.
"""
