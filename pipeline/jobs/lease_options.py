"""The lease of a job: what a job file says of runs that meet."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from pipeline.ingest.lease_keeping import LeaseOptions
from pipeline.jobs.options import Options
from pipeline.model.durations import parse_duration

__all__ = ["JobLease", "read_lease"]


_LONGEST: Final = 86_400_000_000


def _duration(text: str) -> str:
    parse_duration(text)
    return text


def _length(text: str) -> str:
    if parse_duration(text) > _LONGEST:
        msg = f"a lease of {text} would keep others away as long if a run is killed; give a day at most"
        raise ValueError(msg)
    return text


class JobLease(Options):
    """Of all jobs with a lease of this name, one at a time works on the archive.

    Parameters
    ----------
    name
        What the lease is for. Jobs that must not run at the same time have the same; archives do not
        share theirs.
    overlap
        What a run does that finds another one at work: ``skip`` says so and ends as if it had
        succeeded, which suits jobs that the next run makes up for; ``wait`` begins when the other
        one has ended.
    wait
        How long to wait at most; then the job fails.
    length
        When others may begin if a run was killed, or stopped, and does not renew its lease: a day at
        most. If a stopped one wakes up after that, it cannot change anything any more.
    """

    name: Annotated[str, Field(min_length=1)]
    overlap: Literal["skip", "wait"] = "skip"
    wait: Annotated[str, AfterValidator(_duration)] = "1 hour"
    length: Annotated[str, AfterValidator(_length)] = "1 min"

    @property
    def options(self) -> LeaseOptions:
        """What it says, in microseconds."""
        wait = parse_duration(self.wait) if self.overlap == "wait" else 0
        return LeaseOptions(self.name, parse_duration(self.length), wait)


def read_lease(given: Any) -> Any:
    """Take a text for the name of a lease."""
    return {"name": given} if isinstance(given, str) else given
