"""A command and all processes it starts: how long it takes, its memory and its processor time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from tests.benchmarks.half_speed import half_speed
from tests.benchmarks.outcome import WrongResultError

__all__ = ["TreeUse", "run_tree"]

_EVERY: Final = 0.05


@dataclass(frozen=True, slots=True)
class TreeUse:
    """What a command and its descendants used.

    Parameters
    ----------
    seconds
        By the clock on the wall.
    cpu_seconds
        Of all processes together, as last seen of each.
    peak_rss
        Bytes: the largest sum of the memory of all processes at one moment, sampled. Pages that
        processes share are counted for each of them.
    """

    seconds: float
    cpu_seconds: float
    peak_rss: int


def run_tree(
    command: Sequence[str], folder: Path, cores: int | None = None, *, turns: bool = False
) -> TreeUse:
    """Run a command in `folder` and watch it.

    Parameters
    ----------
    command
        Program and arguments.
    folder
        Where to run it.
    cores
        How many cores it and its descendants may use; all by default.
    turns
        Whether its worker processes run half of the time, one after the other.

    Raises
    ------
    WrongResultError
        If it ends with another exit code than 0; with what it said.
    """
    began, peak, cpu = time.perf_counter(), 0, dict[int, float]()
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        watched = psutil.Process(process.pid)
        if cores is not None:
            watched.cpu_affinity(sorted(watched.cpu_affinity())[:cores])
        with half_speed(watched) if turns else nullcontext():
            while process.poll() is None:
                peak = max(peak, _look(watched, cpu))
                time.sleep(_EVERY)
        seconds = time.perf_counter() - began
        said = b"" if process.stderr is None else process.stderr.read()
    if process.returncode:
        msg = f"{' '.join(command)} ended with exit code {process.returncode}: {said.decode().strip()}"
        raise WrongResultError(msg)
    return TreeUse(seconds, sum(cpu.values()), peak)


def _look(root: psutil.Process, cpu: dict[int, float]) -> int:
    """Return the bytes that the tree holds now; note the processor time of each process."""
    held = 0
    with suppress(psutil.NoSuchProcess):
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                held += process.memory_info().rss
                times = process.cpu_times()
                cpu[process.pid] = times.user + times.system
    return held
