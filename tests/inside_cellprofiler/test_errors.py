"""Whatever goes wrong with one image set is said plainly, and the next one is measured."""

import os
import shutil
import signal
import stat
import threading
import time

import numpy as np
import pytest
from conftest import SMALL_MODEL, Bench, squares

SHAPE = (200, 220)
LABELS = squares(SHAPE, {1: (60, 60), 2: (140, 150)})
MODEL = os.environ["CPCNN_TEST_MODEL"]


def whole(**replaced):
    return Bench().use_file(SMALL_MODEL).add_images(SHAPE, **replaced).add_objects(LABELS)


def client():
    import _cpcnn.worker_client

    return _cpcnn.worker_client


def only_worker():
    workers = list(client()._workers.values())
    assert len(workers) == 1
    return workers[0]


@pytest.fixture(scope="module")
def expected():
    client_loaded = whole()
    return client_loaded.run()


def test_one_worker_serves_every_image_set(expected):
    before = only_worker().process.pid
    for _ in range(3):
        np.testing.assert_array_equal(whole().run(), expected)
    assert only_worker().process.pid == before


def test_a_worker_that_died_between_image_sets_is_replaced(expected):
    first = only_worker()
    first.process.kill()
    first.process.wait()
    np.testing.assert_array_equal(whole().run(), expected)
    assert only_worker().process.pid != first.process.pid


def test_a_worker_killed_while_it_embeds_is_an_error_and_the_next_set_is_measured(expected):
    many = np.zeros(SHAPE, np.int32)
    many[::4, ::4] = np.arange(1, 50 * 55 + 1).reshape(50, 55)
    bench = Bench().use_file(SMALL_MODEL).add_images(SHAPE).add_objects(many)
    worker = only_worker()
    killer = threading.Timer(0.5, worker.process.kill)
    killer.start()
    with pytest.raises(RuntimeError) as error:
        bench.run()
    killer.join()
    assert "could not measure Cells in image set 1" in str(error.value)
    assert "ended with exit status %d" % -signal.SIGKILL in str(error.value)
    assert not bench.measurements.has_current_measurements("Cells", "CPCNN_000")
    np.testing.assert_array_equal(whole().run(), expected)


def test_a_model_file_that_disappears(tmp_path, expected):
    path = tmp_path / "model.safetensors"
    shutil.copy(MODEL, str(path))
    bench = whole().use_file(path)
    bench.run()
    path.unlink()
    with pytest.raises(RuntimeError, match=r"there is no model file .*model.safetensors"):
        whole().use_file(path).run()
    shutil.copy(MODEL, str(path))
    np.testing.assert_array_equal(whole().use_file(path).run(), bench.features())
    np.testing.assert_array_equal(whole().run(), expected)


def test_a_model_that_changes_during_the_run(tmp_path):
    path = tmp_path / "model.safetensors"
    shutil.copy(MODEL, str(path))
    bench = whole().use_file(path)
    bench.measurements.add_experiment_measurement("CPCNN_Model_Cells", "model sha256:another")
    with pytest.raises(RuntimeError, match=r"it began with model sha256:another, now there is unt"):
        bench.run()


def test_an_image_of_another_size():
    bench = whole(AGP=np.zeros((200, 210), np.float32))
    with pytest.raises(RuntimeError) as error:
        bench.run()
    assert "OrigAGP (for AGP) is 200 x 210 pixels" in str(error.value)
    assert "Cells were found on 200 x 220" in str(error.value)


def test_a_pixel_that_is_not_a_number():
    pixels = np.zeros(SHAPE, np.float32)
    pixels[7, 11] = np.nan
    with pytest.raises(RuntimeError, match=r"OrigER .for ER. has 1 pixels .* x 11, y 7"):
        whole(ER=pixels).run()


def test_a_colour_image():
    with pytest.raises(ValueError, match=r"grayscale"):
        whole(DNA=np.random.RandomState(0).uniform(size=(*SHAPE, 3))).run()


def test_objects_in_three_dimensions():
    bench = Bench().add_images(SHAPE).add_objects(np.ones((3, 20, 20), np.int32))
    with pytest.raises(RuntimeError, match=r"three-dimensional"):
        bench.run()


def test_a_python_that_does_not_exist(monkeypatch):
    monkeypatch.setenv("CPCNN_PYTHON", "/no/such/python")
    with pytest.raises(
        RuntimeError,
        match=r"no Python at /no/such/python, which is named by the environment variable CPCNN_PY",
    ):
        whole().run()


def test_a_python_without_cpcnn():
    import sys

    bench = whole()
    bench.module.python.value = allowed(sys.executable)
    with pytest.raises(RuntimeError, match=r"has no cpcnn. Enter the path of a Python that has it"):
        bench.run()


def allowed(path):
    import _cpcnn.worker_python

    _cpcnn.worker_python.allow_program(path)
    return path


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return allowed(str(path))


def test_a_program_that_is_no_python(tmp_path):
    bench = whole()
    bench.module.python.value = script(tmp_path / "python", "echo hello; exec sleep 60\n")
    with pytest.raises(
        RuntimeError, match=r"cannot be read: expected the length of a message header"
    ):
        bench.run()


def test_a_worker_that_fails_says_its_last_lines(tmp_path):
    bench = whole()
    bench.module.python.value = script(tmp_path / "python", "echo lost my way >&2; exit 3\n")
    with pytest.raises(RuntimeError, match=r"(?s)exit status 3.*lost my way"):
        bench.run()


def test_a_worker_that_falls_silent_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(client(), "HELLO_SECONDS", 1)
    bench = whole()
    bench.module.python.value = script(tmp_path / "python", "exec sleep 60\n")
    started = time.time()
    with pytest.raises(RuntimeError, match=r"has said nothing for 1 seconds and was ended"):
        bench.run()
    assert time.time() - started < 30


def test_foreign_libraries_do_not_reach_the_worker(monkeypatch, expected):
    client().close_all()
    folder = os.path.dirname(os.path.dirname(np.__file__))
    monkeypatch.setenv("PYTHONPATH", folder)
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    np.testing.assert_array_equal(whole().run(), expected)


def test_a_missing_helper_folder_stops_the_run_and_is_named(tmp_path):
    import subprocess
    import sys

    shutil.copy(
        os.path.join(os.environ["CPCNN_TEST_PLUGINS"], "measurecellpaintingcnn.py"), str(tmp_path)
    )
    code = (
        "import sys; sys.path.insert(0, %r)\n"
        "import cellprofiler_core.preferences as p; p.set_headless()\n"
        "import measurecellpaintingcnn as m\n"
        "module = m.MeasureCellPaintingCNN()\n"
        "assert module.settings() == module.get_measurement_columns(None) == []\n"
        "try: module.prepare_run(None)\n"
        "except Exception as e: print(type(e).__name__, e)" % str(tmp_path)
    )
    said = subprocess.check_output([sys.executable, "-c", code], universal_newlines=True)
    assert said.startswith("RuntimeError The folder")
    assert "cpcnn cellprofiler install" in said


def test_workers_end_with_their_parent(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys, os; sys.path.insert(0, %r)\n"
        "from _cpcnn.worker_client import WorkerChoice, ask, _workers\n"
        "ask(WorkerChoice('Automatic', 'Automatic'), {'type': 'models'})\n"
        "print(next(iter(_workers.values())).process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)" % os.environ["CPCNN_TEST_PLUGINS"]
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, universal_newlines=True
    )
    worker = int(run.communicate()[0])
    for _ in range(100):
        if not os.path.exists("/proc/%d" % worker) or zombie(worker):
            return
        time.sleep(0.1)
    pytest.fail("the worker outlives CellProfiler")


def zombie(process):
    with open("/proc/%d/stat" % process) as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "Z"
