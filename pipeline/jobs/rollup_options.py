"""The step of a job file that keeps rollups up to date: what it is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.archive.rollups.periods import Period
from pipeline.jobs.options import Options

__all__ = ["RollupOptions", "RollupStep"]


def _period(text: str | None) -> str | None:
    if text is not None:
        Period.parse(text)
    return text


class RollupOptions(Options):
    """What a rollup keeps; see `pipeline.api.rollups.Rollups.create`.

    Parameters
    ----------
    every
        Length of its periods; by default what its name says.
    statistics
        By channel, a statistic or several; by default what is usual of all channels.
    """

    every: Annotated[str | None, AfterValidator(_period)] = None
    statistics: Annotated[dict[str, str | tuple[str, ...]], Field(min_length=1)] | None = None


class RollupStep(Options):
    """Create rollups that are not there, and bring them up to date.

    Parameters
    ----------
    fleet
        The fleet's name.
    rollups
        By name, what each keeps; by default those that the fleet has.
    """

    fleet: str
    rollups: dict[str, RollupOptions] | None = None
