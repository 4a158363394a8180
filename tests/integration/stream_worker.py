"""A process that writes to a stream and notes what was acknowledged.

``python -m tests.integration.stream_worker URL FOLDER FIRST LOG``: two threads write batches of rows
named after their numbers from FIRST on; after each acknowledgement the number goes to LOG, synced.
"""

from __future__ import annotations

import os
import sys
import threading
from itertools import count

import numpy as np

import pipeline

ROWS = 20
START = np.datetime64("2024-01-01T00:00:00", "us")


def batch(number: int) -> dict[str, object]:
    """Return the rows of one write: times and values tell which write they are from."""
    rows = number * ROWS + np.arange(ROWS)
    return {
        "device": [f"d{row % 7}" for row in rows.tolist()],
        "time": START + rows.astype("m8[ms]"),
        "value": rows.astype(np.float64),
    }


def main(url: str, folder: str, first: int, log: str) -> None:
    """Write and note."""
    fleet = pipeline.Archive.open(url).fleet("fleet")
    handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    with fleet.stream(folder, flush={"age": "30 ms"}) as stream:
        numbers = count(first)

        def write() -> None:
            for number in numbers:
                stream.write(batch(number))
                os.write(handle, f"{number}\n".encode())
                os.fsync(handle)

        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
