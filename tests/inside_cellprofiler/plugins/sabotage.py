"""Sabotage: a CellProfiler module that harms chosen image sets, for tests."""

import os
import threading

import numpy as np
from cellprofiler_core.module import Module
from cellprofiler_core.setting.text import Text


class Sabotage(Module):
    module_name = "Sabotage"
    category = "Other"
    variable_revision_number = 1

    def create_settings(self):
        self.deeds = Text("Image set and deed, e.g. 2=nan 4=kill", "")
        self.model_file = Text("Model file", "")

    def settings(self):
        return [self.deeds, self.model_file]

    def run(self, workspace):
        number = str(workspace.measurements.image_set_number)
        deeds = dict(deed.split("=") for deed in self.deeds.value.split())
        hidden = self.model_file.value + ".hidden"
        if os.path.exists(hidden):
            os.rename(hidden, self.model_file.value)
        image = workspace.image_set.get_image("OrigER")
        if deeds.get(number) == "nan":
            pixels = image.pixel_data.copy()
            pixels[3, 4] = np.nan
            image.pixel_data = pixels
        elif deeds.get(number) == "size":
            image.pixel_data = image.pixel_data[:-8].copy()
        elif deeds.get(number) == "remove":
            os.rename(self.model_file.value, hidden)
        elif deeds.get(number) == "kill":
            from _cpcnn import worker_client as client

            (worker,) = client._workers.values()
            # Stopped first: so it dies for certain while a request is under way.
            worker.process.send_signal(19)
            threading.Timer(1, worker.process.kill).start()
