"""Running jobs from Python: notebooks, schedulers, tests of one's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from pipeline.jobs.job_file import LoadedJob, load_document, load_job
from pipeline.jobs.progress import LogLines, Progress
from pipeline.jobs.runner import run_job

__all__ = ["loaded_job", "run"]


def run(
    job: str | Path | Mapping[str, Any],
    *overrides: str,
    client: Any = None,
    out: TextIO | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run a job, as ``python -m pipeline`` does.

    Parameters
    ----------
    job
        A job file, or what one would hold.
    *overrides
        Texts ``path=value``, as on the command line.
    client
        A ``distributed.Client`` on whose workers to work, whatever the job's ``cluster`` says; it is
        left open.
    out
        Where ``report`` steps print; standard output by default.
    progress
        Where progress is told; the log ``pipeline.jobs.progress`` by default.

    Returns
    -------
    dict
        The report. Its ``status`` is ``succeeded``, or ``skipped`` if another run has the job's lease.

    Raises
    ------
    JobError
        If the job says something it may not, or a step fails in an unexpected way.
    ArchiveError
        If a step fails; the archive stays at its last commit.
    """
    return run_job(
        loaded_job(job, *overrides),
        out=sys.stdout if out is None else out,
        progress=progress or LogLines(),
        client=client,
    )


def loaded_job(job: str | Path | Mapping[str, Any], *overrides: str) -> LoadedJob:
    """Read and check a job, with the variables of this process's environment.

    Raises
    ------
    JobError
        If it says something it may not.
    """
    if isinstance(job, Mapping):
        return load_document(Path("job"), dict(job), overrides, os.environ)
    return load_job(job, overrides, os.environ)
