"""The steps of a job file: what each is told.

A new kind of step is a field of `StepChoice`, and an entry in `pipeline.jobs.runner.STEPS`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from pipeline.analytics.approximate.budget import Approximate, Budget
from pipeline.archive.fleet_meta import Duplicates
from pipeline.jobs.ingest_options import IngestStep
from pipeline.jobs.options import Choice, Options
from pipeline.jobs.partitioning_options import PartitioningOptions
from pipeline.jobs.rollup_options import RollupStep
from pipeline.jobs.source_options import SourceChoice
from pipeline.jobs.upkeep_options import (
    DeleteStep,
    MaintenanceStep,
    MigrateStep,
    RepairStep,
    RepartitionStep,
    RetentionOptions,
    StatsStep,
    VerifyStep,
)
from pipeline.model.durations import parse_duration
from pipeline.schema.channels import Channel, Schema

__all__ = [
    "AggregateStep",
    "BudgetOptions",
    "CompactStep",
    "DownsampleStep",
    "ImportStep",
    "LatestStep",
    "ReportStep",
    "StepChoice",
]


def _duration(text: str | None) -> str | None:
    if text is not None:
        parse_duration(text)
    return text


class ImportStep(Options):
    """Rows from a source into a fleet, which is created if there is none of that name.

    Parameters
    ----------
    fleet
        The fleet's name. With `one_fleet_per_file`, ``{stem}`` in it is the file's name without
        its endings.
    source
        Where the rows come from.
    one_fleet_per_file
        Whether every file of the source's path is imported into a fleet of its own.
    partitioning, duplicates, retention, channels
        Of the fleet, if it is created. Without channels, those of the source are taken.
    schema_version
        Version of the fleet's schema that the rows have. Rows of an older one are converted, or
        stored as they are, as the fleet's policies say. By default the one with just the channels
        that the file declares, or else the newest.
    unknown
        What to do about columns that the fleet has no channel for, as of `pipeline.Fleet.append`.
        ``add`` makes channels of the columns that the source announces before it is read.
    fragments_per_commit
        Most fragments in one commit; by default as many as fit in memory, up to some million
        rows. Fragments whose commit was made are skipped when the job runs again; a source
        that is described in other words, or a file that has changed, is another one.
    """

    fleet: str
    source: SourceChoice
    one_fleet_per_file: bool = False
    partitioning: PartitioningOptions = PartitioningOptions()
    duplicates: Duplicates = Duplicates.KEEP_LAST
    retention: RetentionOptions = RetentionOptions()
    channels: tuple[Channel, ...] | None = Field(default=None, alias="schema")
    schema_version: PositiveInt | None = None
    unknown: Literal["error", "reject", "add", "quarantine", "ignore"] | None = None
    fragments_per_commit: PositiveInt | None = None

    @property
    def schema_given(self) -> Schema | None:
        """The schema that the file declares, if any."""
        return None if self.channels is None else Schema(self.channels)


class CompactStep(Options):
    """Merge small and overlapping blocks; see `pipeline.archive.compacting`.

    Parameters
    ----------
    fleet
        The fleet's name.
    time
        Look only at windows that this range touches.
    small_blocks
        A partition may keep so many blocks of less than half the full size.
    overlap
        A partition may keep so many batches with rows of the same device.
    older_than
        A duration such as ``1h``: leave alone windows that did not end so long ago. By default
        all windows are compacted.
    partitions_per_commit
        Most partitions, or windows with landing rows, of one commit.
    rows_at_once
        Rows that a task holds at once, about; by default what fits in the workers' memory.
    """

    fleet: str
    time: tuple[str | None, str | None] | None = None
    small_blocks: NonNegativeInt = 1
    overlap: PositiveInt = 1
    older_than: Annotated[str | None, AfterValidator(_duration)] = None
    partitions_per_commit: PositiveInt = 64
    rows_at_once: PositiveInt | None = None

    @property
    def age(self) -> int | None:
        """What `older_than` is in microseconds."""
        return None if self.older_than is None else parse_duration(self.older_than)


def _known_ending(path: str | None) -> str | None:
    if path is not None and not path.endswith((".parquet", ".csv", ".zarr")):
        msg = f"{path!r} has to end in .parquet, .csv or .zarr"
        raise ValueError(msg)
    return path


type _Wanted = str | bool | int | float | None


class _Question(Options):
    """What all questions to a fleet have.

    Parameters
    ----------
    fleet
        The fleet's name.
    title
        What the report calls the question.
    devices
        Device ids; all by default.
    where
        By tag or channel name, what is wanted, or several of which one is: texts of tags, and of
        channels what `pipeline.archive.where.Where` says, such as ``"> 90"``.
    repeat
        How often to ask; the report gives the first and the median latency.
    output
        Where to write the answer: a file ending ``.parquet`` or ``.csv``, or a Zarr folder
        ending ``.zarr``. What is there already is replaced.
    """

    fleet: str
    title: str | None = None
    devices: str | tuple[str, ...] | None = None
    where: dict[str, _Wanted | tuple[_Wanted, ...]] | None = None
    repeat: PositiveInt = 1
    output: Annotated[str | None, AfterValidator(_known_ending)] = None


class BudgetOptions(Options):
    """What an approximate answer may cost; see `pipeline.Budget`.

    Parameters
    ----------
    relative_error, error
        Largest distance of a value from either of its bounds: by the value, or in its units.
    seconds
        About how long it may take.
    confidence
        How often bounds from a sample hold.
    """

    relative_error: NonNegativeFloat | None = None
    error: NonNegativeFloat | None = None
    seconds: NonNegativeFloat | None = None
    confidence: float = Field(default=0.95, ge=0.5, lt=1)

    @property
    def budget(self) -> Budget:
        """The budget that the file declares."""
        return Budget(self.relative_error, self.error, self.seconds, self.confidence)


class AggregateStep(_Question):
    """Statistics of channels; see `pipeline.api.fleet.Fleet.aggregate`."""

    statistics: dict[str, str | tuple[str, ...]] = Field(min_length=1)
    every: str | None = None
    time: tuple[str | None, str | None] | None = None
    by: str | tuple[str, ...] | None = None
    window: str | None = None
    origin: str | None = None
    timezone: str | None = None
    gap: str | None = None
    fill: Literal["null", "none", "previous", "linear"] | None = None
    approximate: bool | BudgetOptions = False

    @property
    def how_exact(self) -> Approximate:
        """What `approximate` means to a fleet."""
        given = self.approximate
        return given.budget if isinstance(given, BudgetOptions) else given


class LatestStep(_Question):
    """The newest reading of every device; see `pipeline.api.fleet.Fleet.latest`."""

    channels: tuple[str, ...] | None = None


class DownsampleStep(_Question):
    """Readings for a plot; see `pipeline.api.fleet.Fleet.downsample`."""

    channel: str
    points: int = Field(ge=2)
    method: Literal["lttb", "minmax"] = "lttb"
    time: tuple[str | None, str | None] | None = None


class ReportStep(Options):
    """Print what the steps so far have done, for people.

    Parameters
    ----------
    title
        The heading; the job file's name by default.
    answers
        Whether to show the first values of each answer.
    """

    title: str | None = None
    answers: bool = True


class StepChoice(Choice):
    """Exactly one kind of step."""

    import_: ImportStep | None = Field(default=None, alias="import")
    ingest: IngestStep | None = None
    compact: CompactStep | None = None
    rollup: RollupStep | None = None
    aggregate: AggregateStep | None = None
    latest: LatestStep | None = None
    downsample: DownsampleStep | None = None
    maintenance: MaintenanceStep | None = None
    verify: VerifyStep | None = None
    repair: RepairStep | None = None
    stats: StatsStep | None = None
    repartition: RepartitionStep | None = None
    delete: DeleteStep | None = None
    migrate: MigrateStep | None = None
    report: ReportStep | None = None
