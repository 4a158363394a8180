"""Bringing a rollup up to date: plan, carry out, commit, group by group.

What is done is remembered with the cells, in the same commits, so that a refresh that was killed
goes on where it stopped, and a second one finds nothing to do. Of two at the same time, one commits
a group first; the other finds that and plans again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, Final

from zarr.abc.store import Store

from pipeline.analytics.rollups.build import Carried, Memories, Source, carry_out
from pipeline.analytics.rollups.plan import RefreshPlan, RollupTask, plan_refresh
from pipeline.archive.changes import read_changes
from pipeline.archive.chunk_io import ahead
from pipeline.archive.fleet_state import StalePlanError
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.on_client import results_in_order, threads_of
from pipeline.archive.rollups.definition import required
from pipeline.archive.rollups.fitting import fit_rollup
from pipeline.archive.rollups.periods import Period
from pipeline.archive.rollups.reading import RollupView
from pipeline.archive.rollups.store import (
    Built,
    Rollup,
    commit_built,
    load_rollup,
    read_built,
    rollup_names,
)
from pipeline.errors import ConflictError
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.windows import GRID_START

__all__ = ["RefreshResult", "on_client", "refresh"]

_ROUNDS: Final = 12
_TASKS_PER_COMMIT: Final = 8
_BYTES_PER_COMMIT: Final = 1 << 26
_OF_SUMMARIES: Final = frozenset({"min", "max", "first", "last", "total", "m2"})

CarryOut = Callable[[FleetView, Rollup, Source, Sequence[RollupTask]], Iterator[Carried]]
"""Carries out tasks and yields what each has built, in any order."""


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What a refresh did.

    Parameters
    ----------
    name
        The rollup's name.
    snapshot
        Id of the snapshot of its last commit; empty if there was nothing to do.
    source
        What cells were computed from: ``rows``, ``summaries``, or the name of a finer rollup.
    tasks
        Runs of devices and columns of chunks with something to compute.
    cells
        Cells computed, each of one device and period with all its statistics.
    rows
        Rows decoded for it.
    chunks, bytes
        Chunks written, and their encoded bytes.
    commits
        Commits made.
    retries
        How often another writer had changed something, so that it was planned again.
    seconds
        The whole refresh.
    """

    name: str
    snapshot: str = ""
    source: str = ""
    tasks: int = 0
    cells: int = 0
    rows: int = 0
    chunks: int = 0
    bytes: int = 0
    commits: int = 0
    retries: int = 0
    seconds: float = 0.0


def refresh(
    store: FleetStore,
    name: str,
    carry: CarryOut | None = None,
    told: Callable[[RefreshResult], None] = lambda _: None,
) -> RefreshResult:
    """Bring a rollup up to what its fleet holds now.

    Parameters
    ----------
    store
        The fleet.
    name
        The rollup's name.
    carry
        What carries out tasks; by default this process, on all cores.
    told
        Called with what is done so far, after every commit.

    Raises
    ------
    NotFoundError
        If there is no such rollup.
    CorruptBlockError
        If a block or chunk is damaged; what was committed stays.
    ConflictError
        If other writers changed the rollup again and again.
    """
    began = time.perf_counter()
    run = _Run(store, name, carry or _in_threads(), told, RefreshResult(name))
    for _ in range(_ROUNDS):
        try:
            run.once()
        except StalePlanError:
            run.result = replace(run.result, retries=run.result.retries + 1)
            continue
        return replace(run.result, seconds=time.perf_counter() - began)
    msg = (
        f"fleet {store.name!r}, rollup {name!r}: other writers changed it {_ROUNDS} times while it was "
        "refreshed; what was built stays, refresh it again later"
    )
    raise ConflictError(msg)


@dataclass(slots=True, eq=False)
class _Run:
    store: FleetStore
    name: str
    carry: CarryOut
    told: Callable[[RefreshResult], None]
    result: RefreshResult

    def once(self) -> None:
        """Plan on the newest state, and build and commit what is stale there."""
        view = self._fitting()
        found = RollupView.load(view, self.name)
        source, plan = _plan(found)
        if not plan.tasks and not plan.idle:
            return
        self.result = replace(self.result, source=source.text)
        rollup = found.rollup
        idle = [Built(t.run, t.column, t.built, view.state.sequence, {}) for t in plan.idle]
        if idle or plan.incomplete != rollup.definition.incomplete:
            self._write(rollup, idle, plan)
            definition = replace(rollup.definition, incomplete=plan.incomplete)
            rollup = replace(rollup, definition=definition)
        for group in _groups(self.carry(view, rollup, source, plan.tasks)):
            self._write(rollup, [one.built for one in group], plan)
            self._count(group)
            self.told(self.result)

    def _fitting(self) -> FleetView:
        """Return a state of the fleet that the rollup is large enough for."""

        def change(into: Store) -> None:
            now = FleetView.load(into, "", self.store.name)
            fit_rollup(now, load_rollup(into, now.meta, self.name))

        view = self.store.view()
        if not fit_rollup(view, load_rollup(view.store, view.meta, self.name), dry_run=True):
            return view
        self._commit(change)
        # Not the newest one: what was appended since may be beyond the rollup again.
        return self.store.view(self.result.snapshot)

    def _write(self, rollup: Rollup, results: Sequence[Built], plan: RefreshPlan) -> None:
        self._commit(lambda into: commit_built(into, rollup, results, plan.incomplete))

    def _commit(self, change: Callable[[Store], None]) -> None:
        metadata = {"fleet": self.store.name, "kind": "rollup", "rollup": self.name}
        snapshot, _ = self.store.repository.commit(
            change, f"rollup {self.name} of {self.store.name}", lambda _: metadata
        )
        self.result = replace(self.result, snapshot=snapshot, commits=self.result.commits + 1)

    def _count(self, group: Sequence[Carried]) -> None:
        done, result = [one.built.chunks for one in group], self.result
        self.result = replace(
            result,
            tasks=result.tasks + len(group),
            cells=result.cells + sum(one.cells for one in group),
            rows=result.rows + sum(one.rows for one in group),
            chunks=result.chunks + sum(map(len, done)),
            bytes=result.bytes + sum(len(data) for chunks in done for data in chunks.values()),
        )


def _plan(found: RollupView) -> tuple[Source, RefreshPlan]:
    """Return what is stale, and what to compute it from."""
    view, rollup = found.view, found.rollup
    windows = found.windows
    changed = read_changes(view.store, view.meta.layout, windows)
    built = read_built(view.store, rollup)
    numbers = found.stale()
    if not len(numbers):
        return Source(), RefreshPlan((), (), rollup.definition.incomplete)
    source = _choose(found, numbers.tolist())
    length = view.meta.scheme.window_length
    blocks = view.blocks(Selection(length.start(int(numbers[0])), length.start(int(numbers[-1]) + 1)))  # fmt: skip
    from_rows = not (source.finer or source.summaries)
    kept = source.kept_from
    return source, plan_refresh(rollup, windows, changed, built, blocks, kept, from_rows=from_rows)


def _choose(found: RollupView, stale: list[int]) -> Source:
    """Return the coarsest source that answers all that the rollup keeps."""
    view, definition = found.view, found.rollup.definition
    needs = {
        channel: frozenset[str]().union(
            *(required(one, view.meta.schema[channel].dtype) for one in definition.stored(channel))
        )
        for channel in definition.statistics
    }
    retention = view.meta.retention
    sources = [(0, Source(kept_from=_bound(retention.raw_from)))]
    stored = Period.of_window(view.meta.scheme.summary_length)
    if definition.period.holds(stored) and all(one <= _OF_SUMMARIES for one in needs.values()):
        sources.append((stored.typical, Source("", True, _bound(retention.summaries_from))))
    for name in rollup_names(view.store, view.meta):
        other = RollupView.load(view, name)
        period = other.rollup.definition.period
        if (
            period != definition.period
            and definition.period.holds(period)
            and all(one <= other.tells(channel) for channel, one in needs.items())
            and set(needs) <= set(other.rollup.definition.statistics)
            and other.fresh_windows(stale).all()
        ):
            sources.append((period.typical, Source(name, kept_from=_bound(GRID_START))))
    return max(sources, key=lambda one: one[0])[1]


def _bound(kept_from: int) -> int:
    """Return from where on periods can be computed: the grid's first day may lie inside of one."""
    return kept_from if kept_from > GRID_START else -(1 << 62)


def _groups(carried: Iterator[Carried]) -> Iterator[list[Carried]]:
    """Yield what goes into one commit."""
    group: list[Carried] = []
    size = 0
    for one in carried:
        group.append(one)
        size += sum(map(len, one.built.chunks.values()))
        if len(group) == _TASKS_PER_COMMIT or size >= _BYTES_PER_COMMIT:
            yield group
            group, size = [], 0
    if group:
        yield group


def _in_threads() -> CarryOut:
    memories: Memories = {}
    return lambda view, rollup, source, tasks: ahead(
        lambda task: carry_out(view, rollup, source, task, memories), tasks
    )


def on_client(client: Any) -> CarryOut:
    """Return what carries out tasks on the workers of a Dask cluster.

    As many at a time as there are threads, and one more for each two. Workers read the snapshot, and
    return encoded chunks.

    Parameters
    ----------
    client
        A ``distributed.Client``.
    """

    def carry(
        view: FleetView, rollup: Rollup, source: Source, tasks: Sequence[RollupTask]
    ) -> Iterator[Carried]:
        threads = threads_of(client)
        there = _Shared(view.snapshot, view.meta.name, rollup.definition.name, source, view.store)
        name = f"rollup-{rollup.definition.name}"
        most = threads + max(threads // 2, 1)
        return results_in_order(client, name, partial(_carry_out, there), tasks, most)

    return carry


@dataclass(frozen=True, slots=True)
class _Shared:
    """Where a worker finds the snapshot; its id is unique."""

    snapshot: str
    fleet: str
    rollup: str
    source: Source
    store: Store = field(compare=False, repr=False)


@lru_cache(maxsize=2)
def _loaded(there: _Shared) -> tuple[FleetView, Rollup, Memories]:
    view = FleetView.load(there.store, there.snapshot, there.fleet)
    return view, load_rollup(view.store, view.meta, there.rollup), {}


def _carry_out(there: _Shared, task: RollupTask) -> Carried:
    view, rollup, memories = _loaded(there)
    return carry_out(view, rollup, there.source, task, memories)
