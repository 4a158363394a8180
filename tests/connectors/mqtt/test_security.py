"""Who may connect: passwords, certificates, and what is told to whom may not."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.connectors.mqtt import MqttSource
from pipeline.errors import InvalidInputError
from tests.connectors.mqtt.drawing import Host, declared, draw, running, until, unused_name
from tests.servers.certificates import Certificates, made_certificates
from tests.servers.mosquitto import Mosquitto, mosquitto


@pytest.fixture(scope="module")
def guarded(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    folder = tmp_path_factory.mktemp("guarded")
    with mosquitto(folder, passwords={"archive": "se cret"}) as made:
        yield made


@pytest.fixture(scope="module")
def encrypted(
    installed: None, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("encrypted"), certificates=certificates) as made:
        yield made


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_passwords_of_variables_and_files(
    guarded: Mosquitto, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "se cret")
    (tmp_path / "password").write_text("se cret\n")
    for place in ({"password_env": "BROKER_PASSWORD"}, {"password_file": tmp_path / "password"}):
        options = declared(guarded.url, "a/+", username="archive", version=version, **place)
        with running(options) as source:
            assert source.counters()["connected"] == 1


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("user", [None, "archive"])
def test_a_wrong_password_is_told_at_the_start(
    guarded: Mosquitto, version: str, user: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "wrong")
    named: dict[str, Any] = {"username": user, "password_env": "BROKER_PASSWORD"} if user else {}
    source = MqttSource(declared(guarded.url, "a/+", version=version, **named))
    with pytest.raises(InvalidInputError, match="password"):
        source.start(Host())
    source.stop()


def test_a_password_that_is_not_there_is_told(
    guarded: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BROKER_PASSWORD", raising=False)
    places: list[tuple[dict[str, Any], str]] = [
        ({"password_env": "BROKER_PASSWORD"}, "variable BROKER_PASSWORD is not set"),
        ({"password_file": tmp_path / "none"}, "cannot be read"),
    ]
    for place, words in places:
        source = MqttSource(declared(guarded.url, "a/+", username="archive", **place))
        with pytest.raises(InvalidInputError, match=words):
            source.start(Host())


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_client_certificates(
    encrypted: Mosquitto, certificates: Certificates, version: str
) -> None:
    tls = {
        "ca": certificates.ca,
        "certificate": certificates.client,
        "key": certificates.client_key,
    }
    topic = unused_name()
    status = f"{topic}/self"
    options = declared(encrypted.url, f"{topic}/+", tls=tls, version=version, status_topic=status)
    with running(options) as source:
        assert source.counters()["connected"] == 1
        # Its own state comes back with 3.1.1 only: MQTT 5 can be told not to send it.
        batches = draw(source, 1, seconds=5 if version == "3.1.1" else 0.3)
        assert len(batches) == (version == "3.1.1")


def test_large_messages_over_tls(encrypted: Mosquitto, certificates: Certificates) -> None:
    import json

    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    tls = {
        "ca": certificates.ca,
        "certificate": certificates.client,
        "key": certificates.client_key,
    }
    with running(declared(encrypted.url, "large/{device}", tls=tls)) as source:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.tls_set(str(certificates.ca), str(certificates.client), str(certificates.client_key))
        client.connect("127.0.0.1", encrypted.port)
        client.loop_start()
        text = "x" * 1_000_000
        for n in range(5):
            payload = json.dumps({"t": n, "n": n, "text": text})
            client.publish("large/pump", payload, 1).wait_for_publish(20)
        client.disconnect()
        client.loop_stop()
        assert sum(batch.table.num_rows for batch in draw(source, 5)) == 5


def test_without_a_certificate_the_broker_refuses_at_the_start(
    encrypted: Mosquitto, certificates: Certificates
) -> None:
    source = MqttSource(declared(encrypted.url, "a/+", tls={"ca": certificates.ca}))
    with pytest.raises(InvalidInputError, match="certificate"):
        source.start(Host())


def test_a_broker_of_another_authority_is_not_trusted(encrypted: Mosquitto, tmp_path: Path) -> None:
    other = made_certificates(tmp_path)
    source = MqttSource(declared(encrypted.url, "a/+", tls={"ca": other.ca}))
    with pytest.raises(InvalidInputError, match="certificate verify failed"):
        source.start(Host())


def test_files_that_cannot_be_used_are_named(tmp_path: Path, certificates: Certificates) -> None:
    for tls in (
        {"ca": tmp_path / "none.pem"},
        {"ca": certificates.ca, "certificate": certificates.client, "key": certificates.server_key},
    ):
        with pytest.raises(InvalidInputError, match=r"\.pem|\.crt"):
            MqttSource(declared("mqtts://127.0.0.1:1", "a/+", tls=tls))


def test_a_plain_client_of_an_encrypted_broker_goes_on_trying(encrypted: Mosquitto) -> None:
    options = declared(encrypted.url.replace("mqtts", "mqtt"), "a/+", connect_timeout_s=1)
    with running(options) as source:
        until(lambda: source.counters()["failures"] != 0)
        assert source.counters()["connected"] == 0


def test_protocols_below_tls_1_2_are_not_spoken(certificates: Certificates) -> None:
    from pipeline.connectors.mqtt.sockets import tls_context

    context = tls_context(declared("mqtts://a", "a/+", tls={"ca": certificates.ca}))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls_context(declared("mqtt://a", "a/+")) is None
