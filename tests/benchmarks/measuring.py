"""Measuring honestly: fresh processes, their peak memory, medians, and the facts of the machine."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import psutil

__all__ = [
    "Apart",
    "Stopwatch",
    "folder_bytes",
    "machine_facts",
    "medians",
    "one_process",
    "run_apart",
    "scratch_folder",
]

_LIBRARIES: Final = (
    "numpy", "numba", "zarr", "icechunk", "pyarrow", "xarray", "dask", "duckdb", "chdb", "pcodec",
    "blosc2",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Apart[R]:
    """What a function returned in a process of its own, and that process's peak memory.

    Parameters
    ----------
    value
        What it returned.
    peak_rss
        Bytes: the most memory the process ever held, from its start to the function's end.
    """

    value: R
    peak_rss: int


@dataclass(slots=True)
class Stopwatch:
    """Adds up the time spent in ``with`` blocks.

    Parameters
    ----------
    seconds
        By the clock on the wall.
    cpu_seconds
        Of all cores, for this process.
    other_cpu_seconds
        Of all cores, for everything else on the machine: a busy neighbour spoils a figure, and
        slows whoever uses more cores the most.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    other_cpu_seconds: float = 0.0
    _began: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __enter__(self) -> Self:
        self._began = _clocks()
        return self

    def __exit__(self, *_: object) -> None:
        seconds, own, everything = (
            after - before for after, before in zip(_clocks(), self._began, strict=True)
        )
        self.seconds += seconds
        self.cpu_seconds += own
        self.other_cpu_seconds += max(0.0, everything - own)


def _clocks() -> tuple[float, float, float]:
    """Return time on the wall, of this process, and of all processes, in seconds."""
    times = psutil.cpu_times()
    idle: float = times.idle + times.iowait
    # Time of guests is part of the user time.
    everything = sum(times) - idle - times.guest - times.guest_nice
    return time.perf_counter(), time.process_time(), everything


@contextmanager
def one_process() -> Iterator[None]:
    """Have `run_apart` use one and the same process meanwhile, for runs that measure nothing.

    Most of what a tiny run takes is starting interpreters. What is measured in that process is not
    to be used: its memory is that of everything it did, and nothing is cold there.
    """
    if _shared:
        yield
        return
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        _shared.append(pool)
        try:
            yield
        finally:
            _shared.clear()


_shared: Final[list[ProcessPoolExecutor]] = []
"""The process of `one_process`, if there is one."""


def run_apart[R](function: Callable[..., R], *arguments: Any) -> Apart[R]:
    """Run a function in a fresh interpreter, or in that of `one_process`.

    Parameters
    ----------
    function
        Of a module that can be imported.
    arguments
        What it is called with; they and the result have to be picklable.

    Raises
    ------
    Exception
        Whatever the function raises.
    """
    if _shared:
        return _shared[0].submit(_measured, function, arguments).result()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measured, function, arguments).result()


def _measured[R](function: Callable[..., R], arguments: tuple[Any, ...]) -> Apart[R]:
    return Apart(function(*arguments), _peak_rss())


def _peak_rss() -> int:
    # Not getrusage: its maximum survives exec, so a child would start with its parent's peak.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        msg = "/proc/self/status does not tell the peak memory (VmHWM); run on Linux"
        raise OSError(msg)
    return 1024 * int(found[1])


def medians(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, float]:
    """Return the median of each of `keys` over all rows."""
    return {key: float(median(row[key] for row in rows)) for key in keys}


def folder_bytes(folder: Path) -> int:
    """Return the sum of the sizes of all files in a folder and below."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder, on the disk that ``TMPDIR`` names, that is removed afterwards."""
    with TemporaryDirectory(prefix="iot-archive-benchmark-") as folder:
        yield Path(folder)


def machine_facts() -> dict[str, Any]:
    """Return what figures depend on: cores, memory, Python and library versions."""
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        **{name: found for name in _LIBRARIES if (found := _version(name))},
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
