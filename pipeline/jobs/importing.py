"""The import step: a source's fragments into a fleet, as a Dask graph.

Parts of fragments are read ahead, in order, and encoded as soon as they are read; when they come to
some million rows the job commits them, while the next parts are being read and encoded.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from pipeline.archive.appending import AppendResult
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.preparing import Prepared
from pipeline.jobs.encoding import PartEncoding
from pipeline.jobs.expected_plans import ExpectedPlans, Tags, request
from pipeline.jobs.memory import GROUPS_IN_FLIGHT, ImportSizes
from pipeline.jobs.part_reading import PartReader, ReadPart
from pipeline.jobs.positions import Imported, position_of
from pipeline.jobs.progress import Progress
from pipeline.jobs.read_tasks import Columns
from pipeline.model.dtypes import storage_dtype
from pipeline.model.ports import Fragment

__all__ = ["FragmentImport", "ImportTotals"]

_PATIENCE: Final = 20.0
"""Seconds that a commit in flight gets to end when the import cannot go on."""


@dataclass(slots=True)
class ImportTotals:
    """What an import has done so far."""

    fragments: int = 0
    commits: int = 0
    rows: int = 0
    points: int = 0
    raw_bytes: int = 0
    block_bytes: int = 0
    blocks: int = 0
    duplicates: int = 0
    quarantined: int = 0
    late: int = 0
    ignored: int = 0
    retries: int = 0
    partitions: set[tuple[int, int]] = field(default_factory=set)

    def add(self, result: AppendResult, prepared: Iterable[Prepared], meta: FleetMeta) -> None:
        """Count one commit."""
        self.commits += 1
        self.rows += result.rows
        self.block_bytes += result.bytes
        self.blocks += result.blocks
        self.duplicates += result.duplicates
        self.quarantined += result.quarantined
        self.late += result.late
        self.raw_bytes += 8 * result.rows
        widths = {
            channel.name: storage_dtype(channel.dtype).itemsize for channel in meta.stored_channels
        }
        for part in prepared:
            self.partitions.update((entry.window, entry.device_block) for entry in part.entries)
            for name, statistics in part.statistics.channels.items():
                points = int(statistics.count.sum())
                self.points += points
                self.raw_bytes += points * widths[name]


@dataclass(frozen=True, slots=True, eq=False)
class FragmentImport:
    """The import of some fragments into a fleet.

    Parameters
    ----------
    client
        Of the cluster.
    store
        The fleet.
    meta
        The fleet's definition.
    fingerprint
        Of the source.
    sizes
        How the work is cut.
    progress
        Where progress is told.
    columns
        What becomes of the source's columns.
    fragments_per_commit
        Most parts of a commit; None for no limit but that of the sizes.
    tags
        Tag values to set when a device is registered, by its id.
    forked
        Whether workers write their blocks themselves, through forks of the transaction.
    """

    client: Any
    store: FleetStore
    meta: FleetMeta
    fingerprint: str
    sizes: ImportSizes
    progress: Progress
    columns: Columns
    fragments_per_commit: int | None = None
    tags: Tags = field(default_factory=dict)
    forked: bool = False
    run: str = field(default_factory=lambda: uuid4().hex[:12])

    def store_all(self, fragments: Sequence[Fragment], imported: Imported) -> ImportTotals:
        """Store what is not imported of `fragments`, commit by commit.

        Raises
        ------
        ArchiveError
            If a fragment cannot be read or stored; the commits made so far stay.
        """
        totals, began = ImportTotals(), time.perf_counter()
        positions = [(fragment, position_of(fragment)) for fragment in fragments]
        left = [(fragment, at) for fragment, at in positions if at not in imported.done]
        expected = ExpectedPlans(self.store.view(), self.tags, self.meta.schema.version)
        # A commit of so many fragments may begin behind any of them.
        together = None if self.fragments_per_commit is None else 1
        reader = PartReader(self.client, self.run, self.sizes, self.columns, expected, together)

        def gathering() -> PartEncoding:
            return PartEncoding(
                self.client, self.run, reader, expected, self.meta.scheme, self.sizes.part_rows
            )

        def commit(group: PartEncoding) -> FleetView:
            view = self._commit(group, totals)
            seconds = time.perf_counter() - began
            self.progress.show(
                f"import {self.store.name}: {totals.fragments} of {len(left)} fragments, "
                f"{totals.rows:,} rows, {totals.points / seconds:,.0f} points/s",
                milestone=True,
            )
            return view

        with _Commits(expected) as commits:
            group = gathering()
            for run in reader.runs(left, imported.partial):
                self.progress.show(f"import {self.store.name}: read {run.parts[-1].info.fragment}")
                group.add(run)
                if self._enough(group):
                    commits.begin(commit, group)
                    group = gathering()
            if group.parts:
                commits.begin(commit, group)
        return totals

    def _enough(self, group: PartEncoding) -> bool:
        rows, parts = group.rows, len(group.parts)
        return rows >= self.sizes.group_rows or parts == self.fragments_per_commit

    def _commit(self, group: PartEncoding, totals: ImportTotals) -> FleetView:
        """Commit a group, count it, and return the state it brings about."""
        infos = [part.info for part in group.parts]
        view = self.store.view()
        devices, categories, tags = request(view, infos, self.tags)
        append: Any = self.store.append_forked if self.forked else self.store.append_prepared
        result = append(
            devices,
            categories,
            group if self.forked else group.gather,
            [info.rejects for info in infos],
            tags=tags,
            positions=_positions(group.parts).to_positions(self.fingerprint),
            view=view,
            version=self.meta.schema.version,
        )
        totals.add(result, group.prepared, self.meta)
        totals.ignored += sum(info.ignored for info in infos)
        totals.fragments += sum(info.done for info in infos)
        return self.store.view()


class _Commits:
    """Commits groups one after the other, while the next ones are gathered."""

    def __init__(self, expected: ExpectedPlans) -> None:
        self._expected = expected
        self._thread = ThreadPoolExecutor(1, "commit")
        self._waiting: deque[tuple[Future[FleetView], int]] = deque()
        self._failed = False

    def __enter__(self) -> _Commits:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._end(0)
        finally:
            running = [future for future, _ in self._waiting if not future.cancel()]
            wait(running, _PATIENCE)
            self._thread.shutdown(wait=not running, cancel_futures=True)

    def begin(self, commit: Callable[[PartEncoding], FleetView], group: PartEncoding) -> None:
        """Encode what is left of a group, and commit it when those before are through.

        Return when fewer than `GROUPS_IN_FLIGHT` are left.
        """
        group.close()
        self._waiting.append((self._thread.submit(self._run, commit, group), len(group.parts)))
        self._end(GROUPS_IN_FLIGHT - 1)

    def _run(self, commit: Callable[[PartEncoding], FleetView], group: PartEncoding) -> FleetView:
        """Commit a group, unless one before it failed: the rows in between would be passed over."""
        if self._failed:
            raise CancelledError
        try:
            return commit(group)
        except BaseException:
            self._failed = True
            raise

    def _end(self, left: int) -> None:
        """Take note of commits that are done, and wait until so many are left."""
        while self._waiting and (len(self._waiting) > left or self._waiting[0][0].done()):
            future, parts = self._waiting.popleft()
            self._expected.committed(future.result(), parts)


def _positions(parts: Sequence[ReadPart]) -> Imported:
    done = frozenset(part.position for part in parts if part.info.done)
    partial = {part.position: part.info.taken for part in parts if part.position not in done}
    return Imported(done, partial)
