"""Pumps: nothing is acknowledged before it is safe, and a slow archive stops the source."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InvalidInputError, StorageError
from pipeline.ingest.backoff import Backoff
from pipeline.ingest.options import StreamOptions
from pipeline.ingest.pump import Pump
from pipeline.ingest.session import StreamSession
from pipeline.model.rejects import Rejects
from tests.ingest.live_sources import ListSource
from tests.ingest.sinks import EVOLVING, ListSink


def opened(sink: ListSink, folder: Path | None = None, **options: Any) -> StreamSession:
    told = {"durability": "commit" if folder is None else "log", "flush": {"age": "10 ms"}}
    parsed = StreamOptions.parse(logged=folder is not None, **(told | options))
    return StreamSession(sink, "fleet", EVOLVING, parsed, folder)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def run(pump: Pump, source: ListSource) -> None:
    pump.start()
    assert source.is_over.wait(20)
    pump.stop()
    pump.join(20)
    assert not pump.is_alive()


@pytest.mark.parametrize("replays", [False, True])
@pytest.mark.parametrize("logged", [False, True])
def test_everything_arrives_and_is_acknowledged(
    tmp_path: Path, replays: bool, logged: bool
) -> None:
    sink, source = ListSink(), ListSource([[1, 2], [3], [4, 5, 6]], replays)
    with opened(sink, tmp_path if logged else None) as session:
        pump = Pump(source, session, 1 << 20)
        run(pump, source)
        assert pump.counters.acknowledged == 6
    assert sink.values == [1, 2, 3, 4, 5, 6]
    assert source.acknowledged[-1] == 3
    assert (source.starts, source.stops) == (1, 1)
    if replays:
        assert sink.known["list"] == {"batches": 3}
    counted = pump.counters
    assert (counted.messages, counted.rows, counted.bytes) == (6, 6, 600)
    assert (counted.state, counted.error) == ("stopped", "")
    assert counted.last_message is not None


def test_nothing_is_acknowledged_while_the_archive_is_down() -> None:
    sink, source = ListSink(), ListSource([[1, 2], [3]])
    with opened(sink) as session:
        sink.mode = "down"
        pump = Pump(source, session, 1 << 20)
        pump.start()
        assert source.is_over.wait(20)
        until(lambda: session.counters.retries > 0)
        assert source.acknowledged == []
        sink.mode = "fine"
        until(lambda: source.acknowledged != [])
        pump.stop()
        pump.join()
    assert sink.values == [1, 2, 3]


def test_the_log_is_enough_for_a_source_that_cannot_replay(tmp_path: Path) -> None:
    sink, source = ListSink(), ListSource([[1], [2]])
    with opened(sink, tmp_path) as session:
        sink.mode = "down"
        pump = Pump(source, session, 1 << 20)
        run(pump, source)
        assert source.acknowledged == [1, 2]
        assert sink.values == []
        sink.mode = "fine"
    assert sink.values == [1, 2]


def test_a_source_is_paused_while_its_share_is_full() -> None:
    sink, source = ListSink(), ListSource([[n] for n in range(40)])
    with opened(sink) as session:
        sink.mode = "down"
        pump = Pump(source, session, 500)
        pump.start()
        until(lambda: pump.counters.state == "waiting")
        assert pump.counters.messages <= 10
        assert source.paused
        sink.mode = "fine"
        assert source.is_over.wait(20)
        pump.stop()
        pump.join()
    assert source.pauses == source.resumes == pump.counters.waits
    assert sorted(sink.values) == list(range(40))


def test_a_full_stream_pauses_the_source_as_well() -> None:
    sink, source = ListSink(), ListSource([[n] for n in range(40)])
    with opened(sink, max_bytes=10_000) as session:
        sink.mode = "down"
        pump = Pump(source, session, 1 << 30)
        pump.start()
        until(lambda: pump.counters.state == "waiting")
        assert session.counters.held_bytes <= 12_000
        sink.mode = "fine"
        assert source.is_over.wait(20)
        pump.stop()
        pump.join()
    assert sink.values == list(range(40))


def test_a_source_that_fails_is_started_again_and_goes_on() -> None:
    sink = ListSink()
    source = ListSource([[1], [2]], failing=deque([OSError("the broker is gone"), RuntimeError()]))
    with opened(sink) as session:
        pump = Pump(source, session, 1 << 20, Backoff(1000, 2000))
        run(pump, source)
    assert (source.starts, source.stops, pump.counters.restarts) == (3, 3, 2)
    assert sink.values == [1, 2]
    assert pump.failure is None


def test_an_error_that_stays_ends_it() -> None:
    source = ListSource([[1]], failing=deque([InvalidInputError("wrong password")]))
    with opened(ListSink()) as session:
        pump = Pump(source, session, 1 << 20)
        pump.start()
        pump.join(20)
    assert str(pump.failure) == "wrong password"
    assert (pump.counters.state, pump.counters.error) == ("failed", "wrong password")


def test_a_stream_that_gave_up_ends_it() -> None:
    sink, source = ListSink(), ListSource([[1]])
    session = opened(sink, patience="1 us")
    sink.mode = "down"
    pump = Pump(source, session, 1 << 20)
    pump.start()
    pump.join(20)
    assert isinstance(pump.failure, StorageError)
    assert source.acknowledged == []
    with pytest.raises(StorageError):
        session.close()


def test_a_log_without_room_has_the_source_hand_over_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, source, real = ListSink(), ListSource([[1], [2], [3]]), os.pwritev
    full = [True, True]

    def write(*arguments: Any) -> int:
        if full and full.pop():
            raise OSError(errno.ENOSPC, "no space left on device")
        return real(*arguments)

    with opened(sink, tmp_path) as session:
        monkeypatch.setattr(os, "pwritev", write)
        pump = Pump(source, session, 1 << 20, Backoff(1000, 2000))
        run(pump, source)
    assert sink.values == [1, 2, 3]
    assert pump.counters.restarts == source.starts - 1 > 0
    assert source.acknowledged[-1] == 3


def test_what_could_not_be_decoded_goes_to_quarantine() -> None:
    sink = ListSink()
    source = ListSource([[1], []], rejects={1: Rejects(("{",), ("no JSON",), "list")})
    with opened(sink) as session:
        pump = Pump(source, session, 1 << 20)
        run(pump, source)
        assert pump.counters.rejected == 1
    assert sink.rejects == ["no JSON"]
    assert source.acknowledged[-1] == 2


def test_a_source_may_wait_until_its_rows_are_in_the_archive() -> None:
    sink, source = ListSink(), ListSource([[1]], replays=True)
    with opened(sink, flush={"age": "1 h"}) as session:
        pump = Pump(source, session, 1 << 20)
        assert pump.settle(1)
        source.start(pump)
        batch = source.poll(0)
        assert batch is not None
        pump._take(batch)
        assert sink.values == []
        assert pump.settle(20)
        assert sink.values == [1]
        pump._acknowledge()
        assert source.acknowledged == [1]
        sink.mode = "down"
        pump._take(batch)
        assert not pump.settle(0.05)
        sink.mode = "fine"


def test_a_source_that_is_out_of_step_goes_back_to_where_the_archive_stands() -> None:
    """Another reader has stored the first two batches."""
    sink = ListSink()
    source = ListSource([[1], [2], [3], [4]], replays=True)
    with opened(sink, flush={"age": "100 ms"}) as session:
        pump = Pump(source, session, 1 << 20)
        pump.start()
        until(lambda: source.at == 4)
        with session._state.lock:
            if not sink.values:
                sink.values, sink.known["list"] = [1, 2], {"batches": 2}
        until(lambda: sink.values == [1, 2, 3, 4])
        until(lambda: source.acknowledged[-1:] == [4])
        pump.stop()
        pump.join()
        assert pump.counters.restarts == 1
        assert source.starts == 2
        assert session.counters.superseded == 2
