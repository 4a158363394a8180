"""The Dask cluster of a job: started, connected to and shut down.

``local`` is a scheduler and one worker with a thread per core inside the job's own process:
tasks share its memory, and nothing is copied between them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import dask
import psutil
from distributed import Client, Scheduler, SpecCluster, Worker

from pipeline.archive.durability import read_mark, shared_mark
from pipeline.archive.machine_memory import memory_size
from pipeline.errors import JobError, MissingDependencyError
from pipeline.jobs.job_file import ClusterOptions
from pipeline.jobs.warming import warm_up
from pipeline.jobs.worker_plugin import IN_PROCESS, ReadyWorker
from pipeline.model.durations import parse_duration

__all__ = ["Cluster", "open_cluster"]

_NO_PAGES: Final[dict[str, list[str]]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """A cluster that is ready for tasks.

    Parameters
    ----------
    client
        The ``distributed.Client``.
    kind
        ``local``, the scheduler's address or the cluster class.
    workers, threads
        How many there are in all.
    memory
        Bytes that the workers may use together, each as much as the smallest of them.
    start_s
        Seconds it took to start or to connect to it.
    warmup_s
        Seconds it took until the compiled code was loaded, or compiled, in the job and on every
        worker.
    """

    client: Any
    kind: str
    workers: int
    threads: int
    memory: int
    start_s: float
    warmup_s: float

    @property
    def embedded(self) -> bool:
        """Whether all workers live in the job's own process."""
        return _in_process(self.client)

    def shares(self, folder: Path) -> bool:
        """Tell whether all workers see the folder of a local archive, and not one of their own."""
        with shared_mark(folder) as mark:
            futures = [
                self.client.submit(read_mark, str(folder), workers=[address], pure=False)
                for address in self.client.nthreads()
            ]
            return all(found == mark for found in self.client.gather(futures))


@contextmanager
def open_cluster(options: ClusterOptions, given: Any = None) -> Iterator[Cluster]:
    """Start or connect to a cluster, load the compiled code on its workers, and shut it down.

    A scheduler that was up already, and its workers, are left running.

    Parameters
    ----------
    options
        Which cluster.
    given
        A ``distributed.Client`` to take instead, which is left open.

    Raises
    ------
    JobError
        If the cluster cannot be reached or started, or its workers do not come or cannot work.
    MissingDependencyError
        If the cluster class is not installed.
    """
    with ExitStack() as stack:
        began = time.perf_counter()
        if given is None:
            client, kind = _connect(options, stack), str(options)
        else:
            options = ClusterOptions()
            client, kind = given, str(given.scheduler.address)
        _await_workers(client, options)
        ready = time.perf_counter()
        _make_ready(client, kind, stack)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        yield Cluster(
            client,
            kind,
            len(workers),
            sum(worker["nthreads"] for worker in workers),
            _memory(workers),
            ready - began,
            time.perf_counter() - ready,
        )


def _connect(options: ClusterOptions, stack: ExitStack) -> Any:
    if options.is_local:
        with dask.config.set(_NO_PAGES):
            return _client(stack.enter_context(_start(SpecCluster, _embedded())), stack)
    if options.class_ is None:
        try:
            return _client(options.address, stack)
        except (OSError, ValueError) as error:
            msg = f"cluster {options}: the scheduler cannot be reached ({error}); is it up?"
            raise JobError(msg) from error
    kind = _load_class(options.class_)
    try:
        cluster = stack.enter_context(_start(kind, options.arguments))
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        msg = f"cluster {options}: cannot be started with {options.arguments}: {error}"
        raise JobError(msg) from error
    if options.workers:
        cluster.scale(options.workers)
    return _client(cluster, stack)


def _embedded() -> dict[str, Any]:
    """Return the scheduler and the worker of the embedded cluster.

    Both insist on a server for their pages: it listens on this machine only, on a free port, and
    has none. Memory is not limited, for the job bounds what its tasks hold.
    """
    quiet = {"protocol": "inproc://", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    threads = len(os.sched_getaffinity(0))
    worker = {"cls": Worker, "options": {**quiet, "nthreads": threads, "memory_limit": 0}}
    return {
        "scheduler": {"cls": Scheduler, "options": quiet},
        "workers": {0: worker},
        "silence_logs": logging.WARNING,
    }


def _start(kind: Any, arguments: Mapping[str, Any]) -> Any:
    return kind(**arguments)


def _client(where: Any, stack: ExitStack) -> Any:
    return stack.enter_context(_start(Client, {"address": where, "set_as_default": False}))


def _load_class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        package = path.split(".", 1)[0].replace("_", "-")
        msg = f"cluster class {path!r} cannot be imported ({error}); is {package} installed?"
        raise MissingDependencyError(msg) from error
    except AttributeError as error:
        msg = f"cluster class {path!r}: module {module!r} has no {name!r}"
        raise JobError(msg) from error


def _await_workers(client: Any, options: ClusterOptions) -> None:
    wanted = options.workers or 1
    try:
        client.wait_for_workers(wanted, timeout=parse_duration(options.timeout) / 1e6)
    except TimeoutError as error:
        found = len(client.nthreads())
        msg = (
            f"cluster {options}: {found} of {wanted} workers came within {options.timeout}; "
            "check their logs, or give a longer timeout"
        )
        raise JobError(msg) from error


def _make_ready(client: Any, kind: str, stack: ExitStack) -> None:
    plugin = ReadyWorker(f"iot-archive-{uuid4().hex[:12]}")
    try:
        client.register_plugin(plugin)
    except JobError as error:
        msg = f"cluster {kind}: {error}"
        raise JobError(msg) from error
    except Exception as error:
        msg = f"cluster {kind}: a worker cannot run this package's code, is it installed there? ({error})"
        raise JobError(msg) from error
    stack.callback(_unregister, client, plugin.name)
    if not _in_process(client):
        # The job itself encodes index and summaries.
        warm_up()


def _in_process(client: Any) -> bool:
    return all(address.startswith(IN_PROCESS) for address in client.nthreads())


def _unregister(client: Any, name: str) -> None:
    # A cluster that is gone needs no farewell.
    with suppress(OSError, TimeoutError, ValueError, KeyError):
        client.unregister_worker_plugin(name)


def _memory(workers: Any) -> int:
    limits = [worker["memory_limit"] for worker in workers]
    if all(limits):
        return int(min(limits) * len(limits))
    return memory_size() or int(psutil.virtual_memory().total)
