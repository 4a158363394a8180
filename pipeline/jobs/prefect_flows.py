"""Jobs as flows of Prefect, on a Dask cluster.

``job_flow`` runs a job file, ``rollup_flow`` refreshes the rollups of a fleet. Both are tasks of a
``prefect_dask.DaskTaskRunner``: the task drives the work from one of the cluster's workers, hands the
cluster's client to the archive, and is tried again if storage, a worker or another writer was to
blame. That does no harm: what is committed is not done once more. The cluster is the one that Dask is
configured for (``DASK_SCHEDULER_ADDRESS``), or processes of this machine; or another one::

    flow = job_flow.with_options(task_runner=DaskTaskRunner(address="tcp://scheduler:8786"))
    flow.serve(name="hourly", cron="5 * * * *", parameters={"job": "configs/hourly.yaml"})

The archive and the files of a job have to be where every worker finds them.

References
----------
Prefect, https://docs.prefect.io; its collection for Dask, https://docs.prefect.io/integrations/prefect-dask
"""

# Annotations are not put off: Prefect makes models of them where it loads a flow from this file.

import io
from dataclasses import asdict
from typing import Any, Final

import dask
from distributed import worker_client

from pipeline.api.archive import Archive
from pipeline.errors import (
    AlreadyExistsError,
    CorruptBlockError,
    FencedError,
    InvalidInputError,
    LeaseHeldError,
    MissingDependencyError,
    NotFoundError,
)
from pipeline.jobs.job_file import LoadedJob
from pipeline.jobs.runner import run_job
from pipeline.jobs.running import loaded_job

try:
    from prefect import flow, get_run_logger, task
    from prefect.artifacts import create_table_artifact
    from prefect_dask.task_runners import DaskTaskRunner
except ImportError as error:
    msg = f"flows need Prefect and prefect-dask ({error}): pip install 'iot-archive[prefect]'"
    raise MissingDependencyError(msg) from error

__all__ = ["job_flow", "rollup_flow", "worth_another_try"]

_FOR_GOOD: Final = (
    AlreadyExistsError,
    CorruptBlockError,
    FencedError,
    InvalidInputError,
    LeaseHeldError,
    MissingDependencyError,
    NotFoundError,
)
_ON_DASK: Any = DaskTaskRunner(address=dask.config.get("scheduler-address", None))
_RETRIES: Final = 3
_PAUSES: Final = [10.0, 60.0, 300.0]


def worth_another_try(_task: Any, _run: Any, state: Any) -> bool:
    """Tell whether a task that failed may succeed next time: not if its input is to blame."""
    return not isinstance(state.result(raise_on_failure=False), _FOR_GOOD)


class _RunLog:
    """Progress of a job, in the log of its task."""

    def show(self, text: str, *, milestone: bool = False) -> None:
        """Log milestones."""
        if milestone:
            get_run_logger().info("%s", text)

    def clear(self) -> None:
        """Do nothing: log lines stay."""


@task(
    name="job",
    retries=_RETRIES,
    retry_delay_seconds=_PAUSES,
    retry_condition_fn=worth_another_try,
)
def _run_job(loaded: LoadedJob) -> tuple[dict[str, Any], str]:
    out = io.StringIO()
    with worker_client() as client:
        report = run_job(loaded, out=out, progress=_RunLog(), client=client)
    return report, out.getvalue()


@task(
    name="refresh rollup",
    retries=_RETRIES,
    retry_delay_seconds=_PAUSES,
    retry_condition_fn=worth_another_try,
)
def _refresh(
    archive: str, storage_options: dict[str, Any] | None, fleet: str, name: str
) -> dict[str, Any]:
    opened = Archive.open(archive, storage_options=storage_options)
    with worker_client() as client:
        done = asdict(opened.fleet(fleet).rollups[name].refresh(client))
    get_run_logger().info("rollup %s of %s: %s", name, fleet, done)
    return done


@flow(name="iot-archive job", task_runner=_ON_DASK)
def job_flow(job: str | dict[str, Any], overrides: list[str] | None = None) -> dict[str, Any]:
    """Run a job on the workers of the flow's cluster.

    Parameters
    ----------
    job
        A job file, or what one would hold. Its ``cluster`` does not count.
    overrides
        Texts ``path=value``, as on the command line.

    Returns
    -------
    dict
        The job's report; its steps have the counters. What ``report`` steps print goes to the flow's log.

    Raises
    ------
    ArchiveError
        If the job cannot be used, or a step failed at the last attempt.
    """
    report, text = _run_job.submit(loaded_job(job, *(overrides or ()))).result()
    told = report["skipped"] or text or f"{len(report['steps'])} steps {report['status']}"
    get_run_logger().info("%s", told)
    return report


@flow(name="iot-archive rollups", task_runner=_ON_DASK)
def rollup_flow(
    archive: str,
    fleet: str,
    rollups: list[str] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Refresh rollups of a fleet on the workers of the flow's cluster, and publish the counters.

    Parameters
    ----------
    archive, storage_options
        As for `pipeline.Archive.open`.
    fleet
        The fleet's name.
    rollups
        Names of its rollups, refreshed in this order; by default all, those of shorter periods first,
        since others are made of them.

    Returns
    -------
    list of dict
        The fields of `pipeline.analytics.rollups.refresh.RefreshResult` of each, which are also a
        table among the artifacts of the run.

    Raises
    ------
    ArchiveError
        If something does not exist, or a refresh failed at the last attempt.
    """
    store = Archive.open(archive, storage_options=storage_options).fleet(fleet)
    names = rollups if rollups is not None else store.rollups.by_period()
    done = [_refresh.submit(archive, storage_options, fleet, name).result() for name in names]
    create_table_artifact(table=done, key="iot-archive-rollups", description=f"Rollups of {fleet}")
    return done
