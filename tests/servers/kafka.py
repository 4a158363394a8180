"""A real Kafka broker: one node, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.certificates import Certificates
from tests.servers.kafka_files import FOLDER, install_kafka, missing, settings_of
from tests.servers.ports import free_port

__all__ = ["KafkaBroker", "install", "missing"]

_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
_QUICK = ("-XX:TieredStopAtLevel=1", "-Xshare:auto")
_START_SECONDS = 90.0


def install() -> Path:
    """Install Kafka unless it is there; return its folder."""
    return install_kafka()


class KafkaBroker:
    """A broker with its data in a folder; may be killed and started again.

    Parameters
    ----------
    folder
        For the settings, the data and what the broker says; made if it is not there.
    certificates
        Of the encrypted listeners; without them there are none.
    quick
        Start fast rather than run fast: suits tests, not benchmarks.
    """

    def __init__(
        self, folder: Path, certificates: Certificates | None = None, *, quick: bool = True
    ) -> None:
        self.folder = folder
        names = ["plain", "controller"] + ([] if certificates is None else ["secret", "mutual"])
        self.ports = {name: free_port() for name in names}
        self._certificates = certificates
        self._jvm = (*_JVM, *_QUICK) if quick else _JVM
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where the listener without encryption is."""
        return f"127.0.0.1:{self.ports['plain']}"

    @property
    def secret_address(self) -> str:
        """Where the listener of SASL over TLS is: user ``reader``, password ``right``."""
        return f"127.0.0.1:{self.ports['secret']}"

    @property
    def mutual_address(self) -> str:
        """Where the listener is that asks for a client's certificate."""
        return f"127.0.0.1:{self.ports['mutual']}"

    def start(self) -> Self:
        """Start it unless it runs, with the data that is there; return when it answers."""
        if self._process is not None:
            return self
        data = self.folder / "data"
        settings = self.folder / "server.properties"
        if not data.is_dir():
            data.mkdir(parents=True)
            settings.write_text(settings_of(data, self.ports, self._certificates))
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)]
            run = subprocess.run(
                self._java(*tool), capture_output=True, text=True, timeout=120, check=False
            )
            if run.returncode:
                msg = f"the folder of the broker could not be made: {run.stdout}{run.stderr}"
                raise RuntimeError(msg)
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(settings)),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
            )  # fmt: skip
        self._wait()
        return self

    def stop(self) -> None:
        """Stop it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, as a loss of power would."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # There is nothing to keep, and an orderly stop takes seconds.
        self.kill()

    def _java(self, *arguments: str) -> list[str]:
        return ["java", *self._jvm, "-cp", f"{FOLDER}{os.sep}*", *arguments]

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                msg = f"the broker ended at its start: {self._said()}"
                raise RuntimeError(msg)
            if all(_answers(port) for port in self.ports.values()):
                return
            time.sleep(0.05)
        self.kill()
        msg = f"the broker does not answer after {_START_SECONDS} s: {self._said()}"
        raise RuntimeError(msg)

    def _said(self) -> str:
        return (self.folder / "broker.log").read_text(errors="replace")[-3000:]

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
        self._process = None


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
