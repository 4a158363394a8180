"""A whole line from devices to the archive, and everything that may happen to it.

Devices publish to a real broker; the ingest job runs as a process of its own, and reaches the broker
through a proxy. Every reading has a number of its own, so that none can be lost or doubled unseen.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
import yaml
from paho.mqtt.enums import CallbackAPIVersion

import pipeline
from pipeline.errors import ArchiveError
from pipeline.ingest.frames import frames
from tests.servers.mosquitto import Mosquitto
from tests.servers.proxy import Proxy

__all__ = ["FAULTS", "Rig"]

_DEVICES: Final = 20
_START: Final = 1_767_225_600_000
"""Milliseconds: 2026-01-01."""


class Rig:
    """The line, in a folder of its own.

    Parameters
    ----------
    folder
        For the archive, the log and the broker.
    seed
        Of everything that happens by chance.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.broker = Mosquitto(folder / "broker", settings=("max_inflight_messages 0",))
        self.broker.start()
        self.proxy = Proxy(self.broker.port)
        self.sent: set[int] = set()
        self.reset: set[int] = set()
        self.number = 0
        self.starts = 0
        self._publisher = paho.Client(
            CallbackAPIVersion.VERSION2, "devices", clean_session=False, reconnect_on_failure=True
        )
        self._publisher.max_inflight_messages_set(200)
        self._publisher.reconnect_delay_set(1, 1)
        self._publisher.connect("127.0.0.1", self.broker.port)
        self._publisher.loop_start()
        self.process: subprocess.Popen[str] | None = None

    @property
    def health(self) -> dict[str, Any]:
        """What the job tells of itself."""
        path = self.folder / "health.json"
        told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return told

    def start(self) -> None:
        """Start the job, and wait until it has subscribed for the first time."""
        job = self.folder / "job.yaml"
        job.write_text(yaml.safe_dump(self._document()))
        with (self.folder / "job.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "-q", str(job)], stderr=log, text=True
            )
        self.starts += 1
        if self.starts == 1:
            self.until(lambda: "streams" in self.health and bool(self.health["streams"]))
            self.until(self._arrives)

    def _arrives(self) -> bool:
        """Publish a reading until one has arrived: the subscription is there from then on."""
        self.publish(1)
        time.sleep(0.3)
        return bool(self.stored())

    def _document(self) -> dict[str, Any]:
        source = {
            "url": f"mqtt://127.0.0.1:{self.proxy.port}",
            "client_id": "archive",
            "keepalive_s": 2,
            "backoff": {"first_s": 0.05, "most_s": 0.5},
            "payload": {
                "json": {
                    "mapping": {
                        "topic": "plant/{device}",
                        "device": "device",
                        "time": {"columns": "t", "unit": "ms"},
                        "channels": {"n": {"dtype": "int64"}},
                    }
                }
            },
        }
        stream = {
            "fleet": "plant",
            "log": str(self.folder / "log"),
            "flush": {"age": "200 ms"},
            "late": {"within": "30 days", "else": "quarantine"},
            "future": "accept",
            "sources": [{"mqtt": source}],
        }
        return {
            "archive": str(self.folder / "archive"),
            "report": str(self.folder / "report.json"),
            "steps": [
                {
                    "ingest": {
                        "health": str(self.folder / "health.json"),
                        "every": "200 ms",
                        "streams": [stream],
                    }
                }
            ],
        }

    def publish(self, readings: int) -> None:
        """Have devices send readings; some twice, some with a clock that begins again."""
        for _ in range(readings):
            number, self.number = self.number, self.number + 1
            device = f"d{self.chance.randrange(_DEVICES)}"
            at = _START + number
            if number > 1000 and self.chance.random() < 0.02:
                at = number  # the clock shows the first seconds of 1970
                self.reset.add(number)
            payload = json.dumps({"t": at, "n": number})
            for _ in range(2 if self.chance.random() < 0.05 else 1):
                self._publisher.publish(f"plant/{device}", payload, qos=1)
            self.sent.add(number)

    def stored(self) -> Counter[int]:
        """Return how often each number is among the rows."""
        try:
            fleet = pipeline.Archive.open(self.folder / "archive").fleet("plant")
            return Counter(fleet.read(channels=["n"]).read_all()["n"].to_pylist())
        except ArchiveError:
            return Counter()

    def quarantined(self) -> set[int]:
        """Return the numbers of the readings in quarantine."""
        fleet = pipeline.Archive.open(self.folder / "archive").fleet("plant")
        return {json.loads(record)["n"] for record in fleet.quarantine()["record"].to_pylist()}

    def check(self) -> None:
        """Wait until everything has arrived, and see to it that nothing is there twice."""
        wanted = self.sent - self.reset

        def arrived() -> bool:
            self.revive()
            return set(self.stored()) == wanted and self.quarantined() == self.reset

        try:
            self.until(arrived, 90)
        except TimeoutError:
            stored = set(self.stored())
            lost, strange = sorted(wanted - stored)[:5], sorted(stored - wanted)[:5]
            msg = (
                f"{len(wanted - stored)} lost, such as {lost}; strange are {strange}: {self.health}"
            )
            raise AssertionError(msg) from None
        assert set(self.stored().values()) <= {1}

    def revive(self) -> None:
        """Do what a service manager does: start the job again if it has ended."""
        if self.process is not None and self.process.poll() is not None:
            self.start()

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for something.

        Raises
        ------
        TimeoutError
            If it does not come.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.1)

    def kill(self) -> None:
        """End the job without a chance to do anything."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def terminate(self) -> int:
        """End the job in order; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        """End everything."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._publisher.loop_stop()
        self._publisher.disconnect()
        self.proxy.close()
        self.broker.stop()


def killed(rig: Rig) -> None:
    """The process is killed, in the midst of readings that come."""
    rig.publish(40)
    time.sleep(rig.chance.uniform(0, 0.4))
    rig.kill()
    rig.publish(20)
    rig.start()


def torn_log(rig: Rig) -> None:
    """The machine dies while an entry is written: a part of it is at the end of the log."""
    rig.publish(40)
    time.sleep(rig.chance.uniform(0, 0.4))
    rig.kill()
    for path in sorted((rig.folder / "log").glob("*.wal"))[-1:]:
        data = path.read_bytes()
        whole = list(frames(memoryview(data), 8))
        end = whole[-1].end if whole else 8
        with path.open("r+b") as file:
            file.seek(end)
            file.write(b"\xa5" + rig.chance.randbytes(rig.chance.randrange(1, 300)))
    rig.start()


def broker_restarted(rig: Rig) -> None:
    """The broker goes away and comes back, with its sessions."""
    rig.publish(40)
    rig.broker.stop()
    rig.publish(20)
    time.sleep(rig.chance.uniform(0, 0.5))
    rig.broker.start()


def cut(rig: Rig) -> None:
    """The connection breaks, several times."""
    for _ in range(3):
        rig.publish(20)
        time.sleep(rig.chance.uniform(0, 0.2))
        rig.proxy.cut()


def swallowed(rig: Rig) -> None:
    """Packets go nowhere, in both directions, and nobody is told."""
    rig.publish(20)
    rig.proxy.swallow()
    rig.publish(20)
    time.sleep(rig.chance.uniform(0.1, 3.0))
    rig.proxy.heal()


def full_disk(rig: Rig) -> None:
    """No file can grow for a while."""
    assert rig.process is not None
    rig.publish(20)
    none = resource.RLIM_INFINITY
    with suppress(ProcessLookupError):
        resource.prlimit(rig.process.pid, resource.RLIMIT_FSIZE, (100, none))
        rig.publish(20)
        time.sleep(rig.chance.uniform(0.2, 1.5))
        resource.prlimit(rig.process.pid, resource.RLIMIT_FSIZE, (none, none))


def archive_gone(rig: Rig) -> None:
    """The disk of the archive is not there for a while; that of the log is."""
    rig.publish(20)
    place = rig.folder / "archive"
    away = rig.folder / "archive-away"
    os.rename(place, away)
    rig.publish(20)
    time.sleep(rig.chance.uniform(0.2, 1.5))
    if place.exists():  # a commit made folders anew
        os.rename(place, rig.folder / f"left-{rig.number}")
    os.rename(away, place)


def stopped_in_order(rig: Rig) -> None:
    """The job is told to end, and started again."""
    rig.publish(40)
    time.sleep(rig.chance.uniform(0, 0.4))
    rig.revive()
    assert rig.terminate() == 0
    rig.publish(20)
    rig.start()


FAULTS: Final[tuple[Callable[[Rig], None], ...]] = (
    killed,
    torn_log,
    broker_restarted,
    cut,
    swallowed,
    full_disk,
    archive_gone,
    stopped_in_order,
)
"""What may happen."""
