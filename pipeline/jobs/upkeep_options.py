"""The steps of a job file that keep an archive in order: what each is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from pipeline.archive.expiry import age
from pipeline.archive.retention import Retention
from pipeline.jobs.options import Options
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import WindowLength

__all__ = [
    "DeleteStep",
    "MaintenanceStep",
    "MigrateStep",
    "RepairStep",
    "RepartitionStep",
    "RetentionOptions",
    "StatsStep",
    "VerifyStep",
]


def _age(text: str) -> str:
    age(text)
    return text


class RetentionOptions(Options):
    """How long a fleet keeps rows and statistics; see `pipeline.api.fleet.Fleet.set_retention`.

    Parameters
    ----------
    raw, summaries
        Durations such as ``90 days``; for ever by default.
    """

    raw: str | None = None
    summaries: str | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> RetentionOptions:
        self.parsed  # noqa: B018 (raises if it does not)
        return self

    @property
    def parsed(self) -> Retention:
        """What it says, in microseconds."""
        return Retention.parse(self.raw, self.summaries)


class _Fleets(Options):
    """Which fleets.

    Parameters
    ----------
    fleets
        Their names; all by default.
    """

    fleets: tuple[str, ...] | None = None


class MaintenanceStep(_Fleets):
    """Retention, compaction, expiry and garbage collection; see `pipeline.Archive.maintain`.

    Parameters
    ----------
    retention
        By fleet, how long it keeps rows and statistics from now on. Fleets that are not named
        keep what they were told before.
    compact
        Whether to merge blocks.
    history
        How long old states of the archive can be opened.
    safety
        The longest time that any writer or reader may live: an hour or more.
    alone
        Your word that nothing else uses the archive meanwhile; then both may be ``0 s``.
    """

    retention: dict[str, RetentionOptions] = Field(default_factory=dict)
    compact: bool = True
    history: Annotated[str, AfterValidator(_age)] = "7 days"
    safety: Annotated[str, AfterValidator(_age)] = "1 day"
    alone: bool = False


class VerifyStep(_Fleets):
    """Read all that is stored; the job fails if something is wrong. See `pipeline.Archive.verify`."""


class StatsStep(_Fleets):
    """What fleets hold and what it takes, by window; see `pipeline.Archive.stats`."""


class RepairStep(_Fleets):
    """Mend what verification finds; see `pipeline.Archive.repair`.

    Parameters
    ----------
    dry_run
        Whether only to tell what would be done.
    """

    dry_run: bool = False


def _window(text: str | None) -> str | None:
    return None if text is None else WindowLength.parse(text).value


class RepartitionStep(Options):
    """Partition a fleet anew; see `pipeline.api.fleet.Fleet.repartition`.

    Parameters
    ----------
    fleet
        The fleet's name.
    window, devices_per_block, summary, landing_rows
        As for `pipeline.partitioning.scheme.Partitioning`; what is not given stays as it is. A
        summary period that was the window follows the window.
    rows_at_once
        Rows that are read and encoded at once.
    """

    fleet: str
    window: Annotated[str | None, AfterValidator(_window)] = None
    devices_per_block: PositiveInt | None = None
    summary: Annotated[str | None, AfterValidator(_window)] = None
    landing_rows: NonNegativeInt | None = None
    rows_at_once: PositiveInt = 1 << 20

    @model_validator(mode="after")
    def _says_what(self) -> RepartitionStep:
        if not self._given:
            msg = "give window, devices_per_block, summary or landing_rows"
            raise ValueError(msg)
        return self

    @property
    def _given(self) -> dict[str, str | int]:
        names = ("window", "devices_per_block", "summary", "landing_rows")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def scheme(self, present: Partitioning) -> Partitioning:
        """Return the partitioning that is asked for.

        Parameters
        ----------
        present
            What the fleet has.

        Raises
        ------
        InvalidInputError
            If it makes no sense.
        """
        changes: dict[str, Any] = dict(self._given)
        if present.summary_length is present.window_length and self.window is not None:
            changes.setdefault("summary", self.window)
        return replace(present, **changes)


class MigrateStep(Options):
    """Rewrite blocks of other versions of the schema; see `pipeline.api.fleet.Fleet.migrate`.

    Parameters
    ----------
    fleet
        The fleet's name.
    to
        Number of the version; the newest by default.
    time
        Look only at windows that this range touches.
    dry_run
        Whether only to tell what would be done, and about how long it would take.
    verify
        Whether to read every block once more, before and after, and compare.
    bytes_per_second
        Most raw bytes converted in a second, on average.
    partitions_per_commit
        Most partitions of one commit.
    roll_back_to
        Instead, make blocks what they were at this snapshot, which the report of a migration names.
    """

    fleet: str
    to: PositiveInt | None = None
    time: tuple[str | None, str | None] | None = None
    dry_run: bool = False
    verify: bool = False
    bytes_per_second: Annotated[float | None, Field(gt=0)] = None
    partitions_per_commit: PositiveInt = 64
    roll_back_to: str | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> MigrateStep:
        if self.roll_back_to is not None and (self.to, self.dry_run) != (None, False):
            msg = "a roll-back goes to what was there: leave out to and dry_run"
            raise ValueError(msg)
        return self


class DeleteStep(Options):
    """Delete rows of devices or times; see `pipeline.api.fleet.Fleet.delete`.

    Parameters
    ----------
    fleet
        The fleet's name.
    devices
        Device ids.
    time
        Half-open range; ``null`` for an open end.
    """

    fleet: str
    devices: str | tuple[str, ...] | None = None
    time: tuple[str | None, str | None] | None = None

    @model_validator(mode="after")
    def _says_what(self) -> DeleteStep:
        if self.devices is None and self.time is None:
            msg = "give devices, time, or both; time: [null, null] deletes all rows"
            raise ValueError(msg)
        return self
