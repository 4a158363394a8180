"""A process that refreshes a rollup until it is up to date, and notes every commit.

``python -m tests.integration.rollup_worker URL NAME LOG TIMES``: refreshes so many times, one after
the other, 0 for ever; after every group of tasks their number goes to LOG.
"""

from __future__ import annotations

import os
import sys
import time
from itertools import count

from pipeline.analytics.rollups import refresh as refreshing
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository


def main(url: str, name: str, log: str, times: int) -> None:
    """Refresh and note."""
    refreshing._TASKS_PER_COMMIT = 1  # type: ignore[misc]
    store = FleetStore(Repository.open(Location.parse(url)), "fleet")
    handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def told(done: refreshing.RefreshResult) -> None:
        os.write(handle, f"{done.tasks}\n".encode())

    for _ in range(times) if times else count():
        done = refreshing.refresh(store, name, told=told)
        if not done.commits:
            time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
