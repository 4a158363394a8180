"""A process that writes readings to a Kafka topic, as fast as it can or at a rate.

Run as ``python -m tests.benchmarks.kafka_load --help``; prints what it wrote as a line of JSON.
Every reading is one of its own: device and time occur once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from confluent_kafka import Producer

__all__ = ["PAYLOAD", "Load", "Written", "start_load", "write_load"]

PAYLOAD: Final[Mapping[str, Any]] = {
    "json": {
        "mapping": {
            "device": "message/key",
            "time": {"columns": "at", "unit": "ms"},
            "channels": {"temperature": {"dtype": "float64"}, "humidity": {"dtype": "float64"}},
        }
    }
}
"""What the messages are: the ``payload`` of a source that reads them."""

_BEGIN_MS: Final = 1_700_000_000_000


@dataclass(frozen=True)
class Load:
    """What to write.

    Parameters
    ----------
    servers, topic
        Where.
    readings
        How many.
    each
        Readings a message, all of one device.
    devices
        How many devices take turns.
    rate
        Readings a second; 0 for as fast as it goes.
    compression
        Codec of Kafka's batches.
    """

    servers: str
    topic: str
    readings: int
    each: int = 1
    devices: int = 1000
    rate: float = 0.0
    compression: str = "lz4"


@dataclass(frozen=True)
class Written:
    """What was written, and in how many seconds."""

    readings: int
    messages: int
    bytes: int
    seconds: float


def write_load(load: Load) -> Written:
    """Write readings, and wait until the broker has all of them.

    Raises
    ------
    RuntimeError
        If the broker refuses a message, or does not take all within a minute after the last.
    """
    failures: list[str] = []

    def told(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(str(error))

    producer = Producer(
        {
            "bootstrap.servers": load.servers,
            "compression.codec": load.compression,
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 500_000,
        }
    )
    begun = time.perf_counter()
    messages = size = 0
    for key, payload in _messages(load):
        _produce(producer, load.topic, key, payload, told)
        messages += 1
        size += len(payload)
        if messages % 256 == 0:
            producer.poll(0)
            if load.rate:
                ahead = messages * load.each / load.rate - (time.perf_counter() - begun)
                producer.poll(max(ahead, 0.0))
    left = producer.flush(60)
    if left or failures:
        msg = f"{left} messages were not written; {len(failures)} failed, first: {failures[:1]}"
        raise RuntimeError(msg)
    return Written(messages * load.each, messages, size, time.perf_counter() - begun)


def start_load(load: Load) -> subprocess.Popen[str]:
    """Start a process that writes; its output is `Written` as JSON."""
    told = [f"--{name}={value}" for name, value in asdict(load).items()]
    command = [sys.executable, "-m", "tests.benchmarks.kafka_load", *told]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _messages(load: Load) -> Iterator[tuple[str, bytes]]:
    """Yield keys and payloads; the time is when the device's turn came."""
    keys = [f"device-{number:05d}" for number in range(load.devices)]
    for number in range(load.readings // load.each):
        turn, device = divmod(number, load.devices)
        first = turn * load.each
        if load.each == 1:
            yield keys[device], _reading(first, device)
        else:
            several = (_reading(first + at, device) for at in range(load.each))
            yield keys[device], b"[%s]" % b",".join(several)


def _reading(turn: int, device: int) -> bytes:
    temperature, humidity = 20 + (turn + device) % 97 / 10, 40 + (turn * 7 + device) % 1009 / 100
    return b'{"at":%d,"temperature":%.1f,"humidity":%.2f}' % (
        _BEGIN_MS + turn * 1000,
        temperature,
        humidity,
    )


def _produce(
    producer: Producer, topic: str, key: str, payload: bytes, told: Callable[[Any, Any], None]
) -> None:
    while True:
        try:
            producer.produce(topic, payload, key, on_delivery=told)
        except BufferError:
            producer.poll(0.05)  # the queue is full: room comes with deliveries
        else:
            return


def main() -> None:
    """Write what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("servers", str), ("topic", str), ("readings", int)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--each", type=int, default=1)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--compression", default="lz4")
    written = write_load(Load(**vars(parser.parse_args())))
    print(json.dumps(asdict(written)))


if __name__ == "__main__":
    main()
