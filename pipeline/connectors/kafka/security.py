"""How a connection to Kafka is encrypted, and who is who."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from pipeline.errors import InvalidInputError

__all__ = ["KafkaSecurity"]

_WITH_PASSWORD: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class KafkaSecurity(BaseModel):
    """Protocol, certificates and credentials.

    Parameters
    ----------
    protocol
        As of Kafka's ``security.protocol``.
    ca
        PEM file of the authorities that a broker's certificate has to come from; by default
        those of the system.
    certificate, key
        PEM files of the client's own certificate and its private key.
    key_password_env
        Environment variable that holds the password of the key.
    check_hostname
        Whether a broker's certificate has to name its host.
    mechanism
        Of SASL. ``GSSAPI`` and ``OAUTHBEARER`` take what they need from
        `pipeline.connectors.kafka.options.KafkaOptions.settings`.
    username, password_env, password_file
        The password stands in an environment variable or in a file, whose last line break does
        not count; it is read when the source starts.

    Raises
    ------
    pydantic.ValidationError
        If a key is unknown, or what is given does not go together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    key_password_env: str | None = None
    check_hostname: bool = True
    mechanism: (
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"] | None
    ) = None
    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        problem = _problem(self)
        if problem:
            raise ValueError(problem)
        return self

    def settings(self) -> dict[str, str | bool]:
        """Return the settings of librdkafka, with the secrets as they are at this moment.

        Raises
        ------
        InvalidInputError
            If a variable is not set, or a file cannot be read.
        """
        told: dict[str, str | bool] = {"security.protocol": self.protocol}
        if self.protocol.endswith("ssl"):
            told["ssl.endpoint.identification.algorithm"] = (
                "https" if self.check_hostname else "none"
            )
        files = {
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key,
        }
        for setting, path in files.items():
            if path is not None:
                told[setting] = str(_readable(path))
        if self.key_password_env is not None:
            told["ssl.key.password"] = _variable(self.key_password_env)
        if self.mechanism is not None:
            told["sasl.mechanism"] = self.mechanism
        if self.username is not None:
            told |= {"sasl.username": self.username, "sasl.password": self._password()}
        return told

    def _password(self) -> str:
        if self.password_env is not None:
            return _variable(self.password_env)
        path = self.password_file
        if path is None:
            return ""
        return _readable(path).read_text().removesuffix("\n").removesuffix("\r")


def _problem(security: KafkaSecurity) -> str:
    encrypted, sasl = security.protocol.endswith("ssl"), security.protocol.startswith("sasl")
    files = (security.ca, security.certificate, security.key)
    secrets = (security.password_env, security.password_file)
    if not encrypted and any(files):
        return f"protocol {security.protocol!r} uses no certificates; write ssl or sasl_ssl"
    if (security.certificate is None) != (security.key is None):
        return "certificate and key go together"
    if security.key_password_env is not None and security.key is None:
        return "key_password_env needs a key"
    if sasl and security.mechanism is None:
        return f"protocol {security.protocol!r} needs a mechanism, such as SCRAM-SHA-512"
    if not sasl and (security.mechanism or security.username or any(secrets)):
        return f"protocol {security.protocol!r} knows no users; write sasl_ssl"
    if all(secrets):
        return "one of password_env and password_file is enough"
    if security.mechanism in _WITH_PASSWORD and not (security.username and any(secrets)):
        return f"{security.mechanism} needs a username, and password_env or password_file"
    if security.username is None and any(secrets):
        return "a password needs a username"
    return ""


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        msg = f"environment variable {name} is not set; it has to hold the password"
        raise InvalidInputError(msg)
    return value


def _readable(path: Path) -> Path:
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        msg = f"the file {str(path)!r} cannot be read: {error}"
        raise InvalidInputError(msg) from error
