"""Very many devices connected at once: of each one, what was sent is what is stored."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import pipeline
from pipeline.connectors.mqtt import MqttOptions, MqttSource
from pipeline.ingest.multiplexer import Multiplexer
from tests.ingest.test_pump import until
from tests.servers.mosquitto import find, mosquitto

pytestmark = pytest.mark.skipif(
    find() is None, reason="mosquitto is not installed: python -m tests.servers.install"
)
SCHEMA = pipeline.Schema([pipeline.Channel("n", "int64")])


def publish_at_once(folder: Path, devices: int, seconds: float, pause: float) -> int:
    """Let devices publish, and compare counts and values of each; return the readings."""
    archive = pipeline.Archive.create(folder / "archive")
    fleet = archive.create_fleet("many", SCHEMA)
    settings = ("max_inflight_messages 0", "max_connections -1")
    with mosquitto(folder / "broker", settings=settings) as broker, Multiplexer() as lines:
        options = MqttOptions.model_validate(
            {
                "url": broker.url,
                "client_id": "archive",
                "payload": {
                    "json": {
                        "mapping": {
                            "topic": "many/{device}",
                            "device": "device",
                            "time": {"columns": "t", "unit": "ms"},
                            "channels": {"n": {"dtype": "int64"}},
                        }
                    }
                },
            }
        )
        lines.add("many", fleet.stream(folder / "log", future="accept"), [MqttSource(options)])
        until(lambda: lines.counters()["many"]["sources"]["archive"].get("granted_qos") == 1, 30)
        command = [sys.executable, "-m", "tests.integration.many_devices", str(broker.port)]
        arguments = [str(devices), str(seconds), str(pause)]
        with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
            killer = threading.Timer(seconds + 600, process.kill)
            killer.start()
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
            sent: dict[str, int] = json.loads(process.stdout.readline())
            killer.cancel()
        assert process.returncode == 0
        total = sum(sent.values())
        until(lambda: lines.counters()["many"]["rows"] >= total, 600)
    answer = fleet.aggregate({"n": ["count", "min", "max", "sum"]}).to_dataframe()
    found = answer.reset_index().set_index("device")
    assert found["n_count"].astype(int).to_dict() == sent
    assert (found["n_min"] == 0).all()
    for device, count in sent.items():
        assert found["n_max"][device] == count - 1
        assert found["n_sum"][device] == count * (count - 1) // 2
    return total


def test_five_hundred_at_once(tmp_path: Path) -> None:
    assert publish_at_once(tmp_path, 500, 4, 0.5) >= 1000


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_ten_thousand_at_once_for_ten_minutes(tmp_path: Path) -> None:
    assert publish_at_once(tmp_path, 10_000, 600, 2.0) >= 1_000_000
