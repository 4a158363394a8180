"""A process that compacts a fleet again and again until it is killed.

``python -m tests.integration.compact_worker URL LOG``: after every compaction the number of
merges goes to LOG.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime

from pipeline.archive.compacting import CompactionPolicy
from pipeline.archive.compaction import CommitSize, compact
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository


def main(url: str, log: str) -> None:
    """Compact and note."""
    store = FleetStore(Repository.open(Location.parse(url)), "fleet")
    handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    while True:
        done = compact(store, CompactionPolicy(), datetime.now(UTC), size=CommitSize(1))
        os.write(handle, f"{done.merges}\n".encode())
        if not done.merges:
            time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
