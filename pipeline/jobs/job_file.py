"""Job files: what they may say, and how one is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from pipeline.archive.locations import Location
from pipeline.errors import JobError
from pipeline.jobs.documents import apply_overrides, expand_environment, read_document
from pipeline.jobs.lease_options import JobLease, read_lease
from pipeline.jobs.options import Options, describe
from pipeline.jobs.step_options import StepChoice
from pipeline.model.durations import parse_duration

__all__ = ["ClusterOptions", "Job", "LoadedJob", "load_document", "load_job"]

_ADDRESS: Final = re.compile(r"[a-z]+://.+")


def _duration(text: str) -> str:
    parse_duration(text)
    return text


class ClusterOptions(Options):
    """Where tasks run.

    In a file this is ``local`` (threads of the job's own process), the address of a scheduler
    that is up already, or a Dask cluster class to start.

    Parameters
    ----------
    address
        A scheduler, such as ``tcp://host:8786``.
    class_
        Import path of a cluster class, such as ``dask_jobqueue.SLURMCluster``.
    arguments
        What the class is called with.
    workers
        Workers to wait for before the job begins, and to scale a started cluster to.
    timeout
        How long to wait for the workers.
    """

    address: str | None = None
    class_: str | None = Field(default=None, alias="class")
    arguments: dict[str, Any] = Field(default_factory=dict)
    workers: PositiveInt | None = None
    timeout: Annotated[str, AfterValidator(_duration)] = "5 min"

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if self.address and self.class_:
            msg = "give the address of a scheduler or a class to start, not both"
            raise ValueError(msg)
        if self.class_ and not re.fullmatch(r"\w+(\.\w+)+", self.class_):
            msg = f"class {self.class_!r} has to be an import path such as dask.distributed.LocalCluster"
            raise ValueError(msg)
        if not self.class_ and (self.arguments or (self.workers and not self.address)):
            msg = "arguments and workers are those of a cluster class; name it with 'class'"
            raise ValueError(msg)
        return self

    @property
    def is_local(self) -> bool:
        """Whether tasks run in the job's own process."""
        return self.address is None and self.class_ is None

    def __str__(self) -> str:
        return self.address or self.class_ or "local"


def _location(url: str) -> str:
    Location.parse(url)
    return url


def _cluster(given: Any) -> Any:
    if given == "local":
        return {}
    if not isinstance(given, str):
        return given
    if _ADDRESS.fullmatch(given):
        return {"address": given}
    msg = (
        f"{given!r} is no cluster; use local, a scheduler's address such as tcp://host:8786, or "
        "a mapping with class, arguments and workers"
    )
    raise ValueError(msg)


class Job(Options):
    """A whole job file.

    Parameters
    ----------
    archive
        Folder or URL of the archive; a relative path is relative to the working directory.
    storage_options
        For object stores, see `pipeline.Archive.create`.
    if_exists
        What to do about an archive that is there already: ``append`` opens it, ``fail`` stops,
        ``replace`` deletes it first (local folders only).
    cluster
        Where tasks run.
    lease
        Keeps runs from working on the archive at the same time, if it is given.
    report
        Where the report is written, always, as JSON; by default beside a local archive. A run that
        is skipped leaves it to the one that is at work.
    steps
        What to do, in order.
    """

    archive: Annotated[str, Field(min_length=1), AfterValidator(_location)]
    storage_options: dict[str, Any] = Field(default_factory=dict)
    if_exists: Literal["append", "fail", "replace"] = "append"
    cluster: Annotated[ClusterOptions, BeforeValidator(_cluster)] = ClusterOptions()
    lease: Annotated[JobLease | None, BeforeValidator(read_lease)] = None
    report: str | None = None
    steps: tuple[StepChoice, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _lease_outlives_the_run(self) -> Self:
        if self.lease is not None and self.if_exists == "replace":
            msg = (
                "a lease is kept in the archive, which 'if_exists: replace' deletes; leave one out"
            )
            raise ValueError(msg)
        return self

    @property
    def report_path(self) -> Path:
        """Where the report is written."""
        if self.report:
            return Path(self.report).expanduser()
        location = Location.parse(self.archive)
        place = Path(location.path)
        if location.scheme == "file":
            return place.with_name(f"{place.name}.report.json")
        return Path(f"{place.name or 'archive'}.report.json")


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A job and where it came from.

    Parameters
    ----------
    path
        The job file.
    job
        What it says.
    variables
        Environment variables that occur in the file.
    """

    path: Path
    job: Job
    variables: frozenset[str] = frozenset()

    @property
    def hint(self) -> str:
        """What to add to an error about files that are not there."""
        names = " or ".join(sorted(self.variables))
        return f" (set the environment variable {names} to look elsewhere)" if names else ""


def load_job(
    path: str | Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> LoadedJob:
    """Read and check a job file.

    Parameters
    ----------
    path
        A YAML file.
    overrides
        Texts ``path=value``, see `pipeline.jobs.documents.apply_overrides`.
    environment
        Variables for ``${NAME}`` in texts.

    Raises
    ------
    JobError
        If the file cannot be read or says something it may not; the message names the file
        and the path of every wrong key.
    """
    file = Path(path)
    return load_document(file, read_document(file), overrides, environment)


def load_document(
    file: Path,
    document: Any,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> LoadedJob:
    """Check what a job file says.

    Parameters
    ----------
    file
        Where it is from, for messages and the report.
    document
        Its plain values; they stay as they are.
    overrides, environment
        As for `load_job`.

    Raises
    ------
    JobError
        If it says something it may not.
    """
    document = apply_overrides(document, overrides)
    if not isinstance(document, dict):
        msg = f"{file}: a job file is a mapping with the keys {', '.join(Job.model_fields)}"
        raise JobError(msg)
    try:
        expanded, variables = expand_environment(document, environment or {})
    except JobError as error:
        msg = f"{file}: {error}"
        raise JobError(msg) from None
    try:
        return LoadedJob(file, Job.model_validate(expanded), variables)
    except ValidationError as error:
        msg = f"{file}: {'; '.join(describe(error, Job))}"
        raise JobError(msg) from None
