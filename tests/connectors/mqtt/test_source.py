"""Messages of a real broker become rows, and are acknowledged when told."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from pipeline.model.live_sources import LiveSource
from tests.connectors.mqtt.drawing import (
    MAPPING,
    declared,
    devices,
    draw,
    numbers,
    publish,
    readings,
    running,
    until,
    unused_name,
)
from tests.servers.mosquitto import Mosquitto

VERSIONS = ("3.1.1", "5")


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_message_becomes_a_row(broker: Mosquitto, version: str, qos: int) -> None:
    topic = unused_name()
    options = declared(broker.url, f"{topic}/{{device}}", version=version, qos=qos)
    with running(options) as source:
        assert isinstance(source, LiveSource)
        assert not source.replays
        publish(broker.url, readings(f"{topic}/pump", range(500)), qos=qos)
        batches = draw(source, 500)
        assert all(batch.table.schema.equals(source.arrow_schema()) for batch in batches)
        counters = source.counters()
    assert numbers(batches) == list(range(500))
    assert set(devices(batches)) == {"pump"}
    read = sum(batch.bytes for batch in batches)
    assert read == counters["bytes"]
    assert read > 500 * 30
    assert (counters["connected"], counters["granted_qos"]) == (1, qos)


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_persistent_session_keeps_what_comes_meanwhile(
    broker: Mosquitto, version: str, qos: int
) -> None:
    topic = unused_name()
    options = declared(broker.url, f"{topic}/{{device}}", version=version, qos=qos)
    with running(options):
        pass
    publish(broker.url, readings(f"{topic}/pump", range(100)), qos=qos)
    with running(options) as source:
        assert numbers(draw(source, 100)) == list(range(100))


def test_a_clean_session_keeps_nothing(broker: Mosquitto) -> None:
    topic = unused_name()
    options = declared(broker.url, f"{topic}/{{device}}", session="clean", client_id="")
    with running(options):
        pass
    publish(broker.url, readings(f"{topic}/pump", range(5)))
    with running(options) as source:
        assert draw(source, 1, seconds=0.3) == []


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_not_acknowledged_comes_again(broker: Mosquitto, version: str, qos: int) -> None:
    topic = unused_name()
    options = declared(broker.url, f"{topic}/{{device}}", version=version, qos=qos)
    with running(options) as source:
        publish(broker.url, readings(f"{topic}/pump", range(50)), qos=qos)
        assert numbers(draw(source, 50, acknowledge=False)) == list(range(50))
        assert source.counters()["unacknowledged_batches"] != 0
    with running(options) as source:
        assert numbers(draw(source, 50)) == list(range(50))
    with running(options) as source:
        assert draw(source, 1, seconds=0.3) == []


def test_an_acknowledgement_is_of_all_batches_up_to_it(broker: Mosquitto) -> None:
    topic = unused_name()
    options = declared(broker.url, f"{topic}/{{device}}")
    with running(options) as source:
        batches = []
        for start in range(0, 30, 10):
            publish(broker.url, readings(f"{topic}/pump", range(start, start + 10)))
            batches += draw(source, 10, acknowledge=False)
        source.acknowledge(next(b.token for b in batches if 19 in numbers([b])))
    with running(options) as source:
        assert numbers(draw(source, 10)) == list(range(20, 30))


def test_a_shared_subscription_divides_the_messages(broker: Mosquitto) -> None:
    topic = unused_name()
    options = [
        declared(broker.url, f"{topic}/{{device}}", shared_group="archive") for _ in range(2)
    ]
    with running(options[0]) as one, running(options[1]) as other:
        publish(broker.url, readings(f"{topic}/pump", range(200)))
        found: dict[int, list[int]] = {0: [], 1: []}
        for _ in range(100):
            for which, source in enumerate((one, other)):
                found[which] += numbers(draw(source, 1, seconds=0.05))
            if sum(map(len, found.values())) >= 200:
                break
    assert all(found.values())
    assert sorted(found[0] + found[1]) == list(range(200))


def test_topics_tell_devices_and_tags(broker: Mosquitto) -> None:
    topic = unused_name()
    mapping = {**MAPPING, "topic": f"{topic}/{{site}}/{{device}}/data", "tags": ["site"]}
    options = declared(broker.url, "", payload={"json": {"mapping": mapping}})
    with running(options) as source:
        messages = [
            *readings(f"{topic}/ghent/a/data", [1]),
            *readings(f"{topic}/bruges/b/data", [2]),
            *readings(f"{topic}/bruges/b/other", [3]),
        ]
        publish(broker.url, messages)
        batches = draw(source, 2)
    assert devices(batches) == ["a", "b"]
    tags = {device: dict(told) for batch in batches for device, told in batch.tags.items()}
    assert tags == {"a": {"site": "ghent"}, "b": {"site": "bruges"}}


def test_what_cannot_be_decoded_is_rejected_whole(broker: Mosquitto) -> None:
    topic = unused_name()
    payloads = [b"\xff\xfe", b"{", b"", json.dumps({"n": 1}).encode(), b'{"t": 1000, "n": 7}']
    with running(declared(broker.url, f"{topic}/{{device}}"), "hall") as source:
        publish(broker.url, [(f"{topic}/pump", payload) for payload in payloads])
        batches = draw(source, 5)
        assert source.counters()["rejected"] == 4
        until(lambda: source.counters()["unacknowledged_batches"] == 0)
    assert numbers(batches) == [7]
    assert all(batch.rejects.source == "hall" for batch in batches if len(batch.rejects))
    records = [json.loads(record) for batch in batches for record in batch.rejects.records]
    reasons = [reason for batch in batches for reason in batch.rejects.reasons]
    assert [record.get("payload") for record in records] == [None, "{", "", '{"n": 1}']
    assert records[0]["payload_base64"] == "//4="
    assert all(record["topic"] == f"{topic}/pump" and record["received"] for record in records)
    assert all(reasons)


def test_rejected_messages_do_not_come_again(broker: Mosquitto) -> None:
    topic = unused_name()
    options = declared(broker.url, f"{topic}/{{device}}")
    with running(options) as source:
        publish(broker.url, [(f"{topic}/pump", b"nonsense")])
        assert [len(batch.rejects) for batch in draw(source, 1)] == [1]
    with running(options) as source:
        assert draw(source, 1, seconds=0.3) == []


def test_rows_without_a_time_get_different_ones(broker: Mosquitto) -> None:
    topic = unused_name()
    mapping = {**MAPPING, "topic": f"{topic}/{{device}}", "time": "message/received"}
    with running(declared(broker.url, "", payload={"json": {"mapping": mapping}})) as source:
        publish(broker.url, readings(f"{topic}/pump", range(1000)))
        batches = draw(source, 1000)
    times = [time for batch in batches for time in batch.table.column("time").to_pylist()]
    assert len(set(times)) == 1000
    assert times == sorted(times)


@pytest.mark.parametrize("paused", [True, False])
def test_what_waits_is_bounded(broker: Mosquitto, paused: bool) -> None:
    topic = unused_name()
    limits: dict[str, Any] = {"buffer_bytes": 200_000, "batch_bytes": 100_000}
    with running(declared(broker.url, f"{topic}/{{device}}", limits=limits)) as source:
        if paused:
            source.pause()
        text = "x" * 10_000
        messages = [
            (f"{topic}/pump", json.dumps({"t": n, "n": n, "text": text}).encode())
            for n in range(1000)
        ]
        publish(broker.url, messages)
        read = source.counters()["bytes"]
        assert isinstance(read, int)
        assert read <= (0 if paused else 200_000 + 2 * 256 * 1024)
        source.resume()
        batches = draw(source, 1000)
        assert max(batch.bytes for batch in batches) <= 100_000 + 256 * 1024
    assert numbers(batches) == list(range(1000))


def test_a_backlog_larger_than_the_buffer_is_drawn(broker: Mosquitto) -> None:
    topic = unused_name()
    limits: dict[str, Any] = {"buffer_bytes": 100_000, "batch_bytes": 50_000}
    options = declared(broker.url, f"{topic}/{{device}}", limits=limits, connect_timeout_s=1)
    with running(options):
        pass
    text = "x" * 10_000
    documents = [json.dumps({"t": n, "n": n, "text": text}).encode() for n in range(1500)]
    publish(broker.url, [(f"{topic}/pump", document) for document in documents])
    with running(options) as source:
        time.sleep(1.5)  # the broker's answer to the subscription is behind all of it
        assert numbers(draw(source, 1500)) == list(range(1500))
        assert (source.counters()["failures"], source.counters()["connections"]) == (0, 1)


def test_user_properties_are_headers(broker: Mosquitto) -> None:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    topic = unused_name()
    mapping = {**MAPPING, "topic": f"{topic}/+", "device": "header/unit"}
    with running(declared(broker.url, "", payload={"json": {"mapping": mapping}})) as source:
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        told = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        told.UserProperty = [("unit", "press-4")]
        told.ContentType = "application/json"
        told.MessageExpiryInterval = 1000
        sent = client.publish(f"{topic}/any", b'{"t": 1, "n": 1}', 1, properties=told)
        sent.wait_for_publish(10)
        client.disconnect()
        client.loop_stop()
        assert devices(draw(source, 1)) == ["press-4"]
