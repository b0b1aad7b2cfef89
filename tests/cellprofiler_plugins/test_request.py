"""What is set becomes plain values, and questions to the worker."""

import dataclasses
from types import SimpleNamespace

import pytest

from cellprofiler_plugins._cpcnn import measurement_columns
from cellprofiler_plugins._cpcnn.request import LibraryRequest, MeasurementRequest, SettingError
from cellprofiler_plugins._cpcnn.worker_client import WorkerChoice

from .plain_requests import request_of


def setting(value, **more):
    return SimpleNamespace(value=value, is_blank=False, **more)


def test_a_request_is_read_from_settings():
    module = SimpleNamespace(
        module_name="MeasureCellPaintingCNN",
        module_num=3,
        unit=setting("Objects"),
        objects=setting("Cells"),
        center_objects=SimpleNamespace(value="The objects themselves", is_blank=True),
        mask_neighbors=setting(True),
        model=setting("Model file"),
        model_directory=setting("", get_absolute_path=lambda: "/models"),
        model_file_name=setting("mine.safetensors"),
        channels=[
            SimpleNamespace(name=setting("DNA"), image=setting("OrigDNA")),
            SimpleNamespace(
                name=setting("ER"), image=SimpleNamespace(value="Leave out", is_blank=True)
            ),
        ],
        um_per_px=setting("0.5"),
        prefix=setting("Automatic"),
        python=setting("Automatic"),
        threads=setting("2"),
        wants_library=setting(False),
    )
    assert MeasurementRequest.from_settings(module) == request_of(
        module_number=3,
        mask_neighbors=True,
        model="/models/mine.safetensors",
        channels=(("DNA", "OrigDNA"), ("ER", None)),
        um_per_px="0.5",
        worker=WorkerChoice("Automatic", "2"),
    )


def test_questions_name_the_channels_where_some_are_left_out():
    request = request_of()
    assert request.model_question() == {"type": "describe", "model": request.model}
    some = request_of(channels=(("DNA", "A"), ("ER", None)), um_per_px=" 0.65 ")
    assert some.model_question()["channels"] == ["DNA"]
    assert "channels" not in some.model_question(whole=True)
    assert some.embed_question("1f") == {
        "type": "embed",
        "model": some.model,
        "sha256": "1f",
        "channels": ["DNA"],
        "um_per_px": 0.65,
    }
    library = LibraryRequest("/l.parquet", "Treatment", 3, "taxol", "Not asked yet")
    asked = some.library_question(library)
    assert (asked["type"], asked["by"], asked["mask_neighbors"]) == ("library", "Treatment", False)
    tiles = dataclasses.replace(some, unit="The whole image, in tiles")
    assert tiles.library_question(library, "compare")["mask_neighbors"] is None


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "half"])
def test_what_is_no_scale_names_its_setting(text):
    with pytest.raises(SettingError, match="positive number such as") as caught:
        request_of(um_per_px=text).scale()
    assert caught.value.setting == "um_per_px"
    # It has measurements of the same names all the same.
    assert len(measurement_columns.columns(request_of(um_per_px=text))) == 672 + 2
