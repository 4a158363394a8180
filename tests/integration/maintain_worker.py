"""A process that maintains an archive that nothing else uses.

``python -m tests.integration.maintain_worker URL NOW``: tells that it is ready, waits for a line,
and applies everything as of NOW, microseconds since 1970-01-01 UTC for the retention's ages.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from pipeline.archive.compacting import CompactionPolicy
from pipeline.archive.compaction import compact
from pipeline.archive.expiry import forget
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.thinning import apply_retention
from pipeline.archive.transactions import Repository


def main(url: str, now: int) -> None:
    """Wait, then maintain."""
    repository = Repository.open(Location.parse(url))
    store = FleetStore(repository, "fleet")
    store.view()
    print("ready", flush=True)
    sys.stdin.readline()
    apply_retention(repository, "fleet", now)
    compact(store, CompactionPolicy(), datetime.now(UTC))
    none = timedelta(0)
    forget(repository, datetime.now(UTC), none, none, alone=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
