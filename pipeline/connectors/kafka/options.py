"""The declaration of a Kafka source, as it stands in a job file."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_serializer,
    model_validator,
)

from pipeline.connectors.kafka.security import KafkaSecurity
from pipeline.connectors.kafka.source import KafkaSource
from pipeline.connectors.payloads import PayloadFormat, declared_payload
from pipeline.model.timestamps import format_time, to_microseconds

__all__ = ["OWN_SETTINGS", "KafkaLimits", "KafkaOptions", "KafkaSecurity"]

_MIB: Final = 1024 * 1024

OWN_SETTINGS: Final = frozenset(
    {
        "allow.auto.create.topics", "auto.offset.reset", "bootstrap.servers", "enable.auto.commit",
        "enable.auto.offset.store", "enable.partition.eof", "group.id", "isolation.level",
        "metadata.broker.list", "partition.assignment.strategy", "queued.max.messages.kbytes",
        "security.protocol", "auto.commit.enable", "auto.commit.interval.ms", "error_cb",
        "stats_cb", "throttle_cb", "on_commit", "logger",
    }
)  # fmt: skip
"""Settings of librdkafka that exactly-once delivery rests on, or that options speak for."""


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaLimits(_Options):
    """How much is held, and how much is decoded at once.

    Parameters
    ----------
    batch_messages, batch_bytes
        A batch ends with the message that reaches one of them.
    linger_s
        Seconds for which a batch may wait for more after its first message.
    buffer_bytes
        What librdkafka may hold fetched ahead; then it fetches no more.
    """

    batch_messages: Annotated[int, Field(gt=0, le=1_000_000)] = 50_000
    batch_bytes: Annotated[int, Field(gt=0)] = 16 * _MIB
    linger_s: Annotated[float, Field(ge=0)] = 0.05
    buffer_bytes: Annotated[int, Field(ge=_MIB)] = 64 * _MIB


def _told_start(given: Any) -> str:
    if given in ("earliest", "latest"):
        return str(given)
    return format_time(to_microseconds(given))


class KafkaOptions(_Options):
    """Messages of Kafka topics.

    Where the source stands is told by the archive alone: offsets are stored in the same commit
    as the rows. The offsets at the broker are only for tools that show the lag of a group.

    Parameters
    ----------
    bootstrap_servers
        ``host:port`` of some brokers.
    topics
        Names; one that begins with ``^`` is a regular expression.
    group_id
        Of the consumer group: its members divide the partitions among themselves.
    payload
        One of the payload formats with its mapping. Headers, keys and record timestamps are
        fields of it (``header/NAME``, ``message/key``, ``message/received``).
    name
        Under which positions, counters and quarantined rows are known; by default
        ``kafka/<group_id>``. Has to stay what it is: the positions are found by it.
    start
        Where partitions begin of which the archive knows nothing: ``"earliest"``, ``"latest"``,
        or a time: the first record with this timestamp or a later one. Partitions that are
        added to a topic while the source runs are read from their beginning.
    out_of_range
        What to do when the messages at a position are not there any more, because retention
        deleted them, or the topic was made anew: go on with the ``"earliest"`` that are there,
        counted and logged, or stop with an ``"error"``. Messages that are read twice in this way
        are rows of the same device and time, which the fleet's duplicate policy resolves.
    missing_topics
        ``"error"`` at the start tells of a misspelt name; ``"wait"`` for topics that come later.
    security
        Protocol, certificates and credentials.
    connect_timeout_s
        Seconds for which brokers that cannot be reached are tried at the start.
    settle_timeout_s
        Seconds that a rebalance waits for rows on their way into the archive. Should they take
        longer, the next owner of the partition reads them again, and one of the two is left out.
    commit_interval_s
        Seconds between commits of offsets to the broker.
    limits
        See there.
    settings
        More settings of librdkafka, such as ``{session.timeout.ms: 10000}`` or
        ``{group.protocol: consumer}``, but none of `OWN_SETTINGS`.

    Raises
    ------
    pydantic.ValidationError
        If a key is unknown or a value is wrong; the message names it.

    Examples
    --------
    In a job file::

        kafka:
          bootstrap_servers: [kafka-1.plant.example:9093, kafka-2.plant.example:9093]
          topics: [telemetry]
          group_id: archive
          start: 2026-01-01T00:00:00Z
          security:
            protocol: sasl_ssl
            ca: ca.pem
            mechanism: SCRAM-SHA-512
            username: archive
            password_env: KAFKA_PASSWORD
          payload:
            json:
              mapping:
                device: message/key
                time: {columns: at, unit: ms, missing: received}
                channels:
                  temperature: {dtype: float64, units: degC}

    References
    ----------
    librdkafka, Configuration properties,
    https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
    """

    bootstrap_servers: Annotated[tuple[str, ...], Field(min_length=1)]
    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    group_id: Annotated[str, Field(min_length=1)]
    payload: Annotated[PayloadFormat, BeforeValidator(declared_payload)]
    name: str = ""
    start: Annotated[str, BeforeValidator(_told_start)] = "earliest"
    out_of_range: Literal["earliest", "error"] = "earliest"
    missing_topics: Literal["error", "wait"] = "error"
    security: KafkaSecurity = KafkaSecurity()
    connect_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    settle_timeout_s: Annotated[float, Field(ge=0)] = 30.0
    commit_interval_s: Annotated[float, Field(gt=0)] = 5.0
    limits: KafkaLimits = KafkaLimits()
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        own = sorted(OWN_SETTINGS & set(self.settings))
        if own:
            msg = f"settings {own} are made from the other options, or have to be what they are"
            raise ValueError(msg)
        secret = sorted(
            name for name in self.settings if name in ("sasl.password", "ssl.key.password")
        )
        if secret:
            msg = f"settings {secret}: see security.password_env and security.key_password_env"
            raise ValueError(msg)
        return self

    @field_serializer("payload")
    def _as_declared(self, payload: PayloadFormat) -> dict[str, Any]:
        return {payload.name: payload.model_dump(mode="json")}

    @property
    def source_name(self) -> str:
        """Under which positions, counters and quarantined rows are known."""
        return self.name or f"kafka/{self.group_id}"

    @property
    def start_ms(self) -> int | None:
        """The time to start from in milliseconds since 1970-01-01 UTC; None if it is no time."""
        if self.start in ("earliest", "latest"):
            return None
        return -(-to_microseconds(self.start) // 1000)

    def source(self) -> KafkaSource:
        """Return a new source, which is to be started yet."""
        return KafkaSource(self)
