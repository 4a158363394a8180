"""What a worker goes through before it gets tasks: versions compared, threads set, code warmed.

The plugin is registered with the scheduler, so workers that join later go through it as well. A
worker that is refused keeps running, for it may serve others, but our tasks fail on it with the
reason.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import pyarrow as pa
from distributed import WorkerPlugin, get_worker

from pipeline.archive.chunk_io import use_threads
from pipeline.archive.decoded_columns import MEMORY, MEMORY_SHARE
from pipeline.errors import JobError
from pipeline.jobs.freed_memory import give_back, keep_freed_memory
from pipeline.jobs.warming import warm_up

__all__ = ["IN_PROCESS", "ReadyWorker", "check_versions", "ensure_accepted", "versions_here"]

IN_PROCESS: Final = "inproc://"
"""How addresses begin of workers that live in the process of their scheduler."""

_PACKAGES: Final = ("iot-archive", "numpy", "zarr", "icechunk", "dask", "distributed")
_log = logging.getLogger(__name__)
_refused: dict[str, str] = {}


def versions_here() -> dict[str, str]:
    """Return the versions of Python and of the packages that job and workers have to agree on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def check_versions(job: Mapping[str, str], here: Mapping[str, str], worker: str) -> None:
    """Compare the versions of a worker with those of the job.

    Parameters
    ----------
    job, here
        Versions of the job's process and of the worker's, from `versions_here`.
    worker
        Address of the worker.

    Raises
    ------
    JobError
        If some differ in more than details: Python in its minor version, packages in their first
        number (the first two as long as that is 0). The message names worker and versions.
    """
    differing = [name for name in job if here.get(name) != job[name]]
    major = [name for name in differing if _major(name, here.get(name)) != _major(name, job[name])]
    if major:
        told = ", ".join(
            f"{name} {here.get(name, 'not at all')} (the job {job[name]})" for name in major
        )
        msg = f"worker {worker} has {told}; install the same versions there"
        raise JobError(msg)
    for name in differing:
        _log.warning("worker %s has %s %s, the job %s", worker, name, here.get(name), job[name])


def ensure_accepted() -> None:
    """Refuse to run a task on a worker that did not get through the plugin.

    Raises
    ------
    JobError
        With the reason.
    """
    refused = _refused.get(get_worker().address)
    if refused is not None:
        raise JobError(refused)


class ReadyWorker(WorkerPlugin):
    """Makes workers ready for the tasks of jobs.

    Parameters
    ----------
    name
        Of the plugin, one for each job.
    versions
        Of the job's process; `versions_here` by default.
    """

    def __init__(self, name: str, versions: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.versions = dict(versions or versions_here())

    async def setup(self, worker: Any) -> None:
        """Check and warm up; the worker takes tasks only afterwards."""
        try:
            check_versions(self.versions, versions_here(), worker.address)
            if not worker.address.startswith(IN_PROCESS):
                _own_process(worker.state.nthreads, worker.memory_manager.memory_limit)
            await asyncio.to_thread(warm_up)
        except Exception as error:
            _refused[worker.address] = str(error)
            raise
        _refused.pop(worker.address, None)

    def teardown(self, worker: Any) -> None:
        """Leave others the memory that was kept for us."""
        if not worker.address.startswith(IN_PROCESS):
            give_back()


def _own_process(threads: int, memory: int | None) -> None:
    """Use no more than the worker was given, and look after neither garbage nor freed memory."""
    use_threads(threads)
    if memory:
        MEMORY.limit = min(MEMORY.limit, memory // MEMORY_SHARE)
    pa.set_cpu_count(threads)
    keep_freed_memory()
    gc.freeze()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _major(name: str, found: str | None) -> tuple[str, ...]:
    parts = (found or "").split(".")
    return tuple(parts[: 2 if name == "python" or parts[0] == "0" else 1])
