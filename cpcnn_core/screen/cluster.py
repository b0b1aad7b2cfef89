"""The sites of a job on a Dask cluster, each worker opening its own files."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cpcnn_core.errors import DependencyError, DiskFullError, SiteError
from cpcnn_core.screen.reports import SiteReport, failure, stopped
from cpcnn_core.threads import let_threads_wait

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

    from cpcnn_core.screen.job import Job, OpenJob

LOCAL, DASK = "local", "dask://"
# What is started again elsewhere when a worker dies: small enough not to matter,
# large enough for reading ahead.
SITES_PER_TASK = 16
CONNECT_SECONDS = 30
# A worker unloads PyTorch, longer than Dask's 4 seconds where others use the machine.
CLOSE_SECONDS = 60
CORES_PER_WORKER = 4
# A network uses all threads of its worker: one task at a time.
_ONE_TASK = threading.Lock()


def embed_on_cluster(
    client: Client,
    job: Job,
    provenance: Mapping[str, str],
    sites: Sequence[tuple[int, str]],
    *,
    strict: bool = False,
    progress: Callable[[SiteReport], None] | None = None,
) -> list[SiteReport]:
    """Embed sites of a job on a cluster, as `cpcnn_core.screen.run.embed_sites` does here.

    Parameters
    ----------
    client : distributed.Client
        See `connect`.
    job : Job
        Its paths have to be the same on every worker; see `Job.absolute`.
    provenance : mapping of str to str
        What the files must say; a worker with another model or version refuses.
    sites : sequence of (int, str)
        Place in the job's table, from 0, and name.
    strict : bool
        Stop at the first site that fails.
    progress : callable (SiteReport), optional
        Called for every site when its task has ended.

    Returns
    -------
    list of SiteReport
        In the order of `sites`. A task whose workers died three times over is reported
        as failed.
    """
    from distributed import as_completed

    parts = [sites[i : i + SITES_PER_TASK] for i in range(0, len(sites), SITES_PER_TASK)]
    part_of = {}
    for part in parts:
        places = tuple(place for place, _ in part)
        future = client.submit(embed_part, job, dict(provenance), places, strict, pure=False)
        part_of[future] = part
    reports: dict[str, SiteReport] = {}
    try:
        for future in as_completed(part_of):
            error = future.exception()
            if isinstance(error, DiskFullError):
                raise stopped(error, reports.values(), len(sites)) from error
            if error is not None and strict:
                raise error
            names = [name for _, name in part_of[future]]
            ended = future.result() if error is None else [failure(n, error) for n in names]
            for report in ended:
                reports[report.site] = report
                if progress is not None:
                    progress(report)
    finally:
        client.cancel(list(part_of))
    return [reports[name] for _, name in sites]


def embed_part(
    job: Job, provenance: Mapping[str, str], places: tuple[int, ...], strict: bool
) -> list[SiteReport]:
    """Do some sites of a job; runs on a worker.

    Raises
    ------
    SiteError
        This worker's model or version is not that of the program that sent the job.
    """
    let_threads_wait()
    from cpcnn_core.screen.run import embed_sites

    with _ONE_TASK:
        opened = _open(job)
        here = opened.settings.provenance()
        if here != dict(provenance):
            names = sorted(n for n in here | dict(provenance) if here.get(n) != provenance.get(n))
            raise SiteError(
                f"this worker differs in {', '.join(names)} from the program that sent the job; "
                "install the same cpcnn and the same model on all machines"
            )
        sites = [opened.sites[place] for place in places]
        return embed_sites(
            opened.model,
            sites,
            opened.out,
            opened.settings,
            strict=strict,
            force=job.force,
            readers=job.readers,
        )


@functools.lru_cache(maxsize=1)
def _open(job: Job) -> OpenJob:
    import torch
    from distributed import get_worker

    from cpcnn_core.screen.job import open_job

    # Dask tells PyTorch to use one thread; the task has all those of the worker.
    torch.set_num_threads(get_worker().state.nthreads)
    return open_job(job)


@contextmanager
def connect(cluster: str) -> Iterator[Client]:
    """Reach a Dask cluster, or start one on this machine.

    Parameters
    ----------
    cluster : str
        ``local`` or ``local:N``: N workers on this machine (default: one for every
        four cores), which share its cores. ``dask://HOST:PORT``: a scheduler's
        address. ``FILE.json``: a scheduler's file (``dask scheduler --scheduler-file``).

    Yields
    ------
    distributed.Client

    Raises
    ------
    DependencyError
        distributed is not installed.
    SiteError
        Another text, or no scheduler there.

    Examples
    --------
    >>> with connect("scheduler.json") as client:
    ...     print(client)
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: there is no scheduler file scheduler.json
    """
    if importlib.util.find_spec("distributed") is None:
        raise DependencyError(
            "a cluster needs the package distributed; install it with: pip install distributed"
        )
    from distributed import Client

    where = _where(cluster)
    if isinstance(where, int):
        # Dask's own choice is one folder for all users of a machine, and what workers put there
        # is code when it is read again.
        with tempfile.TemporaryDirectory() as scratch, _local(where, scratch) as local:
            with Client(local) as client:
                yield client
            # Not when it ends otherwise: then nothing waits for what a worker is doing.
            local.sync(_close_workers, local)
        return
    try:
        client = Client(**where, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise SiteError(
            f"there is no Dask scheduler at {cluster} ({error}); start it, or look at its address"
        ) from error
    with client:
        yield client


def _where(cluster: str) -> int | dict[str, str]:
    name, _, number = cluster.partition(":")
    if name == LOCAL and (not number or (number.isdecimal() and int(number) > 0)):
        return int(number or max(1, (os.cpu_count() or 1) // CORES_PER_WORKER))
    if cluster.startswith(DASK) and len(cluster) > len(DASK):
        return {"address": f"tcp://{cluster.removeprefix(DASK)}"}
    if Path(cluster).suffix == ".json":
        if not Path(cluster).is_file():
            raise SiteError(f"there is no scheduler file {cluster}")
        return {"scheduler_file": cluster}
    raise SiteError(
        f"expected --cluster local, local:N, dask://HOST:PORT or a scheduler's FILE.json, "
        f"got {cluster!r}"
    )


def _local(workers: int, scratch: str) -> LocalCluster:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=max(1, (os.cpu_count() or 1) // workers),
        dashboard_address=None,
        local_directory=scratch,
        # Our memory is bounded; Dask must not guess at it and kill.
        memory_limit=0,
    )


async def _close_workers(local: LocalCluster) -> None:
    """Let all workers end by themselves; the cluster kills those that are left when it closes."""
    closing = (worker.close(timeout=CLOSE_SECONDS) for worker in local.workers.values())
    await asyncio.gather(*closing)
