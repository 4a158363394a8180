"""The steps of a job file that keep an archive in order: what each is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from pipeline.archive.expiry import age
from pipeline.archive.retention import Retention
from pipeline.jobs.options import Options

__all__ = [
    "DeleteStep",
    "MaintenanceStep",
    "RepairStep",
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
