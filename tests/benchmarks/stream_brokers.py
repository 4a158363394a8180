"""From a broker to the committed archive, with everything on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

import pipeline
from pipeline.connectors.kafka import KafkaOptions
from pipeline.connectors.mqtt import MqttOptions, MqttSource
from pipeline.ingest.multiplexer import Multiplexer
from pipeline.model.live_sources import LiveSource
from pipeline.schema.channels import Schema
from tests.benchmarks.kafka_load import PAYLOAD, Load, start_load
from tests.benchmarks.mqtt_load import MAPPING, MqttLoad, publisher
from tests.benchmarks.outcome import WrongResultError
from tests.servers.kafka import KafkaBroker
from tests.servers.mosquitto import mosquitto

__all__ = ["measure_kafka", "measure_mqtt"]

_LONGEST: Final = 600.0
_PARTITIONS: Final = 4


def measure_mqtt(folder: str, messages: int, each: int) -> float:
    """Return the messages a second from publishers to the archive, log synced, QoS 1."""
    place = Path(folder)
    settings = ("max_inflight_messages 0", "max_queued_messages 0")
    with mosquitto(place / "broker", settings=settings) as broker:
        options = MqttOptions.model_validate(
            {
                "url": broker.url,
                "client_id": "archive",
                "payload": {"json": {"mapping": MAPPING}},
            }
        )
        source = MqttSource(options)
        fleet = _fleet(place, source)
        load = MqttLoad(broker.port, messages, each)
        with publisher(load) as publishing, Multiplexer() as lines:
            lines.add("fleet", fleet.stream(place / "log", future="accept"), [source])
            _until(lambda: lines.counters()["fleet"]["sources"]["archive"]["granted_qos"] == 1)
            began = time.perf_counter()
            publishing.begin()
            _wait_for(lines, load.readings)
            return messages / (time.perf_counter() - began)


def measure_kafka(folder: str, readings: int, each: int, quick: bool = False) -> float:
    """Return the readings a second from a producer to the archive, offsets in its commits.

    A broker that is `quick` starts in less time, and is slower then.
    """
    place = Path(folder)
    place.mkdir(parents=True)
    with KafkaBroker(place / "broker", quick=quick) as broker:
        options = KafkaOptions.model_validate(
            {
                "bootstrap_servers": [broker.address],
                "topics": ["load"],
                "group_id": "archive",
                "payload": PAYLOAD,
            }
        )
        source = options.source()
        fleet = _fleet(place, source)
        _make_topic(broker.address, "load")
        told = Load(broker.address, "load", readings, each)
        with start_load(told) as producing:
            began = time.perf_counter()
            with Multiplexer() as lines:
                lines.add("fleet", fleet.stream(durability="commit", future="accept"), [source])
                _wait_for(lines, readings)
                seconds = time.perf_counter() - began
            if producing.wait(_LONGEST):
                msg = "the producer of the load failed"
                raise WrongResultError(msg)
        return readings / seconds


def _make_topic(address: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    for made in admin.create_topics([NewTopic(name, _PARTITIONS, 1)]).values():
        made.result(30)


def _fleet(folder: Path, source: LiveSource) -> pipeline.Fleet:
    archive = pipeline.Archive.create(folder / "archive")
    schema = Schema.from_arrow(source.arrow_schema())
    # The first commit of a process loads code, which is no work of the stream.
    warm: dict[str, Any] = {"device": ["d"], "time": ["2026-01-01"], "temperature": [1.5]}
    archive.create_fleet("warmup", schema).append(warm)
    return archive.create_fleet("fleet", schema)


def _wait_for(lines: Multiplexer, rows: int) -> None:
    """Wait until so many rows are in the archive."""
    _until(lambda: lines.counters()["fleet"]["committed_rows"] >= rows)
    if lines.failures:
        msg = f"the source failed: {lines.failures}"
        raise WrongResultError(msg)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + _LONGEST
    while not condition():
        if time.perf_counter() > deadline:
            msg = f"not all readings are in the archive after {_LONGEST:g} s"
            raise WrongResultError(msg)
        time.sleep(0.01)
