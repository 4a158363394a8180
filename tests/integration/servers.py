"""Servers on loopback that integration tests need: an S3-protocol server, and a Dask cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.server import ThreadedMotoServer

__all__ = ["RemoteCluster", "remote_cluster", "s3_server"]


@contextmanager
def s3_server() -> Iterator[dict[str, Any]]:
    """Yield the storage options of a server that has the bucket ``bucket``."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    request = urllib.request.Request(f"{endpoint}/bucket", method="PUT")
    with urllib.request.urlopen(request, timeout=30):
        pass
    yield {
        "endpoint_url": endpoint,
        "region": "us-east-1",
        "allow_http": True,
        "force_path_style": True,
        "access_key_id": "test",
        "secret_access_key": "test",
    }
    server.stop()


@dataclass
class RemoteCluster:
    """A scheduler and workers that are processes of their own, each in its own folder."""

    folder: Path
    address: str
    stack: ExitStack
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start one more worker with one thread."""
        place = self.folder / f"worker-{len(self.workers)}"
        place.mkdir()
        command = [
            sys.executable, "-m", "distributed.cli.dask_worker", self.address,
            "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "2GiB",
            "--host", "127.0.0.1", "--local-directory", str(place), *options,
        ]  # fmt: skip
        self.workers.append(self.start(command, place))
        return self.workers[-1]

    def start(self, command: list[str], place: Path) -> subprocess.Popen[bytes]:
        """Start a process that ends with the cluster."""
        process = subprocess.Popen(
            command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.stack.callback(process.wait, 30)
        self.stack.callback(process.kill)
        return process


@contextmanager
def remote_cluster(folder: Path, workers: int) -> Iterator[RemoteCluster]:
    """Yield a cluster whose processes share nothing but the machine."""
    told = folder / "scheduler.json"
    with ExitStack() as stack:
        cluster = RemoteCluster(folder, "", stack)
        command = [
            sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1",
            "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
            "--scheduler-file", str(told),
        ]  # fmt: skip
        cluster.start(command, folder)
        cluster.address = _address(told)
        for _ in range(workers):
            cluster.add_worker()
        yield cluster


def _address(told: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if told.exists() and told.stat().st_size:
            return str(json.loads(told.read_text())["address"])
        time.sleep(0.05)
    msg = "the scheduler did not start within a minute"
    raise TimeoutError(msg)
