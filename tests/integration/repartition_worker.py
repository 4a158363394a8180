"""A process that partitions a fleet anew, again and again, until it is killed.

``python -m tests.integration.repartition_worker URL LOG``: when a re-partitioning begins, and when
it is done, a line goes to LOG.
"""

from __future__ import annotations

import os
import sys
from itertools import cycle

import pipeline
from pipeline.archive import repartitioning
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository

SCHEMES = (
    pipeline.Partitioning("1 month", 1, "1 day", landing_rows=0),
    pipeline.Partitioning("1 hour", 3),
    pipeline.Partitioning("1 day", 2, "1 hour", landing_rows=10),
)


def main(url: str, log: str) -> None:
    """Partition anew, in many commits, and note."""
    repartitioning._ROWS_PER_COMMIT = 100  # type: ignore[misc]
    store = FleetStore(Repository.open(Location.parse(url)), "fleet")
    handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    present = store.view().meta.scheme
    for scheme in cycle(scheme for scheme in SCHEMES if scheme != present):
        os.write(handle, b"begins\n")
        repartitioning.repartition(store, scheme, rows_at_once=60)
        os.write(handle, b"done\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
