"""Streams: small batches through a session with its log synced, until they are in the archive."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

import pipeline
from pipeline.api.live_stream import LiveStream
from pipeline.archive.fleet_store import FleetStore
from tests.benchmarks.measuring import Stopwatch, run_apart, scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError
from tests.benchmarks.stream_brokers import measure_kafka, measure_mqtt

__all__ = ["run"]

_START: Final = np.datetime64("2026-03-01", "us")
_DEVICES: Final = 1000
_ROWS: Final = 100
_EACH: Final = 100
_THREADS: Final = 4
_RATE: Final = 50_000
_SCHEMA: Final = pipeline.Schema(
    [
        pipeline.Channel("temperature", "float64", units="degC"),
        pipeline.Channel("humidity", "float64", units="%"),
    ]
)
_SECONDS: Final = {Size.FULL: 20.0, Size.QUICK: 6.0, Size.TINY: 0.4}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure throughput, acknowledgements and memory in turn; `show` is told about progress."""
    seconds = _SECONDS[size]
    with scratch_folder() as folder:
        rows = [
            run_apart(measure_throughput, str(folder / "a"), seconds).value,
            run_apart(measure_acknowledgements, str(folder / "b"), seconds).value,
        ]
        show("throughput and acknowledgements measured")
        slow = run_apart(measure_slow_storage, str(folder / "c"), seconds)
        show("slow storage measured")
        brokers = _brokers(folder, size, show)
    found = {**rows[0], **rows[1], **slow.value, "peak_rss_mb": slow.peak_rss / 1e6, **brokers}
    figures = {name: Figure(found[name], meaning) for name, meaning in _MEANINGS.items()}
    return Outcome(figures, [{"figure": k, "value": v} for k, v in found.items()], _NOTES)


def _brokers(folder: Path, size: Size, show: Callable[[str], None]) -> dict[str, float]:
    """Measure from real brokers into the archive."""
    scale = {Size.FULL: 1.0, Size.QUICK: 0.2, Size.TINY: 0.002}[size]
    single, many = int(600_000 * scale), int(60_000 * scale)
    found = {
        "mqtt_messages_per_s": run_apart(measure_mqtt, str(folder / "d"), single, 1).value,
        "mqtt_batched_readings_per_s": _EACH
        * run_apart(measure_mqtt, str(folder / "e"), many, _EACH).value,
    }
    show("MQTT measured")
    for name, readings, each in (
        ("kafka_readings_per_s", many * _EACH, _EACH),
        ("kafka_single_readings_per_s", 5 * single, 1),
    ):
        place, quick = str(folder / name), size is Size.TINY
        found[name] = run_apart(measure_kafka, place, readings, each, quick).value
    show("Kafka measured")
    return found


_MEANINGS: Final = {
    "api_readings_per_s": "rows/s, batches of 100 from 2 threads, log synced (16 batches a wait), to the last commit",
    "write_cpu_us": "us of CPU for each such batch in the writing threads",
    "ack_p50_ms": "ms until a batch of 100 is on the disk, at 50,000 rows/s",
    "ack_p99_ms": "ms, 99th percentile of the same",
    "disk_sync_p50_ms": "ms, a bare write of such a batch and fdatasync on this disk, before",
    "disk_sync_p99_ms": "ms, 99th percentile of the same",
    "freshness_p99_s": "s from the write until rows are in the archive, 99th percentile",
    "live_vs_bulk_bytes": "stored bytes after compaction / of the same rows appended at once",
    "write_amplification": "encoded bytes written / bytes of the commits alone",
    "slow_readings_per_s": "rows/s with commits slowed down 10 times, 32 MB held at most",
    "peak_rss_mb": "MB, most memory of that process",
    "mqtt_messages_per_s": "messages/s, a reading each, QoS 1: mosquitto to the last commit",
    "mqtt_batched_readings_per_s": "readings/s of the same with 100 in a message",
    "kafka_readings_per_s": "readings/s, 100 in a message: Kafka to the last commit",
    "kafka_single_readings_per_s": "readings/s of the same with one in a message",
    "other_cores": "cores that other processes used during the first measurement",
}


def measure_throughput(folder: str, seconds: float) -> dict[str, float]:
    """Write as fast as it goes, each thread asking for acknowledgements of several writes at once."""
    fleet = _fleet(Path(folder))
    with fleet.stream(Path(folder) / "log", compact=False) as stream:
        writers = _Writers(stream, seconds, threads=2, window=16)
        watch = Stopwatch()
        with watch:
            writers.run()
            stream.flush()
    _check(fleet, writers.batches)
    return {
        "api_readings_per_s": writers.batches * _ROWS / watch.seconds,
        "write_cpu_us": 1e6 * writers.cpu / writers.batches,
        "other_cores": watch.other_cpu_seconds / watch.seconds,
    }


def measure_acknowledgements(folder: str, seconds: float) -> dict[str, float]:
    """Write at a fixed rate, and compare what is stored with a bulk append."""
    disk = _disk_syncs(Path(folder).parent / "disk") * 1e3
    fleet = _fleet(Path(folder))
    with fleet.stream(Path(folder) / "log", flush={"age": "1 s"}) as stream:
        writers = _Writers(stream, seconds, _THREADS * _ROWS / _RATE)
        writers.run()
        stream.flush()
        writers.stop_watching()
    _check(fleet, writers.batches)
    fleet.compact()
    bulk = _fleet(Path(folder) / "bulk")
    bulk.append(fleet.read().read_all())
    bulk.compact()
    acks = np.array(writers.acks) * 1e3
    return {
        "ack_p50_ms": float(np.percentile(acks, 50)),
        "ack_p99_ms": float(np.percentile(acks, 99)),
        "disk_sync_p50_ms": float(np.percentile(disk, 50)),
        "disk_sync_p99_ms": float(np.percentile(disk, 99)),
        "freshness_p99_s": float(np.percentile(writers.fresh, 99)),
        "live_vs_bulk_bytes": _bytes(fleet) / _bytes(bulk),
        "write_amplification": stream.counters.write_amplification,
    }


def measure_slow_storage(folder: str, seconds: float) -> dict[str, float]:
    """Write as fast as it goes while every commit takes ten times as long."""
    fleet = _fleet(Path(folder))
    real = FleetStore.append_prepared

    def slowed(self: FleetStore, *arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = real(self, *arguments, **options)
        time.sleep(9 * (time.perf_counter() - began))
        return result

    flush = {"rows": 200_000}
    options: Any = {"max_bytes": 32 << 20, "flush": flush, "compact": False}
    with (
        patch.object(FleetStore, "append_prepared", slowed),
        fleet.stream(Path(folder) / "log", **options) as stream,
    ):
        writers = _Writers(stream, seconds)
        watch = Stopwatch()
        with watch:
            writers.run()
            stream.flush()
    _check(fleet, writers.batches)
    return {"slow_readings_per_s": writers.batches * _ROWS / watch.seconds}


@dataclass(slots=True)
class _Sample:
    receipt: Any
    began: float


class _Writers:
    """Threads that write for some seconds, as fast as it goes or once every `pause` seconds each.

    They wait for the log after `window` writes; what they wrote is acknowledged then.
    """

    def __init__(
        self,
        stream: LiveStream,
        seconds: float,
        pause: float = 0.0,
        threads: int = _THREADS,
        window: int = 1,
    ) -> None:
        self._stream = stream
        self._threads = threads
        self._window = window
        self._seconds = seconds
        self._pause = pause
        self._samples: list[_Sample] = []
        self._watcher = threading.Thread(target=self._watch)
        self._done = threading.Event()
        self.batches = 0
        self.cpu = 0.0
        self.acks: list[float] = []
        self.fresh: list[float] = []
        self._lock = threading.Lock()

    def run(self) -> None:
        """Write until the time is over."""
        if self._pause:
            self._watcher.start()
        threads = [threading.Thread(target=self._write, args=(at,)) for at in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop_watching(self) -> None:
        """Wait for the last commits that are watched."""
        self._done.set()
        self._watcher.join()

    def _write(self, worker: int) -> None:
        blanks = _blanks(worker)
        acks, number, cpu = [], 0, time.thread_time()
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < self._seconds:
            due = began + number * self._pause
            if now < due:
                time.sleep(due - now)
            batch = _batch(blanks, worker, number)
            asked = time.perf_counter()
            receipt = self._stream.write(batch, wait=False)
            if (number + 1) % self._window == 0:
                receipt.wait("log")
            acks.append(time.perf_counter() - asked)
            if self._pause and number % 10 == 0:
                self._samples.append(_Sample(receipt, asked))
            number += 1
        receipt.wait("log")
        with self._lock:
            self.cpu += time.thread_time() - cpu
            self.batches += number
            self.acks += acks

    def _watch(self) -> None:
        at = 0
        while not (self._done.is_set() and at == len(self._samples)):
            if at == len(self._samples) or self._samples[at].receipt.durable != "commit":
                time.sleep(0.002)
                continue
            self.fresh.append(time.perf_counter() - self._samples[at].began)
            at += 1


def _blanks(worker: int) -> list[dict[str, Any]]:
    """Return a minute of batches of one thread, which has a quarter of the devices."""
    chance = np.random.default_rng(worker)
    own = [f"device-{at:05}" for at in range(worker, _DEVICES, _THREADS)]
    base = chance.uniform(15, 25, len(own))
    made = []
    for number in range(600):
        rows = (np.arange(_ROWS) + number * _ROWS) % len(own)
        wave = np.sin(number / 95)
        made.append(
            {
                "device": [own[row] for row in rows.tolist()],
                "time": _START + (number * _ROWS + np.arange(_ROWS)).astype("m8[ms]"),
                "temperature": np.round(base[rows] + wave + chance.normal(0, 0.05, _ROWS), 1),
                "humidity": np.round(50 - 3 * wave + chance.normal(0, 0.1, _ROWS), 1),
            }
        )
    return made


def _batch(blanks: Sequence[dict[str, Any]], worker: int, number: int) -> dict[str, Any]:
    lap, at = divmod(number, len(blanks))
    step = np.timedelta64(lap * len(blanks) * _ROWS, "ms")
    return {**blanks[at], "time": blanks[at]["time"] + step}


def _disk_syncs(path: Path) -> NDArray[np.float64]:
    """Return what it takes to sync 5 kB, in seconds."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(handle, 0, 16 << 20)
    took = []
    for at in range(500):
        began = time.perf_counter()
        os.pwrite(handle, bytes(range(250)) * 20, at * 5000)
        os.fdatasync(handle)
        took.append(time.perf_counter() - began)
    os.close(handle)
    return np.array(took)


def _fleet(folder: Path) -> pipeline.Fleet:
    archive = pipeline.Archive.create(folder / "archive")
    # The first commit of a process loads code, which is no work of the stream.
    warm = archive.create_fleet("warmup", _SCHEMA)
    warm.append(_blanks(0)[0])
    return archive.create_fleet("fleet", _SCHEMA)


def _check(fleet: pipeline.Fleet, batches: int) -> None:
    found = int(fleet.aggregate({"temperature": "count"}, by=[])["temperature_count"])
    if found != batches * _ROWS:
        msg = f"the archive has {found} rows, not the {batches * _ROWS} that were acknowledged"
        raise WrongResultError(msg)


def _bytes(fleet: pipeline.Fleet) -> int:
    url = repr(fleet).split(" in ")[1].rstrip(">")
    return pipeline.Archive.open(url).stats("fleet")["fleet"].stored.bytes


_NOTES: Final = (
    f"{_DEVICES} devices, two channels. Writers, commits and the log share the machine's cores and "
    "disk. A row is one device at one time.",
)
