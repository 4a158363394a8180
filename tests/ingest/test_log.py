"""The write-ahead log: what was synced is found again, and nothing else is taken for it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConflictError, CorruptBlockError, InvalidInputError, StorageError
from pipeline.ingest.entries import Note, message_of, read_entry, write_entry
from pipeline.ingest.frames import MAGIC, frame, frames, tail_of
from pipeline.ingest.intake import Intake
from pipeline.ingest.log import WriteAheadLog
from pipeline.model.rejects import Rejects
from tests.ingest.sinks import SCHEMA, batch_of

ARROW = Intake(SCHEMA).arrow


@pytest.fixture
def log(tmp_path: Path) -> Iterator[WriteAheadLog]:
    found = opened(tmp_path)
    yield found
    found.close()


def opened(folder: Path, segment_bytes: int = 4096) -> WriteAheadLog:
    log = WriteAheadLog.open(folder, "fleet", ARROW, segment_bytes=segment_bytes)
    log.begin(0)
    return log


def put(log: WriteAheadLog, *values: int) -> int:
    return log.append(write_entry(message_of(batch_of(values)), Note()))


def values_in(log: WriteAheadLog, after: int = 0) -> list[int]:
    entries = log.entries(after, log.synced)
    return [value for entry in entries for value in entry.rows["v"].to_pylist()]


def test_entries_come_back_in_order_from_many_segments(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for value in range(200):
        log.sync(put(log, value))
    assert len(log.segments) > 5
    assert values_in(log) == list(range(200))
    assert values_in(log, after=150) == list(range(150, 200))
    log.close()
    again = opened(tmp_path)
    assert again.head.log == log.head.log
    assert values_in(again) == list(range(200))
    assert again.last == 200
    again.close()


def test_segments_go_when_all_of_them_is_released_and_no_sooner(log: WriteAheadLog) -> None:
    for value in range(100):
        log.sync(put(log, value))
    second = log.segments[1].first
    log.release(second - 2)
    assert log.segments[0].first == 1
    log.release(second - 1)
    assert log.segments[0].first == second
    assert values_in(log) == list(range(second - 1, 100))
    log.release(100)
    assert len(log.segments) == 1
    assert len(list(log.folder.glob("*.wal"))) == 1


def test_writers_share_a_sync(log: WriteAheadLog, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs, slow = [], threading.Event()
    real = os.pwritev

    def sync(*arguments: Any) -> int:
        syncs.append(arguments)
        slow.wait(0.05)
        return real(*arguments)

    monkeypatch.setattr(os, "pwritev", sync)

    def write() -> None:
        for value in range(5):
            log.sync(put(log, value))

    writers = [threading.Thread(target=write) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert log.synced == 40
    assert len(values_in(log)) == 40
    assert len(syncs) <= 20


@given(
    values=st.lists(st.integers(1, 3), min_size=1, max_size=6),
    cut=st.integers(0, 2000),
    junk=st.binary(max_size=40),
)
def test_a_log_cut_anywhere_keeps_its_whole_entries(
    tmp_path_factory: Any, values: list[int], cut: int, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = opened(folder)
    ends = [log._end]
    for value in values:
        log.sync(put(log, *range(value)))
        ends.append(log._end)
    log.close()
    path = log.segments[0].path
    whole = path.read_bytes()
    at = ends[0] + cut % (ends[-1] - ends[0] + 1)
    path.write_bytes(whole[:at] + junk)
    again = opened(folder)
    kept = sum(end <= at for end in ends[1:])
    found = list(again.entries(0, again.last))
    assert [entry.rows.num_rows for entry in found] == values[:kept]
    assert (again.torn_bytes > 0) == bool((whole[ends[kept] : at] + junk).strip(b"\x00"))
    again.sync(put(again, 7))
    again.close()
    third = opened(folder)
    assert third.torn_bytes == 0
    assert len(list(third.entries(0, third.last))) == kept + 1
    third.close()


@pytest.mark.parametrize("size", [0, 3, 7, 8, 9, 30])
def test_a_segment_torn_while_it_was_created_is_made_anew(tmp_path: Path, size: int) -> None:
    log = opened(tmp_path)
    log.close()
    path = log.segments[0].path
    path.write_bytes(path.read_bytes()[:size])
    again = opened(tmp_path)
    again.sync(put(again, 1))
    assert values_in(again) == [1]
    again.close()


def test_whole_entries_behind_the_damage_are_kept_aside(tmp_path: Path, caplog: Any) -> None:
    log = opened(tmp_path)
    ends = []
    for value in range(3):
        log.sync(put(log, value))
        ends.append(log._end)
    log.close()
    path = log.segments[0].path
    data = bytearray(path.read_bytes())
    data[ends[0] + 20] ^= 1
    path.write_bytes(data)
    again = opened(tmp_path)
    assert values_in(again) == [0]
    assert "1 whole entries" in caplog.text
    aside = path.with_suffix(".torn").read_bytes()
    assert aside == bytes(data[ends[0] :])
    again.close()


def test_damage_before_the_last_segment_is_an_error(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for value in range(60):
        log.sync(put(log, value))
    log.close()
    path = log.segments[0].path
    data = bytearray(path.read_bytes())
    data[1500] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptBlockError, match=path.name):
        opened(tmp_path)


def test_a_full_disk_fails_the_write_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(tmp_path)
    log.sync(put(log, 1))
    failed: list[tuple[int, int]] = []
    log.failed = lambda first, last: failed.append((first, last))
    real = os.pwritev
    written: list[int] = []

    def write_half(handle: int, data: Any, offset: int, flags: int) -> int:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(real(handle, [data[0][:150]], offset, flags))
        return written[0]

    monkeypatch.setattr(os, "pwritev", write_half)
    lost = put(log, 2)
    with pytest.raises(StorageError, match="No space left"):
        log.sync(lost)
    monkeypatch.setattr(os, "pwritev", real)
    assert failed == [(lost, lost)]
    assert log.failure(lost)
    log.sync(put(log, 3))
    assert values_in(log) == [1, 3]
    log.close()
    again = opened(tmp_path)
    assert values_in(again) == [1, 3]
    assert again.torn_bytes == 0
    again.close()


def test_after_a_failed_sync_nothing_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(tmp_path)
    real = os.pwritev

    def fail(*arguments: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwritev", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        log.sync(put(log, 1))
    monkeypatch.setattr(os, "pwritev", real)
    with pytest.raises(StorageError, match="cannot be trusted"):
        log.sync(put(log, 2))
    with pytest.raises(StorageError):
        log.close()
    again = opened(tmp_path)
    again.sync(put(again, 3))
    assert values_in(again)[-1] == 3
    again.close()


def test_a_folder_has_one_session_one_fleet_and_nothing_else(tmp_path: Path) -> None:
    log = opened(tmp_path)
    with pytest.raises(ConflictError, match="another stream session"):
        opened(tmp_path)
    log.close()
    with pytest.raises(InvalidInputError, match="fleet 'fleet', not 'other'"):
        WriteAheadLog.open(tmp_path, "other", ARROW)
    (tmp_path / "notes.wal").write_text("hello")
    with pytest.raises(InvalidInputError, match="not a segment"):
        opened(tmp_path)
    (tmp_path / "notes.wal").rename(tmp_path / "00000000000000000009.wal")
    with pytest.raises(CorruptBlockError, match="not a segment"):
        opened(tmp_path)
    (tmp_path / "00000000000000000009.wal").write_bytes(MAGIC[:-1] + b"\x02")
    with pytest.raises(CorruptBlockError, match="format 2"):
        opened(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        opened(tmp_path / "file" / "log")


def test_logs_are_not_mixed(tmp_path: Path) -> None:
    for name, first in (("a", 1), ("b", 2)):
        log = opened(tmp_path / name)
        log.sync(put(log, 1))
        log.close()
        os.rename(log.segments[0].path, tmp_path / f"{first:020}.wal")
    with pytest.raises(InvalidInputError, match="another log"):
        opened(tmp_path)


def test_what_comes_along_comes_back() -> None:
    note = Note(
        Rejects(("{}", "ø"), ("bad", "worse"), "src"), {"a": {"site": "Bergen"}}, {"k": {"0": 7}}
    )
    payload = memoryview(b"".join(write_entry(message_of(batch_of([1, 2])), note)))
    rows, again = read_entry(payload, ARROW)
    assert again == note
    assert rows.equals(batch_of([1, 2]))
    newer = bytes([2]) + bytes(payload[1:])
    with pytest.raises(CorruptBlockError, match="version 2"):
        read_entry(memoryview(newer), ARROW, "here")
    with pytest.raises(CorruptBlockError, match="cannot be read"):
        read_entry(payload[:-200], ARROW, "here")


@given(data=st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    found = list(frames(memoryview(data)))
    end = found[-1].end if found else 0
    tail = tail_of(memoryview(data), end, found[-1].sequence if found else -1)
    assert tail.torn <= len(data) - end


def test_numbers_have_to_rise() -> None:
    data = frame(5, [b"one"]) + frame(5, [b"two"])
    assert [bytes(one.payload) for one in frames(memoryview(data))] == [b"one"]


def test_a_schema_that_moved_on_reads_old_entries(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.sync(put(log, 1))
    log.close()
    wider = ARROW.append(pa.field("w", pa.float64()))
    again = WriteAheadLog.open(tmp_path, "fleet", wider, segment_bytes=4096)
    again.begin(0)
    assert values_in(again) == [1]
    again.close()
