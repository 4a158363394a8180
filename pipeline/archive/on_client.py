"""Heavy work on a fleet as tasks of a Dask cluster.

Workers read the snapshot that the work was planned on and return what they have encoded or found;
whoever planned it commits. A few tasks more than there are threads are under way at a time, so that
results do not pile up. The client is one that is handed in: nothing here needs Dask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import batched
from typing import Any, Final
from uuid import uuid4

from zarr.abc.store import Store

from pipeline.archive import compaction, grid_copies, migration
from pipeline.archive.block_index import BlockTable
from pipeline.archive.compacting import Merge
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.layout import FleetLayout
from pipeline.archive.merging import prepare_merge
from pipeline.archive.moving import Move, move_block
from pipeline.archive.preparing import Memories, Prepared
from pipeline.archive.transactions import Repository
from pipeline.archive.verify_report import FleetFindings
from pipeline.archive.verifying import verify_windows
from pipeline.archive.verifying_fleet import MapSpans

__all__ = [
    "are_reached",
    "copies_on",
    "merges_on",
    "moves_on",
    "results_in_order",
    "threads_of",
    "windows_on",
]

_BLOCKS_A_TASK: Final = 8


def are_reached(client: Any, repository: Repository) -> bool:
    """Tell whether there are workers that can read a repository: one in memory they cannot."""
    return client is not None and repository.location.scheme != "memory"


def threads_of(client: Any) -> int:
    """Return the number of threads that the workers of a cluster have in all."""
    return sum(client.nthreads().values())


def results_in_order[A, B](
    client: Any, name: str, function: Callable[[A], B], items: Iterable[A], most: int
) -> Iterator[B]:
    """Yield the results of a function, in the order of the items.

    Parameters
    ----------
    client
        A ``distributed.Client``.
    name
        What the tasks are called on the cluster's pages.
    function
        Can be pickled, as what it returns.
    items
        What it is given, one after the other.
    most
        Tasks that are under way, or done and not asked for, at a time.
    """
    left, running = iter(items), deque[Any]()
    try:
        for item in left:
            running.append(client.submit(function, item, key=f"{name}-{uuid4().hex}"))
            if len(running) >= most:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        client.cancel(list(running))


def merges_on(client: Any) -> compaction.CarryOut:
    """Return what carries out the merges of a compaction on the workers of a cluster."""

    def carry_out(view: FleetView, merges: Sequence[Merge]) -> Iterator[Prepared]:
        function = partial(_merge, _There.of(view))
        name = f"merge-{view.meta.name}"
        return results_in_order(client, name, function, merges, threads_of(client) + 1)

    return carry_out


def moves_on(client: Any) -> migration.CarryOut:
    """Return what converts the blocks of a migration on the workers of a cluster."""

    def carry_out(view: FleetView, blocks: Sequence[BlockTable]) -> Iterator[Move]:
        function = partial(_move, _There.of(view))
        tasks = batched(blocks, _BLOCKS_A_TASK)
        name = f"migrate-{view.meta.name}"
        for moves in results_in_order(client, name, function, tasks, 2 * threads_of(client)):
            yield from moves

    return carry_out


def copies_on(client: Any) -> grid_copies.CarryOut:
    """Return what encodes the copies of a re-partitioning on the workers of a cluster.

    A task is a span: a window of the old grid or the new one, whichever is longer.
    """

    def carry_out(
        view: FleetView,
        layout: FleetLayout,
        copies: Sequence[grid_copies.Copy],
        rows_at_once: int,
    ) -> Iterator[list[Prepared]]:
        function = partial(_copy, _There.of(view), layout, rows_at_once)
        name = f"repartition-{view.meta.name}"
        return results_in_order(client, name, function, copies, threads_of(client) + 1)

    return carry_out


def windows_on(client: Any) -> MapSpans:
    """Return what verifies windows on the workers of a cluster."""

    def map_spans(view: FleetView, spans: list[list[int]]) -> Iterator[FleetFindings]:
        function = partial(_verify, _There.of(view))
        name = f"verify-{view.meta.name}"
        return results_in_order(client, name, function, spans, threads_of(client) + 1)

    return map_spans


@dataclass(frozen=True, slots=True)
class _There:
    """Where a worker finds the snapshot, and in which version of the schema; its id is unique."""

    snapshot: str
    fleet: str
    version: int
    store: Store = field(compare=False, repr=False)

    @classmethod
    def of(cls, view: FleetView) -> _There:
        return cls(view.snapshot, view.meta.name, view.meta.schema.version, view.store)


@lru_cache(maxsize=2)
def _loaded(there: _There) -> tuple[FleetView, Memories]:
    view = FleetView.load(there.store, there.snapshot, there.fleet)
    return view.at_version(there.version), {}


def _merge(there: _There, merge: Merge) -> Prepared:
    return prepare_merge(_loaded(there)[0], merge)


def _move(there: _There, blocks: Sequence[BlockTable]) -> list[Move]:
    view, memories = _loaded(there)
    return [move_block(view, block, memories) for block in blocks]


def _copy(
    there: _There, layout: FleetLayout, rows_at_once: int, copy: grid_copies.Copy
) -> list[Prepared]:
    view, memories = _loaded(there)
    return list(grid_copies.encode_copy(view, layout, copy, rows_at_once, memories))


def _verify(there: _There, span: list[int]) -> FleetFindings:
    return verify_windows(_loaded(there)[0], span)
