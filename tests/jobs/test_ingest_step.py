"""The ingest step: sources flow into fleets until the process is told to end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline.errors import JobError
from pipeline.jobs.job_file import load_job
from tests.jobs.running import run, write_job
from tests.servers.ports import free_port


def replay(devices: int = 4, readings: int = 50, **options: Any) -> dict[str, Any]:
    simulated = {
        "devices": devices,
        "readings": readings,
        "interval": "1 s",
        "order": "time",
        "channels": ["temperature", "state"],
    }
    told = {"speed": 0, "restamp": False, **options}
    return {"replay": {"source": {"simulated": simulated}, **told}}


def stream(fleet: str = "rooms", *sources: Any, **options: Any) -> dict[str, Any]:
    return {"fleet": fleet, "sources": list(sources) or [replay()], **options}


def step(*streams: Any, **options: Any) -> dict[str, Any]:
    return {"ingest": {"streams": list(streams), "stop_after": "2 s", **options}}


def test_rows_flow_into_fleets_that_it_creates(tmp_path: Path) -> None:
    health = tmp_path / "run" / "health.json"
    done = run(
        tmp_path,
        step(
            stream(log=str(tmp_path / "log")),
            stream("halls", replay(3, 20), replay(2, 10, name="other", restamp=True)),
            health=str(health),
        ),
        "report",
    )
    assert len(done.archive.fleet("rooms").read().read_all()) == 200
    halls = done.archive.fleet("halls")
    assert halls.positions["replay"] == {"rows": 60}
    assert len(halls.read().read_all()) == 80
    (report,) = done.report["steps"]
    assert report["streams"]["rooms"]["rows"] == 200
    assert report["streams"]["halls"]["sources"]["other"]["acknowledged"] == 20
    assert "2 streams in" in done.text
    told = json.loads(health.read_text())
    assert (told["state"], told["errors"]) == ("stopped", {})
    assert told["streams"]["rooms"]["state"] == "closed"


def test_run_again_it_goes_on_where_the_archive_stands(tmp_path: Path) -> None:
    for _ in range(2):
        done = run(tmp_path, step(stream()))
    assert len(done.archive.fleet("rooms").read().read_all()) == 200
    assert done.report["steps"][-1]["streams"]["rooms"]["rows"] == 0


def test_a_source_that_fails_is_told_and_fails_the_job_in_the_end(tmp_path: Path) -> None:
    health = tmp_path / "health.json"
    wrong = stream(schema=[{"name": "pressure", "dtype": "float64"}])
    with pytest.raises(JobError, match=r"rooms/replay: .*temperature"):
        run(tmp_path, step(wrong, stream("halls"), health=str(health), every="100 ms"))
    told = json.loads(health.read_text())
    assert told["state"] == "failed"
    assert "temperature" in told["errors"]["rooms/replay"]
    archive = pipeline.Archive.open(tmp_path / "archive")
    assert len(archive.fleet("halls").read().read_all()) == 200


def test_it_ends_when_told_and_nothing_that_was_taken_is_lost(tmp_path: Path) -> None:
    health = tmp_path / "health.json"
    source = replay(20, 100_000, speed=1000, name="steady")
    told = {"flush": {"age": "1 h"}, "log": str(tmp_path / "log")}
    job = write_job(
        tmp_path,
        step(
            stream("rooms", source, **told), health=str(health), every="100 ms", stop_after="5 min"
        ),
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "-q", str(job)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (health.exists() and taken(health) > 1000):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    state = json.loads(health.read_text())
    counted = state["streams"]["rooms"]
    assert state["state"] == "stopped"
    assert counted["committed_rows"] == counted["rows"] >= 1000
    fleet = pipeline.Archive.open(tmp_path / "archive").fleet("rooms")
    assert len(fleet.read().read_all()) == counted["rows"]
    assert fleet.positions["steady"] == {"rows": counted["rows"]}


def taken(health: Path) -> int:
    streams = json.loads(health.read_text())["streams"]
    return int(streams["rooms"]["rows"]) if streams else 0


def test_prometheus_is_served_the_counters(tmp_path: Path) -> None:
    port, pages = free_port(), list[str]()

    def ask() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    pages.append(answer.read().decode())
            except OSError:
                if pages:
                    return
            time.sleep(0.1)

    asking = threading.Thread(target=ask)
    asking.start()
    run(tmp_path, step(stream(), prometheus={"port": port}, stop_after="3 s"))
    asking.join()
    assert 'iot_archive_stream_rows_total{stream="rooms"} 200.0' in pages[-1]
    assert 'iot_archive_source_messages{source="replay",stream="rooms"} 200.0' in pages[-1]
    assert "# TYPE iot_archive_stream_held_bytes gauge" in pages[-1]


def test_a_port_that_is_taken_is_an_error_before_anything_flows(tmp_path: Path) -> None:
    with socket.socket() as taken_port:
        taken_port.bind(("127.0.0.1", 0))
        taken_port.listen()
        port = taken_port.getsockname()[1]
        with pytest.raises(JobError, match="choose another port"):
            run(tmp_path, step(stream(), prometheus={"port": port}))
    assert "rooms" not in pipeline.Archive.open(tmp_path / "archive")


def test_a_health_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match="health file"):
        run(tmp_path, step(stream(), health=str(tmp_path / "file" / "health.json")))


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ([stream(), stream()], "two streams go into the same fleet"),
        ([stream(log="a"), stream("halls", log="a")], "two streams have the same log"),
        ([stream(durability="log")], "needs a folder for the log"),
        ([stream(lease={"length": "1 s"})], "has no name"),
        ([stream(late="never")], "is not a duration"),
    ],
)
def test_what_cannot_be_is_told_before_anything_runs(
    tmp_path: Path, streams: list[Any], message: str
) -> None:
    with pytest.raises(JobError, match=message):
        load_job(write_job(tmp_path, step(*streams)))


def test_the_config_runs_without_a_broker(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    overrides = [f"archive={tmp_path / 'archive'}", "steps.0.ingest.stop_after=2 s"]
    overrides += [f"report={tmp_path / 'report.json'}", f"steps.0.ingest.health={tmp_path / 'h'}"]
    overrides += [f"steps.0.ingest.streams.0.log={tmp_path / 'log'}"]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "-q", str(root / "configs/ingest.yaml"), *overrides],
        capture_output=True,
        text=True,
        env={**os.environ, "IOT_ARCHIVE": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(pipeline.Archive.open(tmp_path / "archive").fleet("rooms").read().read_all()) >= 200
