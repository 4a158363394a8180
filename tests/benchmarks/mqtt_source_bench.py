"""Drawing from an MQTT broker until all is acknowledged, against paho with manual acknowledgement."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from pipeline.connectors.mqtt import MqttOptions, MqttSource
from pipeline.connectors.payloads import Decoder, Message
from pipeline.jobs.printing import align
from tests.benchmarks.measuring import run_apart, scratch_folder
from tests.benchmarks.mqtt_load import MAPPING, MqttLoad, publisher
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError
from tests.servers.mosquitto import find, mosquitto

__all__ = ["run"]

_SETTINGS: Final = ("max_inflight_messages 0", "max_queued_bytes 0")
_PATIENCE: Final = 60.0  # seconds without a message


@dataclass(frozen=True, slots=True)
class _Scale:
    messages: Mapping[int, int]
    turns: int


_SCALES: Final = {
    Size.FULL: _Scale({1: 100_000, 100: 5_000}, 3),
    Size.QUICK: _Scale({1: 20_000, 100: 1_000}, 3),
    Size.TINY: _Scale({1: 200, 100: 10}, 1),
}


class _Host:
    """Whoever draws; it stores nothing."""

    def positions(self) -> Mapping[str, Any]:
        """Return no positions."""
        return {}

    def settle(self, timeout: float) -> bool:
        """Say that all is stored."""
        return True


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Have both draw the same messages in turn; `show` is told about progress."""
    if find() is None:
        msg = "mosquitto is not installed; run: python -m tests.servers.install"
        raise WrongResultError(msg)
    scale = _SCALES[size]
    rows: list[dict[str, Any]] = []
    with scratch_folder() as folder:
        for each, messages in scale.messages.items():
            for turn in range(scale.turns):
                rows.append(_turn(Path(folder) / f"{each}-{turn}", messages, each))
                show(_line(rows[-1]))
    figures: dict[str, Figure] = {}
    for each in scale.messages:
        of = [row for row in rows if row["each"] == each]
        words = f"with {each} readings a message"
        for side in ("ours", "paho"):
            value = median(row[f"{side}_per_s"] for row in of)
            figures[f"{side}_{each}_per_s"] = Figure(value, f"messages/s, {side}, {words}")
        ratio = median(row["ours_per_s"] / row["paho_per_s"] for row in of)
        figures[f"vs_paho_{each}"] = Figure(ratio, f"our messages/s / paho's, {words}")
    return Outcome(figures, rows, _NOTES, _table(rows))


def _turn(folder: Path, messages: int, each: int) -> dict[str, Any]:
    found: dict[str, Any] = {"each": each}
    with mosquitto(folder, settings=_SETTINGS) as broker:
        for side, draw in (("ours", draw_ours), ("paho", draw_paho)):
            load = MqttLoad(broker.port, messages, each)
            run_apart(draw, broker.port, 0)  # the broker keeps what comes for the session
            with publisher(load) as ready:
                ready.begin()
                ready.seconds()
            seconds, cpu = run_apart(draw, broker.port, load.readings).value
            found |= {f"{side}_per_s": messages / seconds, f"{side}_cpu_us": 1e6 * cpu / messages}
    return found


def draw_ours(port: int, readings: int) -> tuple[float, float]:
    """Draw that many rows from the source; return wall and processor seconds."""
    options = MqttOptions.model_validate(
        {
            "url": f"mqtt://127.0.0.1:{port}",
            "client_id": "ours",
            "payload": {"json": {"mapping": MAPPING}},
        }
    )
    source = MqttSource(options)
    _warm(options.payload.decoder())
    began, cpu = time.perf_counter(), time.process_time()
    source.start(_Host())
    rows = 0
    while rows < readings:
        batch = source.poll(_PATIENCE)
        if batch is None:
            msg = f"{rows} of {readings} rows came: {source.counters()}"
            raise WrongResultError(msg)
        rows += batch.table.num_rows
        source.acknowledge(batch.token)
    seconds = time.perf_counter() - began, time.process_time() - cpu
    source.stop()
    return seconds


def draw_paho(port: int, readings: int) -> tuple[float, float]:
    """Do the same with paho: its thread, manual acknowledgement, and our decoder."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    decoder = MqttOptions.model_validate(
        {"url": "mqtt://a", "client_id": "a", "payload": {"json": {"mapping": MAPPING}}}
    ).payload.decoder()
    _warm(decoder)
    arrived: deque[paho.MQTTMessage] = deque()
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id="paho", clean_session=False, manual_ack=True
    )
    ready: list[int] = []
    client.on_message = lambda _client, _data, message: arrived.append(message)
    client.on_connect = lambda client, *_: client.subscribe("load/+/+", 1)
    client.on_subscribe = lambda *_: ready.append(1)
    began, cpu = time.perf_counter(), time.process_time()
    client.connect("127.0.0.1", port)
    client.loop_start()
    rows, last = 0, time.monotonic()
    while rows < readings or not ready:
        batch = [arrived.popleft() for _ in range(min(len(arrived), 20_000))]
        if not batch:
            if time.monotonic() - last > _PATIENCE:
                msg = f"{rows} of {readings} rows came to paho"
                raise WrongResultError(msg)
            time.sleep(0.002)
            continue
        last = time.monotonic()
        now = time.time_ns() // 1000
        messages = [
            Message(message.topic, bytes(message.payload), now + at)
            for at, message in enumerate(batch)
        ]
        rows += decoder.decode(messages).table.num_rows
        for message in batch:
            client.ack(message.mid, message.qos)
    seconds = time.perf_counter() - began, time.process_time() - cpu
    client.disconnect()
    client.loop_stop()
    return seconds


def _warm(decoder: Decoder) -> None:
    """Have the libraries of the decoder loaded before the clock starts."""
    topic, payload = MqttLoad(0, 1).message(0)
    decoder.decode([Message(topic, payload, 0)])


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"{row['each']} readings a message: {row['ours_per_s']:,.0f} messages/s, "
        f"paho {row['paho_per_s']:,.0f}"
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    heading = ("readings a message", "messages/s", "cpu us", "paho", "cpu us")
    lines = [
        [
            str(row["each"]),
            f"{row['ours_per_s']:,.0f}",
            f"{row['ours_cpu_us']:.1f}",
            f"{row['paho_per_s']:,.0f}",
            f"{row['paho_cpu_us']:.1f}",
        ]
        for row in rows
    ]
    return align(heading, lines)


_NOTES: Final = (
    "The broker, mosquitto, has all messages in a persistent session when the clock starts; it "
    "stops when all are decoded and acknowledged. Both sides decode with the same decoder.",
)
