"""Encrypted listeners of a real broker, and who may come in."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it names no exports
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import ValidationError

from pipeline.connectors.kafka import KafkaSecurity
from pipeline.errors import InvalidInputError
from tests.connectors.kafka.hosts import running
from tests.connectors.kafka.topics import Topic
from tests.servers.kafka import KafkaBroker
from tests.servers.kafka_certificates import Certificates, make_certificates

type Topics = Callable[..., Topic]


def sasl(broker: KafkaBroker, certificates: Certificates, **others: Any) -> dict[str, Any]:
    """Return the options of the listener that asks for a password."""
    security = {
        "protocol": "sasl_ssl",
        "ca": certificates.authority,
        "mechanism": "PLAIN",
        "username": "reader",
        "password_env": "KAFKA_PASSWORD",
    }
    return {"bootstrap_servers": [broker.secret_address], "security": security | others}


def test_a_password_from_the_environment(
    broker: KafkaBroker,
    certificates: Certificates,
    topic: Topics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "right")
    told = topic()
    told.send([1, 2])
    with running(told.options(**sasl(broker, certificates))) as host:
        host.until(lambda: host.archive.numbers == [1, 2])


def test_a_password_from_a_file(
    broker: KafkaBroker, certificates: Certificates, topic: Topics, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("right\n")
    told = topic()
    told.send([1])
    options = sasl(broker, certificates, password_env=None, password_file=secret)
    with running(told.options(**options)) as host:
        host.until(lambda: host.archive.numbers == [1])


def test_salted_passwords(
    broker: KafkaBroker,
    certificates: Certificates,
    topic: Topics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admin = AdminClient({"bootstrap.servers": broker.address})
    how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    user = UserScramCredentialUpsertion("salted", how, b"secret")
    admin.alter_user_scram_credentials([user])["salted"].result(30)
    monkeypatch.setenv("KAFKA_PASSWORD", "secret")
    told = topic()
    told.send([1])
    options = sasl(broker, certificates, username="salted", mechanism="SCRAM-SHA-512")
    with running(told.options(**options)) as host:
        host.until(lambda: host.archive.numbers == [1])


def test_a_certificate_of_the_client(
    broker: KafkaBroker, certificates: Certificates, topic: Topics
) -> None:
    told = topic()
    told.send([1])
    security = {
        "protocol": "ssl",
        "ca": certificates.authority,
        "certificate": certificates.client_certificate,
        "key": certificates.client_key,
    }
    options = told.options(bootstrap_servers=[broker.mutual_address], security=security)
    with running(options) as host:
        host.until(lambda: host.archive.numbers == [1])


def test_a_wrong_password_is_told_at_once(
    broker: KafkaBroker,
    certificates: Certificates,
    topic: Topics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "wrong")
    options = topic().options(**sasl(broker, certificates), connect_timeout_s=20)
    begun = time.monotonic()
    with (
        pytest.raises(InvalidInputError, match=r"refuses the connection: .*uthentication failed"),
        running(options),
    ):
        pass
    assert time.monotonic() - begun < 10


def test_a_broker_of_another_authority_is_told(
    broker: KafkaBroker, topic: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "right")
    strange = make_certificates(tmp_path)
    options = topic().options(**sasl(broker, strange), connect_timeout_s=20)
    with (
        pytest.raises(InvalidInputError, match=r"refuses the connection: .*certificate"),
        running(options),
    ):
        pass


def test_a_client_without_certificate_is_told(
    broker: KafkaBroker, certificates: Certificates, topic: Topics
) -> None:
    security = {"protocol": "ssl", "ca": certificates.authority}
    options = topic().options(
        bootstrap_servers=[broker.mutual_address], security=security, connect_timeout_s=3
    )
    with pytest.raises(InvalidInputError, match="check bootstrap_servers"), running(options):
        pass


@pytest.mark.parametrize(
    ("security", "message"),
    [
        ({"protocol": "plaintext", "ca": "ca.pem"}, "uses no certificates"),
        ({"protocol": "ssl", "certificate": "a.pem"}, "certificate and key go together"),
        ({"protocol": "ssl", "key_password_env": "X"}, "needs a key"),
        ({"protocol": "sasl_ssl"}, "needs a mechanism"),
        ({"protocol": "ssl", "username": "u"}, "knows no users"),
        ({"protocol": "sasl_ssl", "mechanism": "PLAIN", "username": "u"}, "PLAIN needs"),
        (
            {
                "protocol": "sasl_ssl",
                "mechanism": "PLAIN",
                "username": "u",
                "password_env": "A",
                "password_file": "b",
            },
            "is enough",
        ),
        (
            {"protocol": "sasl_ssl", "mechanism": "OAUTHBEARER", "password_env": "A"},
            "needs a username",
        ),
    ],
)
def test_what_does_not_go_together_is_told(security: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        KafkaSecurity.model_validate(security)


def test_secrets_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    known = {"protocol": "sasl_ssl", "mechanism": "PLAIN", "username": "u"}
    with pytest.raises(InvalidInputError, match="NO_SUCH_SECRET is not set"):
        KafkaSecurity.model_validate(known | {"password_env": "NO_SUCH_SECRET"}).settings()
    with pytest.raises(InvalidInputError, match=r"'/no/such.*cannot be read"):
        KafkaSecurity.model_validate(known | {"password_file": "/no/such"}).settings()
