"""A process that writes under a lease.

``python -m tests.integration.leased_worker URL FIRST``: takes the lease ``west`` and, each time a line
comes, writes a row of device ``d`` under the time and value that the line names; answers ``written``
once it is in the archive, or the kind of the error.
"""

from __future__ import annotations

import sys

import numpy as np

import pipeline
from pipeline.errors import ArchiveError

START = np.datetime64("2024-01-01T00:00:00", "us")


def row(number: int, value: float) -> dict[str, object]:
    return {"device": ["d"], "time": [START + np.timedelta64(number, "s")], "value": [value]}


def main(url: str, length: str) -> None:
    fleet = pipeline.Archive.open(url).fleet("fleet")
    lease = {"name": "west", "length": length, "wait": "1 min"}
    stream = fleet.stream(durability="commit", lease=lease)
    print("ready", flush=True)
    for line in sys.stdin:
        number, value = line.split()
        try:
            stream.write(row(int(number), float(value)))
        except ArchiveError as error:
            print(error.__cause__.kind if isinstance(error.__cause__, ArchiveError) else error.kind)
        else:
            print("written")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
