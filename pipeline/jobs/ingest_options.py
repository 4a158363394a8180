"""What a job file says of live streams."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveInt, model_validator

from pipeline.archive.fleet_meta import Duplicates
from pipeline.connectors.kafka import KafkaOptions
from pipeline.connectors.mqtt import MqttOptions, MqttSource
from pipeline.ingest.lease_keeping import LeaseOptions
from pipeline.ingest.options import StreamOptions
from pipeline.jobs.options import Choice, Options
from pipeline.jobs.partitioning_options import PartitioningOptions
from pipeline.jobs.source_options import SourceChoice
from pipeline.jobs.upkeep_options import RetentionOptions
from pipeline.model.durations import parse_duration
from pipeline.model.live_sources import LiveSource
from pipeline.schema.channels import Channel, Schema
from pipeline.simulation.player import Player

__all__ = ["IngestStep", "LiveSourceChoice", "PrometheusOptions", "ReplayOptions", "StreamStep"]


def _duration(text: str | None) -> str | None:
    if text is not None:
        parse_duration(text)
    return text


class ReplayOptions(Options):
    """Readings of an import source, played as if they came now; see `pipeline.simulation.player`.

    Parameters
    ----------
    source
        What to play, as for an import: simulated devices, files.
    speed
        Seconds of the recording that pass in one; 0 for as fast as rows are taken.
    restamp
        Whether rows get the times at which they are played.
    repeat
        Whether to begin again at the end.
    name
        Under which positions and counters are known.
    """

    source: SourceChoice
    speed: NonNegativeFloat = 1.0
    restamp: bool = True
    repeat: bool = False
    name: str = Field(default="replay", min_length=1)

    def live(self) -> LiveSource:
        """Return the source."""
        return Player(
            self.name, self.source.source(), self.speed or None, self.restamp, repeat=self.repeat
        )


class LiveSourceChoice(Choice):
    """Exactly one kind of live source."""

    mqtt: MqttOptions | None = None
    kafka: KafkaOptions | None = None
    replay: ReplayOptions | None = None

    def source(self) -> LiveSource:
        """Return the source.

        Raises
        ------
        MissingDependencyError
            If a library that it needs is not installed.
        """
        if self.mqtt is not None:
            return MqttSource(self.mqtt)
        if self.kafka is not None:
            return self.kafka.source()
        replay: ReplayOptions = self.chosen
        return replay.live()


class PrometheusOptions(Options):
    """Where counters are served for Prometheus.

    Parameters
    ----------
    port
        The port; 0 for any that is free.
    address
        Of the interface that is listened at.
    """

    port: int = Field(default=9464, ge=0, le=65535)
    address: str = "127.0.0.1"


class StreamStep(Options):
    """One stream into one fleet; see `pipeline.Fleet.stream` for what the keys mean.

    Parameters
    ----------
    fleet
        The fleet's name. It is created if there is none.
    sources
        Where rows come from.
    log
        Folder of the write-ahead log. Sources that can be read again need none, and are read
        again from the last commit.
    durability, flush, max_bytes, when_full, disorder, late, future, patience, compact, lease
        As of `pipeline.Fleet.stream`.
    partitioning, duplicates, retention, channels
        Of the fleet, if it is created. Without channels, those of the first source are taken.
    """

    fleet: str
    sources: tuple[LiveSourceChoice, ...] = Field(min_length=1)
    log: str | None = None
    durability: Literal["log", "commit", "none"] | None = None
    flush: dict[str, Any] | None = None
    max_bytes: PositiveInt = 128 << 20
    when_full: Literal["wait", "spill"] = "wait"
    disorder: str | int = "1 min"
    late: Any = "accept"
    future: Any = None
    patience: Annotated[str, AfterValidator(_duration)] = "10 min"
    compact: bool = True
    lease: Any = None
    partitioning: PartitioningOptions = PartitioningOptions(window="1 day")
    duplicates: Duplicates = Duplicates.KEEP_LAST
    retention: RetentionOptions = RetentionOptions()
    channels: tuple[Channel, ...] | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        StreamOptions.parse(logged=self.log is not None, **self.stream_options)
        LeaseOptions.parse(self.lease)
        return self

    @property
    def stream_options(self) -> dict[str, Any]:
        """What the stream is opened with, besides the log and the lease."""
        told = {
            name: getattr(self, name)
            for name in (
                "flush",
                "max_bytes",
                "when_full",
                "disorder",
                "late",
                "patience",
                "compact",
            )
        }
        if self.future is not None:
            told["future"] = self.future
        default = "commit" if self.log is None else "log"
        return {**told, "durability": self.durability or default}

    @property
    def schema_given(self) -> Schema | None:
        """The schema that the file declares, if any."""
        return None if self.channels is None else Schema(self.channels)


class IngestStep(Options):
    """Take rows of live sources in, until the process is told to end.

    SIGTERM, or Ctrl-C, ends the step in order: nothing more is taken, what was taken is committed
    and acknowledged, and the job goes on with its next step.

    Parameters
    ----------
    streams
        What flows where, all at once.
    stop_after
        A duration such as ``1 h`` after which the step ends by itself.
    health
        A JSON file that is replaced every few seconds: ``state`` is ``running``, ``degraded`` (a
        source or stream has failed, others go on), ``failed`` or ``stopped``.
    every
        How often counters are told.
    prometheus
        Where they are served, if anywhere; needs the extra ``prometheus``.
    """

    streams: tuple[StreamStep, ...] = Field(min_length=1)
    stop_after: Annotated[str | None, AfterValidator(_duration)] = None
    health: str | None = None
    every: Annotated[str, AfterValidator(_duration)] = "5 s"
    prometheus: PrometheusOptions | None = None

    @model_validator(mode="after")
    def _are_apart(self) -> Self:
        fleets = [stream.fleet for stream in self.streams]
        if len(set(fleets)) < len(fleets):
            msg = "two streams go into the same fleet; give one stream all of its sources"
            raise ValueError(msg)
        logs = [stream.log for stream in self.streams if stream.log is not None]
        if len(set(logs)) < len(logs):
            msg = "two streams have the same log; give each a folder of its own"
            raise ValueError(msg)
        return self
