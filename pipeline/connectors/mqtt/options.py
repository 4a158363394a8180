"""The declaration of an MQTT source, as it stands in a job file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.connectors.payloads import PayloadFormat, TopicTemplate, declared_payload
from pipeline.errors import InvalidInputError

__all__ = ["MqttBackoff", "MqttLimits", "MqttOptions", "MqttTls"]

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_FOREVER: Final = 0xFFFF_FFFF
_MIB: Final = 1024 * 1024


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MqttTls(_Options):
    """How the connection is encrypted, and who is who.

    Parameters
    ----------
    ca
        PEM file of the authorities that the broker's certificate has to come from; by default
        those of the system.
    certificate, key
        PEM files of the client's own certificate and its private key.
    key_password_env
        Environment variable that holds the password of the key.
    check_hostname
        Whether the broker's certificate has to name the host of the URL.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    key_password_env: str | None = None
    check_hostname: bool = True


class MqttBackoff(_Options):
    """How long to wait before connecting again.

    Parameters
    ----------
    first_s
        Seconds after the first failure; twice as many after each further one.
    most_s
        Seconds that are never exceeded. A connection that held so long starts over at `first_s`.
    """

    first_s: Annotated[float, Field(gt=0)] = 0.5
    most_s: Annotated[float, Field(gt=0)] = 30.0

    def delay(self, failures: int, chance: float) -> float:
        """Return the seconds to wait.

        Parameters
        ----------
        failures
            In a row, from 1.
        chance
            A random number in ``[0, 1)``: clients of a broker that was away must not come back
            in the same moment.

        Examples
        --------
        >>> [MqttBackoff(first_s=1, most_s=5).delay(n, 0.0) for n in (1, 2, 3, 4)]
        [0.5, 1.0, 2.0, 2.5]
        """
        whole: float = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return whole * (0.5 + chance / 2)


class MqttLimits(_Options):
    """How much is held, and how much is decoded at once.

    Parameters
    ----------
    batch_messages, batch_bytes
        A batch ends with the read of the socket that reaches one of them.
    linger_s
        Seconds for which a batch may wait for more, while more keeps coming.
    buffer_bytes
        What may wait undecoded. When more does, the socket is not read, and the broker stops.
        One message larger than this is taken all the same, alone.
    receive_maximum
        How many messages with QoS 1 and 2 may be unacknowledged, with MQTT 5. The broker may
        send fewer, and decides alone with 3.1.1: mosquitto's ``max_inflight_messages`` is 20
        by default, which makes a source that acknowledges after each sync slow; 0 lifts it.
    """

    batch_messages: Annotated[int, Field(gt=0)] = 20_000
    batch_bytes: Annotated[int, Field(gt=0)] = 8 * _MIB
    linger_s: Annotated[float, Field(ge=0)] = 0.02
    buffer_bytes: Annotated[int, Field(gt=0)] = 64 * _MIB
    receive_maximum: Annotated[int, Field(gt=0, le=65535)] = 65535


class MqttOptions(_Options):
    """Messages of an MQTT broker.

    Parameters
    ----------
    url
        ``mqtt://host:port`` or, encrypted, ``mqtts://host:port``.
    payload
        One of the payload formats with its mapping; its topic template is what is subscribed to.
    client_id
        Names the session at the broker. Two clients of the same name push each other out.
    version
        ``"5"`` or ``"3.1.1"``.
    topics
        Topic filters to subscribe to instead of what the payload's template asks for.
    qos
        0, 1 or 2. With 0 nothing is acknowledged: what is under way when a connection breaks,
        or does not fit the broker's queue while the archive is busy, is lost.
    session
        ``"persistent"``: what comes while nobody is connected is kept by the broker, for
        `session_expiry_s` seconds with MQTT 5 (by default without an end). ``"clean"``: it is
        lost, and so is what was not acknowledged when a connection broke.
    shared_group
        Name of a shared subscription: the messages are divided among its members.
    retained
        What becomes of messages that the broker had retained. They are old readings, and may
        come again with each subscription: ``"store"`` them (a row of the same device and time
        is a duplicate, which the fleet's policy resolves) or ``"ignore"`` them. By default
        ``"auto"``: ignored if rows may take the receive time as theirs, because an old reading
        would get a new time with every connection; stored otherwise.
    username, password_env, password_file
        The password stands in an environment variable or in a file, whose last line break does
        not count, and is read at each connection: it may be changed while the source runs.
    tls
        Certificates, for ``mqtts``.
    status_topic
        Where the archive's own state is retained: ``{"online": true, "timestamp": ...}`` when
        it connects, and ``false`` when it stops or, as the last will, when it is gone. With
        ``spBv1.0/STATE/<host>`` it is what Sparkplug asks of a host application.
    keepalive_s
        A connection without a sign of life for so many seconds is given up.
    connect_timeout_s
        Seconds for connecting, encryption and the broker's answer, each.
    backoff, limits
        See there.

    Raises
    ------
    pydantic.ValidationError
        If a key is unknown or a value is wrong; the message names it.

    Examples
    --------
    In a job file::

        mqtt:
          url: mqtts://broker.plant.example:8883
          client_id: archive-1
          tls: {ca: ca.pem, certificate: archive.pem, key: archive.key}
          status_topic: archive/status
          payload:
            json:
              mapping:
                topic: plants/{site}/{device}/telemetry
                device: device
                time: {columns: time, unit: ms}
                tags: [site]
                channels:
                  temperature: {dtype: float64, units: degC}

    References
    ----------
    MQTT Version 5.0, OASIS Standard; Eclipse Sparkplug Specification 3.0.0, section 5.16.
    """

    url: str
    payload: Annotated[PayloadFormat, BeforeValidator(declared_payload)]
    client_id: str = ""
    version: Literal["5", "3.1.1"] = "5"
    topics: tuple[str, ...] = ()
    qos: Literal[0, 1, 2] = 1
    session: Literal["persistent", "clean"] = "persistent"
    session_expiry_s: Annotated[int, Field(gt=0, le=_FOREVER)] = _FOREVER
    shared_group: str = ""
    retained: Literal["auto", "store", "ignore"] = "auto"
    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    tls: MqttTls = MqttTls()
    status_topic: str = ""
    keepalive_s: Annotated[int, Field(gt=0, le=65535)] = 30
    connect_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    backoff: MqttBackoff = MqttBackoff()
    limits: MqttLimits = MqttLimits()

    @model_validator(mode="after")
    def _check(self) -> MqttOptions:
        parts = urlsplit(self.url)
        problem = ""
        if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/"):
            problem = f"url {self.url!r} is none like mqtt://host:1883 or mqtts://host:8883"
        elif parts.username is not None or parts.password is not None:
            problem = "the url must hold no username or password: see username and password_env"
        elif self.tls != MqttTls() and not self.encrypted:
            problem = "tls is set, but the url says mqtt://; write mqtts://"
        elif (self.tls.certificate is None) != (self.tls.key is None):
            problem = "tls.certificate and tls.key go together"
        elif self.session == "persistent" and not self.client_id:
            problem = "a persistent session needs a client_id, the same after each start"
        elif self.password_env is not None and self.password_file is not None:
            problem = "one of password_env and password_file is enough"
        elif self.username is None and (self.password_env or self.password_file):
            problem = "a password needs a username"
        elif set("/+#") & set(self.shared_group):
            problem = f"shared_group {self.shared_group!r} must hold none of / + #"
        elif set("+#") & set(self.status_topic):
            problem = f"status_topic {self.status_topic!r} must hold no wildcard"
        if problem:
            raise ValueError(problem)
        return self

    @property
    def encrypted(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("mqtts:")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or _PORTS[parts.scheme]

    @property
    def level(self) -> int:
        """The protocol level: 4 for MQTT 3.1.1, or 5."""
        return 5 if self.version == "5" else 4

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to."""
        plain = self.topics or (TopicTemplate(self.payload.topic_template()).filter,)
        group = self.shared_group
        return tuple(f"$share/{group}/{name}" if group else name for name in plain)

    @property
    def stores_retained(self) -> bool:
        """Whether retained messages become rows."""
        if self.retained != "auto":
            return self.retained == "store"
        return not self.payload.may_take_receive_time()

    def password(self) -> bytes | None:
        """Return the password as it is at this moment, or None for none.

        Raises
        ------
        InvalidInputError
            If the variable is not set, or the file cannot be read.
        """
        if self.password_env is not None:
            return variable(self.password_env).encode()
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_bytes().removesuffix(b"\n").removesuffix(b"\r")
        except OSError as error:
            msg = f"the password file {str(self.password_file)!r} cannot be read: {error}"
            raise InvalidInputError(msg) from error


def variable(name: str) -> str:
    """Return an environment variable.

    Raises
    ------
    InvalidInputError
        If it is not set.
    """
    value = os.environ.get(name)
    if value is None:
        msg = f"environment variable {name} is not set; it has to hold the password"
        raise InvalidInputError(msg)
    return value
