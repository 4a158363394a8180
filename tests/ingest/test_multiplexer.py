"""Many sources in one process: none holds up the others."""

from __future__ import annotations

import time
from collections import deque

import pytest

from pipeline.errors import InvalidInputError, StorageError
from pipeline.ingest.multiplexer import Multiplexer
from tests.ingest.live_sources import ListSource
from tests.ingest.sinks import ListSink
from tests.ingest.test_pump import opened, until


def test_sources_flow_into_their_streams() -> None:
    sinks = [ListSink(), ListSink()]
    one = ListSource([[1], [2]], name="one")
    two = ListSource([[3]], name="two")
    other = ListSource([[4, 5]], name="one")
    with Multiplexer() as lines:
        lines.add("a", opened(sinks[0]), [one, two])
        lines.add("b", opened(sinks[1]), [other])
        assert all(source.is_over.wait(20) for source in (one, two, other))
        assert lines.is_alive
    assert sorted(sinks[0].values) == [1, 2, 3]
    assert sinks[1].values == [4, 5]
    told = lines.counters()
    assert told["a"]["rows"] == 3
    assert told["a"]["sources"]["one"]["handed_over"] == 2
    assert told["b"]["state"] == "closed"
    assert not lines.is_alive
    lines.close()


def test_a_broken_one_leaves_the_others_alone() -> None:
    sinks = [ListSink(), ListSink()]
    broken = ListSource([[1]], failing=deque([InvalidInputError("wrong password")]))
    fine = ListSource([[n] for n in range(30)])
    with Multiplexer() as lines:
        lines.add("a", opened(sinks[0]), [broken])
        lines.add("b", opened(sinks[1]), [fine])
        assert fine.is_over.wait(20)
        until(lambda: bool(lines.failures))
        assert {name: str(error) for name, error in lines.failures.items()} == {
            "a/list": "wrong password"
        }
    assert sinks[1].values == list(range(30))


def test_a_fast_source_does_not_take_the_room_of_a_slow_one() -> None:
    """While nothing can be committed, the fast one fills its half only."""
    sink = ListSink()
    fast = ListSource([[n] * 20 for n in range(200)], name="fast")
    slow = ListSource([[-1]], name="slow")
    with Multiplexer() as lines:
        session = opened(sink, max_bytes=100_000)
        sink.mode = "down"
        lines.add("a", session, [fast])
        until(lambda: lines.counters()["a"]["sources"]["fast"]["state"] == "waiting")
        sink.mode = "fine"
        assert fast.is_over.wait(20)
    with Multiplexer() as lines:
        fast.is_over.clear()
        fast.acknowledged.clear()
        session = opened(sink, max_bytes=100_000)
        sink.mode = "down"
        lines.add("a", session, [fast, slow])
        until(lambda: lines.counters()["a"]["sources"]["fast"]["state"] == "waiting")
        until(lambda: lines.counters()["a"]["sources"]["slow"]["messages"] == 1)
        sink.mode = "fine"
        assert fast.is_over.wait(20)


def test_names_are_told_apart() -> None:
    with Multiplexer() as lines:
        lines.add("a", opened(ListSink()), [])
        with opened(ListSink()) as session, pytest.raises(InvalidInputError, match="stream 'a'"):
            lines.add("a", session, [])
        with opened(ListSink()) as session, pytest.raises(InvalidInputError, match="stream 'b'"):
            lines.add("b", session, [ListSource([]), ListSource([])])


def test_a_stream_that_cannot_be_closed_in_order_does_not_keep_the_others_open() -> None:
    sinks = [ListSink(), ListSink()]
    lines = Multiplexer()
    down, fine = ListSource([[1]]), ListSource([[2]])
    lines.add("a", opened(sinks[0], patience="1 us"), [down])
    sinks[0].mode = "down"
    lines.add("b", opened(sinks[1]), [fine])
    assert fine.is_over.wait(20)
    until(lambda: bool(lines.failures))
    began = time.monotonic()
    with pytest.raises(StorageError):
        lines.close()
    assert time.monotonic() - began < 10
    assert sinks[1].values == [2]
    assert lines.counters()["b"]["state"] == "closed"


def test_an_error_inside_is_not_hidden_by_one_of_closing() -> None:
    sink = ListSink()
    with pytest.raises(ZeroDivisionError), Multiplexer() as lines:  # noqa: PT012
        lines.add("a", opened(sink, patience="1 us"), [ListSource([[1]])])
        sink.mode = "down"
        until(lambda: bool(lines.failures))
        raise ZeroDivisionError
