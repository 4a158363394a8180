"""The rollup step: rollups are made if they are not there, and refreshed on the job's cluster.

Run it as often as they have to be up to date. A scheduler may start it twice, or kill it and start
it again: what is built is committed group by group, with what it was built at.
"""

from __future__ import annotations

from dataclasses import asdict

from pipeline.analytics.rollups.refresh import RefreshResult, on_client, refresh
from pipeline.api.rollups import Rollups
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.on_client import are_reached
from pipeline.archive.rollups.definition import RollupDefinition, define_rollup
from pipeline.archive.rollups.store import load_rollup, rollup_names
from pipeline.errors import AlreadyExistsError, JobError
from pipeline.jobs.clusters import Cluster
from pipeline.jobs.opening import JobArchive
from pipeline.jobs.printing import align, plural, print_bytes, print_seconds
from pipeline.jobs.progress import Progress
from pipeline.jobs.rollup_options import RollupOptions, RollupStep
from pipeline.jobs.upkeep_steps import UpkeepReport

__all__ = ["roll_up"]


def roll_up(
    opened: JobArchive, cluster: Cluster, step: RollupStep, progress: Progress
) -> UpkeepReport:
    """Create and refresh rollups, those of shorter periods first: others are made of them.

    Parameters
    ----------
    opened
        The archive.
    cluster
        Where cells are computed. Rollups of archives in memory are refreshed by the job itself.
    step
        Which rollups.
    progress
        Where progress is told.

    Raises
    ------
    JobError
        If a rollup is there already and keeps something else.
    ArchiveError
        If something cannot be read or stored; what is committed stays.
    """
    store = FleetStore(opened.repository, step.fleet)
    for name, options in (step.rollups or {}).items():
        _ensure(store, name, options)
    view = store.view()
    wanted = step.rollups or rollup_names(view.store, view.meta)
    named = [name.replace(" ", "") for name in wanted]
    periods = {
        name: load_rollup(view.store, view.meta, name).definition.period.typical for name in named
    }
    reached = are_reached(cluster.client, opened.repository)
    carry = on_client(cluster.client) if reached else None

    def told(done: RefreshResult) -> None:
        progress.show(
            f"rollup {done.name} of {step.fleet}: {done.cells:,} cells from {done.source}",
            milestone=True,
        )

    results = [refresh(store, name, carry, told) for name in sorted(named, key=periods.__getitem__)]
    return _report(step.fleet, results)


def _ensure(store: FleetStore, name: str, options: RollupOptions) -> None:
    """Make a rollup, or see to it that the one that is there is what is asked for."""
    view = store.view()
    wanted = define_rollup(name, options.every, options.statistics, view.meta.schema)
    if wanted.name not in rollup_names(view.store, view.meta):
        try:
            Rollups(store, None).create(name, options.statistics, every=options.every)
        except AlreadyExistsError:
            view = store.view()  # another run of the job was faster
        else:
            return
    _check_same(load_rollup(view.store, view.meta, wanted.name).definition, wanted, store.name)


def _check_same(known: RollupDefinition, wanted: RollupDefinition, fleet: str) -> None:
    if (known.period, known.statistics) != (wanted.period, wanted.statistics):
        msg = (
            f"fleet {fleet!r} has a rollup {known.name!r} of {known.period.text} that keeps something "
            "else; give another name, or drop it first"
        )
        raise JobError(msg)


def _report(fleet: str, results: list[RefreshResult]) -> UpkeepReport:
    header = ("rollup", "from", "tasks", "cells", "rows", "bytes", "commits", "time")
    rows = [
        [
            one.name,
            one.source or "-",
            f"{one.tasks:,}",
            f"{one.cells:,}",
            f"{one.rows:,}",
            print_bytes(one.bytes),
            f"{one.commits:,}",
            print_seconds(one.seconds),
        ]
        for one in results
    ]
    document = {"step": "rollup", "fleet": fleet, "rollups": [asdict(one) for one in results]}
    title = f"{plural(len(results), 'rollup')} of {fleet}"
    return UpkeepReport(document, f"{title}\n{align(header, rows, left=2)}")
