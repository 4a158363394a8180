"""The files of a Kafka broker: its libraries from Maven Central, and the settings of a node."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.servers.certificates import Certificates
from tests.servers.install import CACHE

__all__ = ["FOLDER", "VERSION", "install_kafka", "missing", "settings_of"]

VERSION = "4.3.1"
FOLDER = CACHE / f"kafka-{VERSION}"
"""Where the libraries are."""

_SUMS = Path(__file__).with_name("kafka_jars.sha256")
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>iot-archive</groupId><artifactId>kafka</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""


def missing() -> str:
    """Return what keeps a broker from being started; empty if nothing does."""
    if shutil.which("java") is None:
        return "there is no java on the PATH; Kafka needs Java 17 or later"
    if not FOLDER.is_dir():
        return f"Kafka {VERSION} is not installed; run python -m tests.servers.install kafka"
    return ""


def install_kafka() -> Path:
    """Fetch the libraries with Maven unless they are there; each has to be as it was pinned.

    Raises
    ------
    RuntimeError
        If Maven is not on the PATH or fails, or a library is another than the pinned one.
    """
    if FOLDER.is_dir():
        return FOLDER
    if shutil.which("mvn") is None:
        msg = "there is no mvn on the PATH, which fetches Kafka from Maven Central"
        raise RuntimeError(msg)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        (Path(scratch) / "pom.xml").write_text(_POM)
        jars = Path(scratch) / "jars"
        run = subprocess.run(
            ["timeout", "900", "mvn", "-B", "-q", _PLUGIN, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"],
            cwd=scratch, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if run.returncode:
            msg = f"mvn could not fetch Kafka {VERSION}: {run.stdout[-2000:]}{run.stderr[-2000:]}"
            raise RuntimeError(msg)
        _check(jars)
        os.replace(jars, FOLDER)
    return FOLDER


def _check(jars: Path) -> None:
    pinned = {name: digest for digest, name in map(str.split, _SUMS.read_text().splitlines())}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.iterdir()}
    if found != pinned:
        names = sorted({name for name, _ in pinned.items() ^ found.items()})
        msg = f"libraries of Kafka {VERSION} differ from {_SUMS.name}: {', '.join(names)}"
        raise RuntimeError(msg)


def settings_of(data: Path, ports: Mapping[str, int], certificates: Certificates | None) -> str:
    """Return the properties of the one node of a cluster.

    Parameters
    ----------
    data
        Its folder.
    ports
        Of ``plain`` and ``controller``; of ``secret`` (SASL/PLAIN over TLS) and ``mutual`` (TLS
        with a client's certificate) if there are `certificates`.
    certificates
        Of the encrypted listeners.
    """
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    listeners = [f"PLAINTEXT://{at['plain']}"]
    if certificates is not None:
        listeners += [f"SASL_SSL://{at['secret']}", f"SSL://{at['mutual']}"]
    told = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{at['controller']}",
        "controller.listener.names": "CONTROLLER",
        "listeners": ",".join([*listeners, f"CONTROLLER://{at['controller']}"]),
        "advertised.listeners": ",".join(listeners),
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": ",".join(
            [f"{name}:{name}" for name in ("PLAINTEXT", "SSL", "SASL_SSL")]
            + ["CONTROLLER:PLAINTEXT"]
        ),
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        # One node: what a cluster keeps three times is here once.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # Tests wait for nothing that they do not test.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "group.consumer.min.session.timeout.ms": 1000,
        "group.consumer.min.heartbeat.interval.ms": 200,
        "group.consumer.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 1500,
        "broker.heartbeat.interval.ms": 300,
        "log.cleaner.backoff.ms": 200,
        "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
    }
    if certificates is not None:
        told |= _encrypted(certificates, data)
    return "".join(f"{key}={value}\n" for key, value in told.items())


def _encrypted(certificates: Certificates, data: Path) -> dict[str, str]:
    bundle = data.with_name("server-bundle.pem")
    bundle.write_bytes(certificates.server_key.read_bytes() + certificates.server.read_bytes())
    modules = "org.apache.kafka.common.security"
    plain = f"{modules}.plain.PlainLoginModule required"
    scram = f"{modules}.scram.ScramLoginModule required"
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(bundle),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.ca),
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{plain} user_reader="right";',
        # Its users are made with `AdminClient.alter_user_scram_credentials`.
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{scram};",
    }
