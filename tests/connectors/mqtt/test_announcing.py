"""What the source itself publishes, and what it does with messages that were retained."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from pipeline.connectors.mqtt import MqttOptions
from pipeline.connectors.payloads.sparkplug_schema import payload_class
from tests.connectors.mqtt.drawing import (
    MAPPING,
    Listener,
    declared,
    draw,
    numbers,
    publish,
    readings,
    running,
    until,
    unused_name,
)
from tests.servers.mosquitto import Mosquitto
from tests.servers.proxy import proxy

VERSIONS = ("3.1.1", "5")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_archive_says_when_it_is_there(broker: Mosquitto, version: str) -> None:
    status = unused_name("status-")
    listener = Listener(broker.url, status)
    with running(declared(broker.url, "none/+", version=version, status_topic=status)):
        until(lambda: len(listener.heard) == 1)
    until(lambda: len(listener.heard) == 2)
    listener.close()
    states = [json.loads(payload) for _, payload, _ in listener.heard]
    assert [state["online"] for state in states] == [True, False]
    assert all(abs(state["timestamp"] / 1000 - time.time()) < 60 for state in states)
    late = Listener(broker.url, status)
    until(lambda: len(late.heard) == 1)
    late.close()
    assert (json.loads(late.heard[0][1])["online"], late.heard[0][2]) == (False, True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_last_will_says_when_it_is_gone(broker: Mosquitto, version: str) -> None:
    status = unused_name("status-")
    listener = Listener(broker.url, status)
    with proxy(broker.port) as between:
        url = f"mqtt://127.0.0.1:{between.port}"
        backoff = {"first_s": 1, "most_s": 2}
        options = declared(url, "none/+", version=version, status_topic=status, backoff=backoff)
        with running(options):
            until(lambda: len(listener.heard) == 1)
            between.cut()
            until(lambda: len(listener.heard) == 3)
    listener.close()
    states = [json.loads(payload)["online"] for _, payload, _ in listener.heard]
    assert states[:3] == [True, False, True]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("policy", ["store", "ignore", "auto"])
def test_retained_messages(broker: Mosquitto, version: str, policy: str) -> None:
    topic = unused_name()
    publish(broker.url, readings(f"{topic}/pump", [1]), retain=True)
    options = declared(broker.url, f"{topic}/{{device}}", version=version, retained=policy)
    for turn in range(2):
        with running(options) as source:
            publish(broker.url, readings(f"{topic}/pump", [2]), retain=False)
            found = numbers(draw(source, 2, seconds=0.4))
            ignored = source.counters()["retained_ignored"]
            if policy == "ignore":
                assert (found, ignored) == ([2], version == "3.1.1")
            else:
                # MQTT 5 sends them with a new subscription only.
                assert set(found) == {2} if version == "5" and turn else {1, 2}
                assert ignored == 0


def test_by_default_old_readings_never_get_a_new_time() -> None:
    times: list[tuple[Any, bool]] = [
        ({"columns": "t", "unit": "ms"}, True),
        ({"columns": "t", "unit": "ms", "missing": "received"}, False),
        ("message/received", False),
    ]
    for time_rule, stored in times:
        mapping = {**MAPPING, "time": time_rule}
        options = declared("mqtt://a", "", payload={"json": {"mapping": mapping}})
        assert options.stores_retained is stored
    channels = {"channels": {"n": {"dtype": "int64"}}}
    senml = declared("mqtt://a", "", payload={"senml_json": {"mapping": channels}})
    assert not senml.stores_retained
    line = {"mapping": {**channels, "measurements": ["m"], "device": "d"}}
    assert declared("mqtt://a", "", payload={"line_protocol": line}).stores_retained
    late = {**line, "missing_time": "received"}
    assert not declared("mqtt://a", "", payload={"line_protocol": late}).stores_retained
    explicit = declared("mqtt://a", "", payload={"line_protocol": late}, retained="store")
    assert explicit.stores_retained


def test_a_rebirth_is_asked_for(broker: Mosquitto) -> None:
    group = unused_name("group-")
    command = f"spBv1.0/{group}/NCMD/node"
    listener = Listener(broker.url, command)
    payload = payload_class("sparkplug_b")
    mapping = {"topic": f"spBv1.0/{group}/#", "channels": {"t": {"dtype": "float64"}}}
    options: MqttOptions = declared(
        broker.url, "", payload={"sparkplug_b": {"mapping": mapping}},
        status_topic="spBv1.0/STATE/archive",
    )  # fmt: skip
    with running(options) as source:
        told = payload(timestamp=1_700_000_000_000, seq=5)
        told.metrics.add(name="t", datatype=10, double_value=21.5)
        publish(broker.url, [(f"spBv1.0/{group}/NDATA/node", told.SerializeToString())])
        batches = draw(source, 1)
        until(lambda: len(listener.heard) == 1)
        assert source.counters()["rebirths_requested"] == 1
    listener.close()
    assert [batch.table.column("t").to_pylist() for batch in batches] == [[21.5]]
    topic, sent, retained = listener.heard[0]
    asked = payload.FromString(sent)
    assert (topic, retained) == (command, False)
    assert [(m.name, m.datatype, m.boolean_value) for m in asked.metrics] == [
        ("Node Control/Rebirth", 11, True)
    ]
    assert abs(asked.timestamp / 1000 - time.time()) < 60
