"""Sources to draw from, and clients of another make that publish and listen."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pyarrow as pa
from paho.mqtt.enums import CallbackAPIVersion

from pipeline.connectors.mqtt import MqttOptions, MqttSource
from pipeline.model.live_sources import LiveBatch

__all__ = [
    "MAPPING",
    "Host",
    "Listener",
    "declared",
    "devices",
    "draw",
    "numbers",
    "publish",
    "readings",
    "running",
    "until",
    "unused_name",
]

_names = count()

MAPPING: dict[str, Any] = {
    "device": "device",
    "time": {"columns": "t", "unit": "ms"},
    "channels": {"n": {"dtype": "int64"}},
}
"""Of messages such as ``{"t": 1700000000000, "n": 5}``."""


class Host:
    """Whoever draws: a source without positions asks nothing of it."""

    def positions(self) -> Mapping[str, Any]:
        """Return no positions."""
        return {}

    def settle(self, timeout: float) -> bool:
        """Say that all is stored."""
        return True


def unused_name(start: str = "t") -> str:
    """Return a name that no other test of this process uses."""
    return f"{start}{next(_names)}"


def declared(url: str, topic: str, **options: Any) -> MqttOptions:
    """Return the declaration of a source of JSON messages that comes back quickly."""
    document = {
        "url": url,
        "client_id": unused_name("archive-"),
        "backoff": {"first_s": 0.02, "most_s": 0.2},
        "payload": {"json": {"mapping": {**MAPPING, "topic": topic}}},
        **options,
    }
    return MqttOptions.model_validate(document)


@contextmanager
def running(options: MqttOptions, name: str = "") -> Iterator[MqttSource]:
    """Yield a source that was started, and stop it."""
    source = MqttSource(options, name)
    source.start(Host())
    try:
        yield source
    finally:
        source.stop()


def draw(
    source: MqttSource, messages: int, *, acknowledge: bool = True, seconds: float = 30
) -> list[LiveBatch]:
    """Return batches with so many messages, or fewer if they do not come in time."""
    batches: list[LiveBatch] = []
    deadline = time.monotonic() + seconds
    while sum(batch.messages for batch in batches) < messages and time.monotonic() < deadline:
        batch = source.poll(0.1)
        if batch is not None:
            batches.append(batch)
            if acknowledge:
                source.acknowledge(batch.token)
    return batches


def numbers(batches: Iterable[LiveBatch]) -> list[int]:
    """Return the channel ``n`` of all rows, in order."""
    tables = [batch.table for batch in batches]
    return [int(n) for table in tables for n in table.column("n").to_pylist()]


def devices(batches: Iterable[LiveBatch]) -> list[str]:
    """Return the devices of all rows, in order."""
    return [
        str(device)
        for batch in batches
        for device in batch.table.column("device").cast(pa.string()).to_pylist()
    ]


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something holds.

    Raises
    ------
    TimeoutError
        If it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            msg = f"it does not hold after {seconds:g} seconds"
            raise TimeoutError(msg)
        time.sleep(0.01)


def _client(url: str, client_id: str = "") -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
    client.max_inflight_messages_set(0)
    parts = urlsplit(url)
    client.connect(parts.hostname or "", parts.port or 1883)
    return client


def publish(
    url: str, messages: Iterable[tuple[str, bytes]], *, qos: int = 1, retain: bool = False
) -> None:
    """Publish messages by another client, and return when the broker has confirmed them."""
    # Without a thread: ending one of paho's takes a second.
    client = _client(url)
    while not client.is_connected():
        client.loop(0.05)
    told = [client.publish(topic, payload, qos, retain) for topic, payload in messages]
    deadline = time.monotonic() + 60
    while client.want_write() or not all(one.is_published() for one in told):
        client.loop(0.05)
        assert time.monotonic() < deadline
    client.disconnect()


def readings(topic: str, values: Iterable[int]) -> list[tuple[str, bytes]]:
    """Return messages with a time of their own each."""
    return [(topic, json.dumps({"t": 1_700_000_000_000 + n, "n": n}).encode()) for n in values]


class Listener:
    """Another client that notes what is published on a topic.

    Parameters
    ----------
    url
        Of the broker.
    topic
        A topic filter.
    """

    def __init__(self, url: str, topic: str) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        ready = threading.Event()
        self._client = _client(url)
        self._client.on_message = self._note
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.loop_start()
        assert ready.wait(10)

    def _note(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload), message.retain))

    def close(self) -> None:
        """Stop listening."""
        self._client.disconnect()
        self._client.loop_stop()
