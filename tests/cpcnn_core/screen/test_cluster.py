"""The same tables from a Dask cluster, also when its workers are killed."""

import atexit
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.errors import SiteError
from cpcnn_core.screen.cluster import connect, embed_on_cluster
from cpcnn_core.screen.job import Job, open_job
from cpcnn_core.screen.screens import CellProfilerObjects, LoadDataScreen

from ...small_model import small_model
from .conftest import command_for, make_screen
from .test_embed import bytes_in, cells_in, number_of_sites, states

distributed = pytest.importorskip("distributed")
# Dask's own, when a cluster that lost workers is closed.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A screen of 200 small sites, embedded undisturbed and without a cluster."""
    folder = tmp_path_factory.mktemp("big")
    command = make_screen(folder, wells=100, sites=2, cells=2, side=40)
    assert main([*command, "--out", str(folder / "out")]) == 0
    return folder


@pytest.fixture(scope="module")
def client():
    """One worker, started once: loading PyTorch takes longer than what it is asked for."""
    with connect("local:1") as client:
        yield client


def job_for(folder, out):
    cells = CellProfilerObjects(str(folder / "Nuclei.csv"))
    screen = LoadDataScreen(str(folder / "load_data.csv"), cells)
    return Job(screen, str(out), model=small_model(), device="cpu")


def test_a_local_cluster_gives_the_same_bytes(screen, tmp_path):
    """Of images that are resampled too."""
    model = small_model(um_per_px=0.65, crop_px=64, input_px=64)
    command = [*command_for(screen, model), "--um-per-px", "1.3", "--tables", "parquet", "anndata"]
    alone, out = tmp_path / "alone", tmp_path / "out"
    assert main([*command, "--out", str(alone)]) == 0
    assert main([*command, "--out", str(out), "--cluster", "local:2"]) == 0
    assert states(out) == ["embedded"] * 8
    assert bytes_in(out) == bytes_in(alone)


def end_slowly():
    atexit.register(time.sleep, 6)


def test_workers_end_by_themselves_however_long_it_takes(caplog):
    log = logging.getLogger("distributed.nanny")
    log.addHandler(caplog.handler)
    try:
        with connect("local:1") as client:
            client.run(end_slowly)
    finally:
        log.removeHandler(caplog.handler)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.long
def test_workers_that_are_killed_cost_only_their_task(big, tmp_path):
    out = tmp_path / "out"
    job = job_for(big, out)
    opened = open_job(job)
    named = [(place, str(site)) for place, site in enumerate(opened.sites)]
    killed = []
    with connect("local:2") as client:
        killer = threading.Thread(target=kill_workers, args=(client, out, killed))
        killer.start()
        reports = embed_on_cluster(client, job, opened.settings.provenance(), named)
        killer.join()
    assert len(killed) == 2
    assert [report.site for report in reports] == [name for _, name in named]
    # What a killed task had finished is found done by the one that takes its place.
    assert {report.state for report in reports} <= {"embedded", "already done"}
    assert main([*command_for(big), "--out", str(out)]) == 0
    assert states(out) == ["already done"] * 200
    assert bytes_in(out) == bytes_in(big / "out")


def kill_workers(client, out, killed):
    """Kill a worker after 20 sites, and another after 100."""
    for sites in (20, 100):
        deadline = time.monotonic() + 120
        while number_of_sites(out) < sites and time.monotonic() < deadline:
            time.sleep(0.02)
        process = next(iter(client.run(os.getpid).values()))
        os.kill(process, signal.SIGKILL)
        killed.append(process)


@pytest.mark.long
def test_a_scheduler_elsewhere_is_reached_by_address_and_by_file(screen, embedded, tmp_path):
    file = tmp_path / "scheduler.json"
    options = ["--scheduler-file", str(file)]
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", *options]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", *options, "--nthreads", "2"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask += ["--host", "127.0.0.1", "--port", "0"]
    scheduler = subprocess.Popen([*dask, "--no-dashboard"], **quiet)
    workers = subprocess.Popen([*worker, "--no-dashboard"], **quiet)
    try:
        for _ in range(300):
            if file.is_file():
                break
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"].removeprefix("tcp://")
        for n, where in enumerate((str(file), f"dask://{address}")):
            out = tmp_path / str(n)
            assert main([*command_for(screen), "--out", str(out), "--cluster", where]) == 0
            assert states(out) == ["embedded"] * 8
            assert bytes_in(out) == {
                name: data for name, data in bytes_in(embedded).items() if ".h5ad" not in name
            }
    finally:
        for process in (workers, scheduler):
            process.terminate()
            process.wait()


def test_a_site_that_fails_on_a_worker_is_named(client, own_screen, embedded, tmp_path, capsys):
    (own_screen / "3_ER.png").unlink()
    where, out = client.scheduler.address.replace("tcp://", "dask://"), tmp_path / "out"
    command = [*command_for(own_screen), "--out", str(out), "--cluster", where]
    assert main(command) == 1
    others = cells_in(embedded)
    del others["P2/A02/1"]
    assert cells_in(out) == others
    said = capsys.readouterr().out
    assert "8 sites; 7 embedded; 1 failed" in said
    assert "P2/A02/1: failed there is no image file" in said
    assert main([*command, "--strict"]) == 1
    assert "there is no image file" in capsys.readouterr().err


def test_a_worker_with_another_model_refuses(client, screen, tmp_path):
    job = job_for(screen, tmp_path / "out")
    other = open_job(job).settings.provenance() | {"model_sha256": "another", "cpcnn": "9"}
    # Not in the folder that Dask would share with all users.
    (scratch,) = client.run(lambda dask_worker: dask_worker.local_directory).values()
    temporary = Path(tempfile.gettempdir())
    owned = next(place for place in Path(scratch).parents if place.parent == temporary)
    assert owned.name != "dask-scratch-space"
    assert owned.stat().st_mode & 0o777 == 0o700
    (report,) = embed_on_cluster(client, job, other, [(0, "P1/A01/1")])
    assert report.state == "failed"
    assert "this worker differs in cpcnn, model_sha256 from the program" in report.reason
    with pytest.raises(SiteError, match="this worker differs"):
        embed_on_cluster(client, job, other, [(0, "P1/A01/1")], strict=True)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("dask://127.0.0.1:{port}", "there is no Dask scheduler at dask://127.0.0.1"),
        ("nowhere.json", "there is no scheduler file nowhere.json"),
        ("local:0", "expected --cluster local, local:N, dask://HOST:PORT"),
        ("tcp://x:1", "expected --cluster local, local:N, dask://HOST:PORT"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(where, message, closed_port, monkeypatch):
    monkeypatch.setattr("cpcnn_core.screen.cluster.CONNECT_SECONDS", 2)
    with pytest.raises(SiteError, match=message), connect(where.format(port=closed_port)):
        pass
