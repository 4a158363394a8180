"""A session over an archive that is slow, fails, or is gone."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import BufferFullError, ConflictError, InvalidInputError, StorageError
from pipeline.ingest.options import StreamOptions
from pipeline.ingest.policies import Durability
from pipeline.ingest.session import StreamSession
from tests.ingest.sinks import EVOLVING, ListSink, batch_of
from tests.support import START


def opened(sink: ListSink, folder: Path | None = None, **options: Any) -> StreamSession:
    given = {"durability": "none"} if folder is None else {}
    read = StreamOptions.parse(logged=folder is not None, **{**given, **options})
    return StreamSession(sink, "fleet", EVOLVING, read, folder)


def test_rows_get_there_by_age_alone() -> None:
    sink = ListSink()
    with opened(sink, flush={"age": "20 ms"}) as stream:
        receipt = stream.write(batch_of([1, 2]))
        assert receipt.durable in ("none", "commit")
        deadline = time.monotonic() + 20
        while not sink.values and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sink.values == [1, 2]


@pytest.mark.parametrize(
    "flush", [{"rows": 4}, {"bytes": 4000}, {"event_time": "3 s"}], ids=["rows", "bytes", "time"]
)
def test_rows_get_there_when_enough_is_held(flush: dict[str, Any]) -> None:
    sink = ListSink()
    with opened(sink, flush={"age": "1 day", **flush}) as stream:
        stream.write(batch_of([1]))
        time.sleep(0.05)
        assert sink.values == []
        last = stream.write(batch_of([2, 3, 4, 5]))
        deadline = time.monotonic() + 20
        while last.durable != "commit" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sink.values == [1, 2, 3, 4, 5]


def test_levels_of_durability(tmp_path: Path) -> None:
    sink = ListSink()
    slow = {"age": "1 day"}
    with opened(sink, tmp_path, flush=slow) as stream:
        receipt = stream.write(batch_of([1]))
        assert (receipt.durable, sink.values) == ("log", [])
        receipt.wait("commit")
        assert (receipt.durable, sink.values) == ("commit", [1])
    with opened(sink, durability="commit", flush=slow) as stream:
        assert stream.write(batch_of([2])).durable == "commit"
        assert sink.values == [1, 2]
    with opened(sink, flush=slow) as stream:
        receipt = stream.write(batch_of([3]))
        assert receipt.durable == "none"
        receipt.wait("none")
        receipt.wait("log")
        assert receipt.durable == "commit"
    with pytest.raises(InvalidInputError, match="closed"):
        stream.write(batch_of([4]))
    stream.close()


def test_a_lost_archive_is_tried_again_until_it_is_back(tmp_path: Path) -> None:
    sink = ListSink()
    with opened(sink, tmp_path, flush={"age": "1 ms"}) as stream:
        sink.mode = "down"
        stream.write(batch_of([1]))
        deadline = time.monotonic() + 20
        while stream.counters.retries < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stream.counters.state == "retrying"
        assert "disk is gone" in stream.counters.error
        with pytest.raises(TimeoutError, match=r"after 0\.01 s"):
            stream.flush(timeout=0.01)
        sink.mode = "lost"
        while not sink.commits and time.monotonic() < deadline:
            time.sleep(0.01)
        sink.mode = "fine"
        stream.flush(timeout=60)
        assert stream.counters.state == "running"
    assert sink.values == [1]


def test_patience_ends_and_the_log_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    sink = ListSink()
    stream = opened(sink, tmp_path, flush={"age": "1 ms"}, patience="1 us")
    sink.mode = "down"
    try:
        stream.write(batch_of([1, 2]))
        with pytest.raises(StorageError, match="is safe in"):
            stream.flush()
        assert stream.counters.state == "stopped"
        with pytest.raises(StorageError, match="open it again"):
            stream.write(batch_of([3]))
    finally:
        with pytest.raises(StorageError, match="stopped"):
            stream.close()
    sink.mode = "fine"
    with opened(sink, tmp_path) as stream:
        stream.flush()
        assert stream.counters.replayed == 2
    assert sink.values == [1, 2]


def test_an_error_inside_the_block_is_not_hidden_by_that_of_closing() -> None:
    with (
        pytest.raises(InvalidInputError, match="unknown="),
        opened(ListSink(mode="down"), flush={"age": "1 ms"}, patience="1 us") as stream,
    ):
        stream.write(batch_of([1]), unknown="drop")


def test_a_bug_in_committing_stops_the_stream(tmp_path: Path, monkeypatch: Any) -> None:
    sink = ListSink()
    monkeypatch.setattr(sink, "append", lambda *_: 1 / 0)
    stream = opened(sink, tmp_path, flush={"age": "1 ms"})
    stream.write(batch_of([1]))
    with pytest.raises(StorageError, match="division"):
        stream.flush()
    with pytest.raises(StorageError):
        stream.close()


def test_a_full_stream_waits_or_raises_or_spills(tmp_path: Path) -> None:
    small: dict[str, Any] = {"max_bytes": 6000, "flush": {"age": "1 ms"}}
    sink = ListSink(mode="down")
    with opened(sink, when_full="raise", **small) as stream:
        stream.write(batch_of([1]))
        stream.write(batch_of([2]))
        with pytest.raises(BufferFullError, match="of 6000 bytes"):
            stream.write(batch_of([3]))
        sink.mode = "fine"
    assert sink.values == [1, 2]

    sink = ListSink(mode="down")
    with opened(sink, when_full="wait", **small) as stream:
        stream.write(batch_of([1]))
        stream.write(batch_of([2]))
        waiting = threading.Thread(target=stream.write, args=(batch_of([3]),))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        with pytest.raises(BufferFullError):
            stream.write(batch_of([4]), block=False)
        sink.mode = "fine"
        waiting.join(30)
        assert not waiting.is_alive()
    assert sink.values == [1, 2, 3]

    sink = ListSink()
    with opened(sink, tmp_path, when_full="spill", **small) as stream:
        sink.mode = "down"
        for value in range(50):
            stream.write(batch_of([value]))
        assert stream.counters.spilled
        assert stream.counters.held_bytes <= 6000
        held, _ = stream.held()
        assert [value for one in held for value in one.rows["v"].to_pylist()] == list(range(50))
        sink.mode = "fine"
    assert sink.values == list(range(50))


def test_a_write_that_the_log_cannot_take_is_not_committed_either(
    tmp_path: Path, monkeypatch: Any
) -> None:
    sink, real = ListSink(), os.pwritev

    def no_room(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(sink, tmp_path, flush={"age": "1 day"}) as stream:
        stream.write(batch_of([1]))
        monkeypatch.setattr(os, "pwritev", no_room)
        receipt = stream.write(batch_of([2, 3]), wait=False)
        with pytest.raises(StorageError, match="No space left"):
            stream.write(batch_of([4]))
        with pytest.raises(StorageError, match="No space left"):
            receipt.wait("log")
        assert receipt.durable == "none"
        monkeypatch.setattr(os, "pwritev", real)
        assert (stream.counters.held_rows, stream.counters.rows) == (1, 1)
        stream.write(batch_of([5]))
        stream.flush()
        assert receipt.durable == "none"
    assert sink.values == [1, 5]


def test_a_failed_compaction_is_told_and_harms_nothing(caplog: Any) -> None:
    def compact() -> int:
        raise ConflictError("others were faster")

    sink, options = ListSink(), StreamOptions(Durability.COMMIT, compact_every=1)
    with StreamSession(sink, "fleet", EVOLVING, options, compact=compact) as stream:
        stream.write(batch_of([1]))
    assert sink.values == [1]
    assert "others were faster" in caplog.text
    assert stream.counters.compactions == 0


def test_what_comes_along_gets_there() -> None:
    sink = ListSink()
    with opened(sink) as stream:
        stream.write(batch_of([1]), tags={"a": {"site": "x"}}, positions={"topic": {"0": 5}})
        stream.write(batch_of([2]), tags={"a": {"model": "m"}}, positions={"topic": {"1": 6}})
        receipt = stream.write({"device": ["a", ""], "time": batch_of([3, 4])["time"], "v": [3, 4]})
        assert (receipt.rows, receipt.quarantined) == (1, 1)
        counters = stream.counters
    assert sink.tags == {"a": {"site": "x", "model": "m"}}
    assert sink.known["topic"] == {"0": 5, "1": 6}
    assert sink.rejects == ["device id is empty"]
    assert (counters.rows, counters.quarantined, counters.writes) == (3, 1, 3)
    assert counters.to_json()["write_amplification"] == 1.0


def test_late_rows_are_counted_and_those_beyond_a_limit_set_aside() -> None:
    sink = ListSink()
    limit = {"within": "1 min", "else": "quarantine"}
    with opened(sink, disorder="10 s", late=limit) as stream:
        assert stream.write(batch_of([100])).late == 0
        receipt = stream.write(batch_of([95, 80, 1, 101]))
        assert (receipt.rows, receipt.late, receipt.quarantined) == (3, 1, 1)
        assert stream.watermark("a") == START + (101 - 10) * 1_000_000
        assert stream.watermark("b") is None
    assert sink.values == [100, 95, 80, 101]
    assert "behind the watermark" in sink.rejects[0]


def test_the_log_of_another_archive_is_refused(tmp_path: Path) -> None:
    sink = ListSink()
    with opened(sink, tmp_path) as stream:
        for value in range(3):
            stream.write(batch_of([value]))
    with opened(sink, tmp_path) as stream:
        stream.write(batch_of([3]))
        stream.flush()
        log = stream._state.log
        assert log is not None
        log.begin(0)
        stream.write(batch_of([4]))
        stream.flush()
    with pytest.raises(InvalidInputError, match="another archive"):
        opened(ListSink(), tmp_path)
    with opened(sink, tmp_path):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"durability": "log"}, "needs a folder"),
        ({"when_full": "spill"}, "needs a folder"),
        ({"when_full": "drop"}, "'wait', 'raise', 'spill'"),
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"flush": {"row": 1}}, "flush has no 'row'"),
        ({"flush": {"rows": 0}}, "use 1 or more"),
        ({"late": {"else": "drop"}}, "late="),
        ({"late": {"within": "1 h", "else": "drop"}}, "late\\['else'\\]='drop'"),
        ({"disorder": "soon"}, "soon"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        opened(ListSink(), **options)


def test_what_becomes_of_unknown_columns_has_a_name() -> None:
    with opened(ListSink()) as stream, pytest.raises(InvalidInputError, match="unknown='drop'"):
        stream.write(batch_of([1]), unknown="drop")


def test_slices_of_something_large_are_held_on_their_own() -> None:
    large = batch_of(list(range(100_000)))
    with opened(ListSink(), flush={"age": "1 day"}) as stream:
        stream.write(large.slice(500, 3))
        held, _ = stream.held()
        assert held[0].rows.equals(large.slice(500, 3))
        assert held[0].rows.get_total_buffer_size() < 2000
