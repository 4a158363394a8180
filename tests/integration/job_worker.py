"""A job that goes on commit by commit, as it is told.

``python -m tests.integration.job_worker JOB.yaml``: the command line of a job whose rollup step commits
after every task. After every commit it prints ``committed`` and waits for a line: ``on`` goes on,
``sleep`` has it stopped by SIGSTOP first, at a moment at which it does not hold the archive's lock.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import TextIO

from zarr.abc.store import Store

from pipeline.analytics.rollups import refresh as refreshing
from pipeline.archive.transactions import Repository
from pipeline.jobs import progress as telling
from pipeline.jobs.command import main


class Paced:
    """Progress that is told to a parent process, which says how to go on."""

    def __init__(self, _: TextIO) -> None:
        pass

    def show(self, text: str, *, milestone: bool = False) -> None:
        if not milestone:
            return
        print("committed", flush=True)
        if sys.stdin.readline().strip() == "sleep":
            with _opened[-1]._thread_lock:
                os.kill(os.getpid(), signal.SIGSTOP)

    def clear(self) -> None:
        pass


_opened: list[Repository] = []
_fenced = Repository.fenced


def _noted(self: Repository, check: Callable[[Store], None]) -> Repository:
    _opened.append(self)
    return _fenced(self, check)


if __name__ == "__main__":
    refreshing._TASKS_PER_COMMIT = 1  # type: ignore[misc]
    telling.progress_for = Paced  # type: ignore[assignment]
    Repository.fenced = _noted  # type: ignore[method-assign]
    sys.exit(main(sys.argv[1:]))
