"""Load for MQTT brokers: readings from many devices over several connections, with QoS 1.

The publisher is a process of its own, and cheap: every packet is made before the clock starts,
and a window of them is sent at once. Run by hand it is
``python -m tests.benchmarks.mqtt_load --port 1883 --messages 100000``.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from pipeline.connectors.mqtt.wire import connect_packet, publish_packet

__all__ = ["MAPPING", "MqttLoad", "Publisher", "publisher"]

_START: Final = 1_700_000_000_000
_WINDOW: Final = 500  # messages of a connection that are not confirmed yet
_CONNACK: Final = 4  # bytes, as a PUBACK has

MAPPING: Final[dict[str, Any]] = {
    "topic": "load/{site}/{device}",
    "device": "device",
    "time": {"columns": "time", "unit": "ms"},
    "tags": ["site"],
    "channels": {"temperature": {"dtype": "float64"}, "humidity": {"dtype": "float64"}},
}
"""How the messages become rows, as JSON payloads."""


@dataclass(frozen=True, slots=True)
class MqttLoad:
    """What is published.

    Parameters
    ----------
    port
        Of the broker, on loopback.
    messages
        How many, over all connections.
    each
        Readings in a message: a JSON object, or an array of them.
    connections
        Over which the devices are divided.
    devices
        Each publishes in turn, so that its readings are a millisecond apart.
    """

    port: int
    messages: int
    each: int = 1
    connections: int = 4
    devices: int = 1000

    @property
    def readings(self) -> int:
        """Rows that come of it."""
        return self.messages * self.each

    def message(self, number: int) -> tuple[str, bytes]:
        """Return the topic and the payload of a message; each is another."""
        device, turn = number % self.devices, number // self.devices
        documents = [
            {
                "time": _START + turn * self.each + at,
                "temperature": round(20 + (turn + at) % 97 / 10, 1),
                "humidity": round(40 + (number + at) % 1009 / 100, 2),
            }
            for at in range(self.each)
        ]
        topic = f"load/site{device % 10}/device{device}"
        return topic, json.dumps(documents[0] if self.each == 1 else documents).encode()


class Publisher:
    """The process that publishes, connected and waiting.

    Parameters
    ----------
    process
        Started by `publisher`.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def begin(self) -> None:
        """Have it publish."""
        told = self._pipe(self._process.stdin)
        told.write("go\n")
        told.flush()

    def seconds(self) -> float:
        """Wait until the broker has confirmed every message, and return how long it took."""
        return float(json.loads(self._pipe(self._process.stdout).readline())["seconds"])

    def wait_until_ready(self) -> None:
        """Wait until every packet is made and every connection open.

        Raises
        ------
        ConnectionError
            If it fails.
        """
        if self._pipe(self._process.stdout).readline().strip() != "ready":
            msg = "the publisher of the load did not come up; is the broker there?"
            raise ConnectionError(msg)

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


@contextmanager
def publisher(load: MqttLoad) -> Iterator[Publisher]:
    """Yield a publisher that is ready to begin; it ends with the block."""
    command = [sys.executable, "-m", "tests.benchmarks.mqtt_load", "--wait"]
    for name, value in asdict(load).items():
        command += [f"--{name}", str(value)]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            made = Publisher(process)
            made.wait_until_ready()
            yield made
        finally:
            process.kill()


class _Client:
    """One connection: a window of messages is sent, confirmed, and then the next."""

    def __init__(self, load: MqttLoad, number: int) -> None:
        own = range(number, load.messages, load.connections)
        windows = [own[at : at + _WINDOW] for at in range(0, len(own), _WINDOW)]
        self._windows = iter([(_packets(load, window), len(window)) for window in windows])
        self._missing = _CONNACK
        self.socket = socket.create_connection(("127.0.0.1", load.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = f"load-{number}-{time.time_ns()}"
        self.socket.sendall(connect_packet(version=4, client_id=name, clean=True, keepalive=600))
        answer = self.socket.recv(_CONNACK, socket.MSG_WAITALL)
        assert answer == b"\x20\2\0\0", answer
        self.socket.setblocking(False)
        self._missing = 0
        self._left = b""

    def step(self) -> bool:
        """Send and read what is possible; tell whether there is more to do."""
        if not self._left and not self._missing:
            found = next(self._windows, None)
            if found is None:
                return False
            self._left, count = found
            self._missing = count * len(b"@\2\0\0")
        with suppress(BlockingIOError):
            if self._left:
                self._left = self._left[self.socket.send(self._left) :]
        with suppress(BlockingIOError):
            self._missing -= len(self.socket.recv(65536))
        return bool(self._left or self._missing) or self.step()

    @property
    def events(self) -> int:
        """What to wait for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._left else 0)


def _packets(load: MqttLoad, numbers: range) -> bytes:
    return b"".join(
        publish_packet(*load.message(number), version=4, qos=1, number=at)
        for at, number in enumerate(numbers, 1)
    )


def _publish(clients: list[_Client]) -> float:
    began = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for client in clients:
            if client.step():
                selector.register(client.socket, client.events, client)
        while selector.get_map():
            for key, _ in selector.select(1):
                if key.data.step():
                    selector.modify(key.fileobj, key.data.events, key.data)
                else:
                    selector.unregister(key.fileobj)
    return time.perf_counter() - began


def main() -> None:
    """Publish the load that the command line describes."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mqtt_load")
    parser.add_argument("--port", type=int, required=True, help="of the broker on loopback")
    parser.add_argument("--messages", type=int, required=True, help="how many to publish")
    parser.add_argument("--each", type=int, default=1, help="readings in a message")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--wait", action="store_true", help="begin when a line comes on stdin")
    told = vars(parser.parse_args())
    wait = told.pop("wait")
    load = MqttLoad(**told)
    clients = [_Client(load, number) for number in range(load.connections)]
    print("ready", flush=True)
    if wait:
        sys.stdin.readline()
    seconds = _publish(clients)
    for client in clients:
        client.socket.sendall(struct.pack(">BB", 0xE0, 0))
        client.socket.close()
    print(json.dumps({"seconds": seconds, "messages_per_s": load.messages / seconds}), flush=True)


if __name__ == "__main__":
    main()
