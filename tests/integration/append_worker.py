"""A process that appends to an archive and notes what was acknowledged.

``python -m tests.integration.append_worker URL WORKER COMMITS LOG``: appends COMMITS batches of
rows named after WORKER, and after each writes its number to LOG, synced, as an outside system
would remember an acknowledgement.
"""

from __future__ import annotations

import os
import sys

import numpy as np

import pipeline

ROWS = 40
DEVICES = 4
START = np.datetime64("2024-01-01T00:00:00", "us")


def batch(worker: int, step: int) -> dict[str, object]:
    """Return the rows of one append: times and values tell which append they are from."""
    rows = np.arange(ROWS)
    seconds = (step * ROWS + rows) * 60
    return {
        "device": np.array([f"w{worker}-{row % DEVICES}" for row in rows]),
        "time": START + seconds.astype("m8[s]"),
        "value": (worker * 1_000_000 + step * ROWS + rows).astype(np.float64),
    }


def main(url: str, worker: int, commits: int, log: str) -> None:
    """Append and note."""
    fleet = pipeline.Archive.open(url).fleet("fleet")
    handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for step in range(commits):
        fleet.append(batch(worker, step), positions={f"worker-{worker}": step})
        os.write(handle, f"{step}\n".encode())
        os.fsync(handle)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
