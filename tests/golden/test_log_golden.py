"""Logs that earlier releases wrote are still read, so that an update loses no row."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.ingest.log import WriteAheadLog
from tests.golden.make_log import FILE, INTAKE, entries


def test_an_old_segment_is_read(tmp_path: Path) -> None:
    shutil.copy(FILE, tmp_path / f"{7:020}.wal")
    log = WriteAheadLog.open(tmp_path, "rooms", INTAKE.arrow)
    assert (log.last, log.torn_bytes) == (9, 0)
    assert len(log.head.log) == 32
    found = list(log.entries(0, 9))
    assert [entry.sequence for entry in found] == [7, 8, 9]
    for entry, (rows, note) in zip(found, entries(), strict=True):
        assert entry.rows.serialize().equals(rows.serialize())
        assert entry.note == note
    assert FILE.read_bytes()[:8] == b"IOTWAL\x00\x01"
    log.close()
