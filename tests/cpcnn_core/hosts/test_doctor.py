"""The doctor: one finding for each thing that is needed, with its cure where it is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cpcnn_core
from cpcnn_core.cli.main import main
from cpcnn_core.hosts.doctor import examine
from cpcnn_core.hosts.install import install_plugin
from cpcnn_core.models.registry import list_models


@pytest.fixture
def plugins(tmp_path):
    """A plugins folder with the module in it."""
    return install_plugin(tmp_path / "plugins")


def record(plugins, python):
    text = python if isinstance(python, str) else json.dumps(python)
    (plugins / "_cpcnn" / "python.json").write_text(text)


def last_finding(plugins, **options):
    *_, last = examine(plugins, **options)
    return last


def script(path, text):
    """A program for the shell, in place of a Python."""
    if os.name == "nt":
        pytest.skip("shell scripts are Unix's")
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_fresh_folder_lacks_model_and_module(tmp_path):
    core, network, model, module = examine(tmp_path)
    assert core.good
    assert f"cpcnn {cpcnn_core.__version__} in Python" in core.text
    assert network.good
    assert "the network runs on" in network.text
    assert not model.good
    assert model.cure.startswith("cpcnn models fetch cell-painting-cnn-v1")
    assert not module.good
    assert module.text == f"there is no module in {tmp_path}"
    assert module.cure == f"cpcnn cellprofiler install --plugins-directory {tmp_path}"


def test_the_default_folder_is_looked_at_when_none_is_named(home):
    assert last_finding(None).text == f"there is no module in {home / 'cellprofiler_plugins'}"


def test_an_installation_with_its_model_is_all_good(plugins, keras_weights, home):
    name = "cell-painting-cnn-v1"
    assert main(["models", "import", str(keras_weights), "--name", name]) == 0
    findings = list(examine(plugins))
    assert [finding.good for finding in findings] == [True] * 5
    assert not any(finding.cure for finding in findings)
    assert str(home / "models" / f"{name}.safetensors") in findings[2].text
    assert findings[3].text == f"the module in {plugins}"
    version, count = cpcnn_core.__version__, len(list_models())
    assert findings[4].text == (
        f"a worker starts in {sys.executable} (cpcnn {version}) and knows {count} models"
    )


def test_a_damaged_model_is_found(plugins, home):
    path = home / "models" / "cell-painting-cnn-v1.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a model")
    model = list(examine(plugins))[2]
    assert not model.good
    assert str(path) in model.text


@pytest.mark.parametrize("name", ["measurecellpaintingcnn.py", "_cpcnn/worker_client.py"])
def test_an_edited_copy_is_found(plugins, name):
    (plugins / name).write_text("# edited\n")
    module = list(examine(plugins))[3]
    assert not module.good
    assert module.text == f"{Path(name)} in {plugins} is missing or of another version"
    assert module.cure == f"cpcnn cellprofiler install --plugins-directory {plugins}"


def test_a_module_without_its_record_is_found(plugins):
    (plugins / "_cpcnn" / "python.json").unlink()
    *_, module = examine(plugins)
    assert not module.good
    assert "no Python is recorded" in module.text
    assert "cpcnn cellprofiler install" in module.cure


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cpcnn": "0.1.0"}'])
def test_a_record_that_cannot_be_read_is_found(plugins, text):
    record(plugins, text)
    finding = last_finding(plugins)
    assert not finding.good
    assert "cpcnn cellprofiler install" in finding.cure


def test_a_recorded_python_that_is_gone_is_found(plugins, tmp_path):
    record(plugins, {"python": str(tmp_path / "gone" / "python"), "cpcnn": "0.1.0"})
    worker = last_finding(plugins)
    assert not worker.good
    assert worker.text == f"the recorded Python {tmp_path / 'gone' / 'python'} does not exist"
    assert "run cpcnn cellprofiler install" in worker.cure


def test_a_recorded_python_without_cpcnn_is_found(plugins, tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    record(plugins, {"python": str(python), "cpcnn": "0.1.0"})
    worker = last_finding(plugins)
    assert not worker.good
    assert worker.text.startswith(f"no worker starts in {python}: ")
    assert "No module named 'cpcnn_core'" in worker.text
    assert "run cpcnn cellprofiler install" in worker.cure


def test_a_recorded_program_that_says_nothing_is_found(plugins, tmp_path):
    program = script(tmp_path / "python", "exit 0")
    record(plugins, {"python": program, "cpcnn": "0.1.0"})
    worker = last_finding(plugins)
    assert not worker.good
    assert worker.text == f"no worker starts in {program}: it printed nothing"


def test_a_recorded_program_that_is_no_python_is_found(plugins, tmp_path):
    program = script(tmp_path / "python", "echo Welcome to the cluster; cat")
    record(plugins, {"python": program, "cpcnn": "0.1.0"})
    worker = last_finding(plugins)
    assert not worker.good
    assert program in worker.text


def test_a_recorded_file_that_is_no_program_is_found(plugins, tmp_path):
    (tmp_path / "python").write_text("not a program")
    record(plugins, {"python": str(tmp_path / "python"), "cpcnn": "0.1.0"})
    worker = last_finding(plugins)
    assert not worker.good
    assert str(tmp_path / "python") in worker.text


def test_a_cellprofiler_that_cannot_be_run_is_found(plugins, tmp_path):
    finding = last_finding(plugins, cellprofiler_python=tmp_path / "gone")
    assert not finding.good
    assert f"{tmp_path / 'gone'} cannot be run" in finding.text
    assert "cpcnn cellprofiler create FOLDER" in finding.cure


def test_a_python_without_cellprofiler_is_found(plugins):
    finding = last_finding(plugins, cellprofiler_python=sys.executable)
    assert not finding.good
    assert "does not load the module" in finding.text
    assert "No module named 'cellprofiler_core'" in finding.text
    assert "cpcnn cellprofiler create FOLDER" in finding.cure


@pytest.mark.parametrize(
    ("package", "content", "words"),
    [
        (
            "timm",
            'raise RuntimeError("operator torchvision::nms does not exist")',
            "torch and torchvision do not belong together",
        ),
        ("timm", 'raise ImportError("no timm")', "torch and timm do not work here: no timm"),
        ("torch", 'raise OSError("libcudart.so")', "torch and timm do not work here: libcudart.so"),
    ],
)
def test_a_torch_that_does_not_work_is_found(tmp_path, package, content, words):
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(content)
    code = (
        "from cpcnn_core.hosts.doctor import examine\n"
        "network = list(examine('nowhere'))[1]\n"
        "print(network.good, network.text, network.cure, sep='\\n')\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    good, text, cure = said.splitlines()
    assert good == "False"
    assert text.startswith(words)
    assert cure == f"{sys.executable} -m pip install --force-reinstall torch torchvision timm"


def test_the_command_ends_with_1_and_an_arrow_for_what_is_missing(tmp_path, capsys):
    arguments = ["cellprofiler", "doctor", "--plugins-directory", str(tmp_path)]
    assert main(arguments) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["ok", "ok", *["MISSING", "->"] * 2, "Follow"]
    assert said[5].endswith(f"-> cpcnn cellprofiler install --plugins-directory {tmp_path}")


def test_the_command_ends_with_0_when_all_is_well(plugins, keras_weights, capsys):
    main(["models", "import", str(keras_weights), "--name", "cell-painting-cnn-v1"])
    capsys.readouterr()
    assert main(["cellprofiler", "doctor", "--plugins-directory", str(plugins)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["ok"] * 5 + ["All"]
