"""Partitions move between readers, and every message is stored exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from confluent_kafka import Consumer as PlainConsumer
from confluent_kafka import KafkaException

from pipeline.connectors.kafka.placing import Placing
from pipeline.errors import InvalidInputError, StorageError
from tests.connectors.kafka.hosts import MemoryArchive, MemoryHost, running, until
from tests.connectors.kafka.topics import Topic

type Topics = Callable[..., Topic]

PROTOCOLS = pytest.mark.parametrize(
    "settings",
    [{"heartbeat.interval.ms": 200}, {"group.protocol": "consumer"}],
    ids=["classic", "consumer"],
)
"""Of the second protocol the broker decides how often it wants to hear of its members."""

type Settings = dict[str, str | int]


def partitions(host: MemoryHost) -> int:
    """Return how many partitions a source reads."""
    return int(host.source.counters()["partitions"])


def moved_by(host: MemoryHost) -> set[str]:
    """Return the partitions of the rows that are on their way."""
    return {
        number for batch in host.waiting for topics in batch.positions.values() for number in topics
    }


@PROTOCOLS
def test_readers_that_come_and_go_share_the_partitions(topic: Topics, settings: Settings) -> None:
    told = topic(partitions=4)
    archive = MemoryArchive()
    options = told.options(settings=settings, limits={"batch_messages": 20, "linger_s": 0.0})
    told.send(range(1000))
    with ExitStack() as stack:
        first = stack.enter_context(running(options, archive))
        first.until(lambda: len(archive.numbers) >= 200)
        with running(options, archive) as second:
            joined = time.monotonic()
            while partitions(second) == 0:
                # What the first has on its way is settled before its partitions go.
                first.draw()
                second.draw()
                assert time.monotonic() < joined + 30
            assert partitions(first) + partitions(second) == 4
            until([first, second], lambda: len(archive.numbers) > 600)
            told.send(range(1000, 1200))
        until([first], lambda: len(archive.numbers) >= 1200)
        assert partitions(first) == 4
    assert sorted(archive.numbers) == list(range(1200))
    assert archive.left_out == 0


@PROTOCOLS
def test_what_is_not_settled_in_time_is_stored_once_all_the_same(
    topic: Topics, settings: Settings
) -> None:
    told = topic(partitions=2)
    archive = MemoryArchive()
    options = told.options(settings=settings, limits={"linger_s": 0.5})
    told.send(range(100))
    with running(options, archive) as first:
        first.until(lambda: len(archive.numbers) == 100)
        first.settles = False
        told.send(range(100, 300))
        while len(moved_by(first)) < 2:
            first.draw()
        assert len(first.waiting) == 1, "one batch has rows of both partitions"
        with running(options, archive) as second:
            until([second], lambda: first.draw() < 0 or partitions(second) == 1)
            assert first.source.counters()["unsettled"] == 1
            until([second], lambda: len(archive.numbers) == 200)
            # Too late: the second has stored rows of one partition. The batch is left out, and
            # those of the other partition, which the first still reads, are read again.
            first.commit()
            assert archive.left_out == 1
            assert len(archive.numbers) == 200
            until([first, second], lambda: len(archive.numbers) >= 300)
            assert first.source.counters()["repositioned"] == 1
    assert sorted(archive.numbers) == list(range(300))


@PROTOCOLS
def test_a_reader_that_was_asleep_changes_nothing(topic: Topics, settings: Settings) -> None:
    told = topic(partitions=2)
    archive = MemoryArchive()
    options = told.options(settings=settings)
    sleepy = told.options(
        settings=settings
        | {"max.poll.interval.ms": 1500}
        | ({} if "group.protocol" in settings else {"session.timeout.ms": 1500}),
        limits={"batch_messages": 50, "linger_s": 0.0},
    )
    told.send(range(200))
    with running(sleepy, archive) as first:
        while not first.draw():
            pass
        with running(options, archive) as second:
            second.until(lambda: len(archive.numbers) == 200)  # after the first was taken for gone
            first.commit()
            assert archive.left_out == 1
            told.send(range(200, 300))
            until([first, second], lambda: len(archive.numbers) >= 300)
            until([first, second], lambda: partitions(first) == 1)
            # The broker tells by one of two ways, whichever comes first.
            counters = first.source.counters()
            assert counters["lost"] or counters["repositioned"]
            told.send(range(300, 400))
            until([first, second], lambda: len(archive.numbers) >= 400)
    assert sorted(archive.numbers) == list(range(400))


def test_a_group_of_readers_that_divide_otherwise_is_an_error(topic: Topics) -> None:
    told = topic()
    options = told.options()
    other = PlainConsumer(
        {
            "bootstrap.servers": told.address,
            "group.id": options.group_id,
            "partition.assignment.strategy": "range",
        }
    )
    other.subscribe([told.name])
    deadline = time.monotonic() + 20
    while not other.assignment():
        other.poll(0.1)
        assert time.monotonic() < deadline
    with (
        running(options) as host,
        pytest.raises(InvalidInputError, match=f"group '{options.group_id}' is refused"),
    ):
        host.until(lambda: False, 10)
    other.close()


def test_partitions_are_paused_when_they_come_to_a_paused_reader(topic: Topics) -> None:
    told = topic(partitions=2)
    archive = MemoryArchive()
    told.send(range(10))
    with running(told.options(), archive) as host:
        host.source.pause()
        deadline = time.monotonic() + 20
        while partitions(host) < 2:
            host.draw()
            assert time.monotonic() < deadline
        for _ in range(5):
            host.draw()
        host.commit()
        assert archive.numbers == []
        host.source.resume()
        host.until(lambda: len(archive.numbers) == 10)


def test_an_archive_that_cannot_be_asked_is_told_and_asked_again(topic: Topics) -> None:
    told = topic(partitions=2)
    told.send(range(20))
    with running(told.options()) as host:
        ask, host.positions = host.positions, unable  # type: ignore[method-assign]
        with pytest.raises(StorageError, match="no archive"):
            host.until(lambda: False)
        assert host.source.counters()["waiting"] == 2
        host.positions = ask  # type: ignore[method-assign]
        host.until(lambda: len(host.archive.numbers) == 20)
        assert host.source.counters()["waiting"] == 0
    assert sorted(host.archive.numbers) == list(range(20))


def test_a_broker_that_does_not_answer_is_asked_again(
    topic: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = topic(partitions=2)
    told.send(range(20))
    with running(told.options()) as host, monkeypatch.context() as away:
        away.setattr(Placing, "bounds", no_answer)
        host.until(lambda: host.source.counters()["waiting"] == 2)
        told.send(range(20, 30))
        host.draw()
        away.undo()
        host.until(lambda: len(host.archive.numbers) == 30)
        assert "no answer" in str(host.source.counters()["last_error"])
    assert sorted(host.archive.numbers) == list(range(30))


def unable() -> Mapping[str, Any]:
    """Fail as an archive does whose storage is away."""
    raise StorageError("no archive")


def no_answer(*_: Any) -> tuple[int, int]:
    """Fail as a broker does that is away."""
    raise KafkaException("no answer")
