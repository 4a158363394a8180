"""Workers that run half of the time, one after the other.

On a machine of two cores two workers leave none for the job and the scheduler. With each of them
stopped half of the time, in turn, both together have one core, and a single worker half a core: what
is left over for the others is the same, and how workers add up can be seen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Final

import psutil

__all__ = ["half_speed"]

_TURN_S: Final = 0.01
_LOOK_EVERY: Final = 25  # turns
_MARK: Final = "multiprocessing.spawn"


@contextmanager
def half_speed(root: psutil.Process) -> Iterator[None]:
    """Let the worker processes below `root` run in turn, until the block is left."""
    done = threading.Event()
    thread = threading.Thread(target=_take_turns, args=(root, done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _take_turns(root: psutil.Process, done: threading.Event) -> None:
    workers: list[psutil.Process] = []
    for turn in count():
        if turn % _LOOK_EVERY == 0:
            workers = _workers(root, workers)
        for at, worker in enumerate(workers):
            with suppress(psutil.NoSuchProcess):
                (worker.resume if at % 2 == turn % 2 else worker.suspend)()
        if done.wait(_TURN_S):
            break
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.resume()


def _workers(root: psutil.Process, known: list[psutil.Process]) -> list[psutil.Process]:
    """Return the workers there are, those that are known first."""
    found = [worker for worker in known if worker.is_running()]
    with suppress(psutil.NoSuchProcess):
        for process in root.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process not in found and any(_MARK in part for part in process.cmdline()):
                    found.append(process)
    return found
