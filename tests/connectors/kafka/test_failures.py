"""Brokers that die, messages that are gone, and options that are wrong."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.connectors.kafka import KafkaOptions, KafkaSource
from pipeline.errors import InvalidInputError, MissingDependencyError
from pipeline.model.live_sources import LiveSource
from tests.connectors.kafka.hosts import MemoryArchive, MemoryHost, running
from tests.connectors.kafka.topics import PAYLOAD, Topic, new_topic
from tests.servers.kafka import KafkaBroker
from tests.servers.ports import free_port

type Topics = Callable[..., Topic]

QUICK = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200}


@pytest.fixture
def mortal(broker: KafkaBroker) -> Iterator[KafkaBroker]:
    """The broker, for a test that kills it; it runs again for the tests after it."""
    yield broker
    broker.start()


def test_a_broker_that_is_killed_and_comes_back(mortal: KafkaBroker, topic: Topics) -> None:
    told = topic(partitions=2)
    archive = MemoryArchive()
    told.send(range(200))
    with running(told.options(settings=QUICK), archive) as host:
        host.until(lambda: len(archive.numbers) == 200)
        with running(told.options(group_id="stops", settings=QUICK)) as other:
            other.until(lambda: len(other.archive.numbers) == 200)
            mortal.kill()
            begun = time.monotonic()
        assert time.monotonic() - begun < 10, "stopping has to be quick without a broker too"
        host.until(lambda: host.source.counters()["connected"] == 0, 15)
        assert host.source.poll(0.1) is None
        mortal.start()
        host.until(lambda: host.source.counters()["connected"] == 1, 60)
        told.send(range(200, 300))
        host.until(lambda: len(archive.numbers) >= 300, 60)
        assert int(host.source.counters()["connection_losses"]) >= 1
    assert sorted(archive.numbers) == list(range(300))
    assert archive.left_out == 0


def test_messages_that_retention_deleted_are_counted(topic: Topics) -> None:
    told = topic()
    archive = MemoryArchive()
    told.send(range(100))
    with running(told.options(limits={"batch_messages": 10}), archive) as host:
        host.until(lambda: len(archive.numbers) >= 10)
    read = len(archive.numbers)
    told.forget(50)
    with running(told.options(), archive) as host:
        host.until(lambda: len(archive.numbers) >= read + 50)
        counters = host.source.counters()
    assert archive.numbers == [*range(read), *range(50, 100)]
    assert counters["out_of_range"] == 1
    assert counters["deleted_unread"] == 50 - read
    assert archive.known_of(told.name) == {"0": 100}


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(topic: Topics) -> None:
    told = topic()
    archive = MemoryArchive()
    told.send(range(100))
    with running(told.options(), archive) as host:
        host.until(lambda: len(archive.numbers) == 100)
    told.make_anew()
    told.send(range(100, 110))
    with running(told.options(), archive) as host:
        host.until(lambda: len(archive.numbers) == 110)
        assert host.source.counters()["out_of_range"] == 1
    assert archive.numbers == list(range(110))
    assert archive.known_of(told.name) == {"0": 10}


def test_stopping_at_positions_that_are_gone_can_be_asked_for(topic: Topics) -> None:
    told = topic()
    archive = MemoryArchive()
    told.send(range(100))
    archive.known = {"kafka/strict": {told.name: {"0": 10}}}
    told.forget(50)
    options = told.options(group_id="strict", out_of_range="error")
    with running(options, archive) as host:
        for _ in range(2):  # told again as long as it is so
            with pytest.raises(InvalidInputError, match="at 10 are gone, the broker has 50 to 100"):
                host.until(lambda: False, 20)
    assert archive.numbers == []


def test_no_broker_is_told_within_the_stated_time() -> None:
    options = _options(bootstrap_servers=[f"127.0.0.1:{free_port()}"], connect_timeout_s=1.0)
    begun = time.monotonic()
    with pytest.raises(InvalidInputError, match=r"cannot be reached within 1 s.*refused"):
        _start(options)
    assert time.monotonic() - begun < 5


def test_a_misspelt_topic_is_told(topic: Topics) -> None:
    told = topic()
    with pytest.raises(InvalidInputError, match="no topic 'telemetrie'"):
        _start(told.options(topics=["telemetrie"]))


def test_a_topic_may_come_later(broker: KafkaBroker) -> None:
    told = Topic(broker.address, "comes-later", 1)
    options = told.options(
        missing_topics="wait", settings={"topic.metadata.refresh.interval.ms": 200}
    )
    with running(options) as host:
        assert host.draw() == 0
        new_topic(broker.address, told.name, 1, {})
        told.send([1])
        host.until(lambda: host.archive.numbers == [1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"no.such.thing": 1}, 'No such configuration property: "no.such.thing"'),
        ({"session.timeout.ms": "soon"}, "session.timeout.ms"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        _start(_options(settings=settings))


def test_a_source_has_to_be_started() -> None:
    source = _options().source()
    with pytest.raises(InvalidInputError, match="not started"):
        source.poll(0)
    source.stop()


def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(MissingDependencyError, match=r"iot-archive\[kafka\]"):
        _options().source()


def test_it_is_a_live_source() -> None:
    source = _options().source()
    assert isinstance(source, LiveSource)
    assert source.replays
    assert source.name == "kafka/g"
    assert source.arrow_schema().names == ["device", "time", "number"]


def _options(**others: Any) -> KafkaOptions:
    told: dict[str, Any] = {
        "bootstrap_servers": ["127.0.0.1:1"],
        "topics": ["t"],
        "group_id": "g",
        "payload": PAYLOAD,
    }
    return KafkaOptions.model_validate(told | others)


def _start(options: KafkaOptions) -> None:
    source: KafkaSource = options.source()
    source.start(MemoryHost(MemoryArchive(), source))
    source.stop()
