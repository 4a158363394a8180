"""Writes the golden segment of a write-ahead log: ``python -m tests.golden.make_log``.

Only what is missing is added; bytes that are there are never written again.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from pipeline.ingest.entries import Note, message_of, write_entry
from pipeline.ingest.intake import Intake
from pipeline.ingest.log import WriteAheadLog
from pipeline.model.rejects import Rejects
from pipeline.schema.channels import Channel, Schema

__all__ = ["FILE", "INTAKE", "entries"]

FILE = Path(__file__).parent / "logs" / "version-1.wal"
INTAKE = Intake(
    Schema(
        [
            Channel("temperature", "float64", units="degC"),
            Channel("count", "uint16"),
            Channel("open", "bool"),
            Channel("mode", "category"),
        ]
    )
)


def entries() -> list[tuple[pa.RecordBatch, Note]]:
    """Return what the segment holds."""
    time = np.datetime64("2026-01-01T00:00:00.000001", "us") + np.arange(3)
    first = {
        "device": ["kitchen", "hall", "kitchen"],
        "time": time,
        "temperature": np.array([20.5, np.nan, -0.0]),
        "mode": ["day", None, "nächt"],
    }
    second = {
        "device": ["hall"],
        "time": time[:1],
        "count": np.array([65535], np.uint16),
        "open": np.array([True]),
    }
    note = Note(
        Rejects(('{"device": ""}',), ("device id is empty",), "plant"),
        {"hall": {"site": "Bergen"}},
        {"topic": {"0": 42}},
    )
    return [
        (INTAKE.take(first).rows, Note()),
        (INTAKE.take(second).rows, note),
        (INTAKE.take(second).rows.slice(0, 0), Note()),
    ]


def add_missing() -> bool:
    """Write the segment if there is none; return whether there was none."""
    if FILE.exists():
        return False
    FILE.parent.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        log = WriteAheadLog.open(Path(folder), "rooms", INTAKE.arrow, segment_bytes=4096)
        log.begin(6)
        for rows, note in entries():
            log.append(write_entry(message_of(rows), note))
        log.sync(log.last)
        log.close()
        FILE.write_bytes(log.segments[0].path.read_bytes())
    return True


if __name__ == "__main__":
    print("added" if add_missing() else "nothing to add")
