"""The import step: a source's fragments into a fleet, as a Dask graph.

Parts of fragments are read ahead, in order; as soon as some million rows are read, they are
encoded on the workers and committed by the job, while the next parts are being read.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import uuid4

from pipeline.archive.appending import AppendPlan, AppendResult
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.preparing import Prepared
from pipeline.jobs.import_tasks import PartInfo, describe_part, prepare_parts, read_part
from pipeline.jobs.joining import distinct, group_small
from pipeline.jobs.memory import ImportSizes
from pipeline.jobs.positions import Imported, position_of
from pipeline.jobs.progress import Progress
from pipeline.model.dtypes import storage_dtype
from pipeline.model.ports import Fragment
from pipeline.schema.channels import Schema

__all__ = ["FragmentImport", "ImportTotals"]

_ENOUGH_ROWS: Final = 131_072
"""Rows that are worth a task of their own for encoding: two full blocks."""

Tags = Mapping[str, Mapping[str, str]]


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
    partitions: set[tuple[int, int]] = field(default_factory=set)

    def add(self, result: AppendResult, prepared: Iterable[Prepared], schema: Schema) -> None:
        """Count one commit."""
        self.commits += 1
        self.rows += result.rows
        self.block_bytes += result.bytes
        self.blocks += result.blocks
        self.duplicates += result.duplicates
        self.quarantined += result.quarantined
        self.late += result.late
        self.raw_bytes += 8 * result.rows
        widths = {channel.name: storage_dtype(channel.dtype).itemsize for channel in schema}
        for part in prepared:
            self.partitions.update((entry.window, entry.device_block) for entry in part.entries)
            for name, statistics in part.statistics.channels.items():
                points = int(statistics.count.sum())
                self.points += points
                self.raw_bytes += points * widths[name]


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """A part that is being read."""

    fragment: Fragment
    position: str
    rows: Any
    info: Any


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A part that is read: its rows on a worker, and what is known of them."""

    position: str
    rows: Any
    info: PartInfo


@dataclass(frozen=True, slots=True, eq=False)
class FragmentImport:
    """The import of some fragments into a fleet.

    Parameters
    ----------
    client
        Of the cluster.
    store
        The fleet.
    schema
        The fleet's schema.
    fingerprint
        Of the source.
    sizes
        How the work is cut.
    progress
        Where progress is told.
    unknown
        What to do about columns without a channel.
    fragments_per_commit
        Most parts of a commit; None for no limit but that of the sizes.
    tags
        Tag values to set when a device is registered, by its id.
    """

    client: Any
    store: FleetStore
    schema: Schema
    fingerprint: str
    sizes: ImportSizes
    progress: Progress
    unknown: Literal["error", "ignore"] = "error"
    fragments_per_commit: int | None = None
    tags: Tags = field(default_factory=dict)
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
        for group in self._groups(self._parts(left, imported.partial)):
            self._commit(group, totals)
            totals.fragments += sum(part.info.done for part in group)
            seconds = time.perf_counter() - began
            self.progress.show(
                f"import {self.store.name}: {totals.fragments} of {len(left)} fragments, "
                f"{totals.rows:,} rows, {totals.points / seconds:,.0f} points/s",
                milestone=True,
            )
        return totals

    def _parts(
        self, fragments: Sequence[tuple[Fragment, str]], taken: Mapping[str, int]
    ) -> Iterator[_Part]:
        queue = deque(fragments)
        ahead: deque[_Reading] = deque()
        while queue or ahead:
            while queue and len(ahead) < self.sizes.reading:
                fragment, position = queue.popleft()
                ahead.append(self._read(fragment, position, taken.get(position, 0)))
            part = ahead.popleft()
            info: PartInfo = part.info.result()
            self.progress.show(f"import {self.store.name}: read {info.fragment}")
            if not info.done:
                # Its place is before all others: later rows of a fragment are later writes.
                ahead.appendleft(self._read(part.fragment, part.position, info.taken, info.worker))
            yield _Part(part.position, part.rows, info)

    def _read(
        self, fragment: Fragment, position: str, skip: int, worker: str | None = None
    ) -> _Reading:
        name = f"{self.run}-{fragment.name}-{skip}"
        rows = self.client.submit(
            read_part,
            self.run,
            fragment,
            skip,
            self.sizes.part_rows,
            self.schema,
            self.unknown,
            key=f"read-{name}",
            workers=worker,
            allow_other_workers=worker is not None,
        )
        info = self.client.submit(describe_part, rows, key=f"describe-{name}")
        return _Reading(fragment, position, rows, info)

    def _groups(self, parts: Iterable[_Part]) -> Iterator[list[_Part]]:
        """Gather parts into commits."""
        group: list[_Part] = []
        rows = 0
        for part in parts:
            group.append(part)
            rows += part.info.rows
            if rows >= self.sizes.group_rows or len(group) == self.fragments_per_commit:
                yield group
                group, rows = [], 0
        if group:
            yield group

    def _commit(self, group: Sequence[_Part], totals: ImportTotals) -> None:
        infos = [part.info for part in group]
        encoded: list[Prepared] = []

        def prepare_all(plan: AppendPlan) -> Sequence[Prepared]:
            encoded[:] = self._encode(plan, group)
            return encoded

        devices = distinct([info.devices for info in infos])
        view = self.store.view()
        new = view.registry.unknown(devices) if self.tags else ()
        result = self.store.append_prepared(
            devices,
            _categories(infos),
            prepare_all,
            [info.rejects for info in infos],
            tags={name: self.tags[name] for name in new if name in self.tags},
            positions=_positions(group).to_positions(self.fingerprint),
            view=view,
        )
        totals.add(result, encoded, self.schema)
        totals.ignored += sum(info.ignored for info in infos)

    def _encode(self, plan: AppendPlan, group: Sequence[_Part]) -> Sequence[Prepared]:
        futures = []
        for run in group_small([part.info.rows for part in group], _ENOUGH_ROWS):
            infos = [group[at].info for at in run]
            futures.append(
                self.client.submit(
                    prepare_parts,
                    [group[at].rows for at in run],
                    plan.meta,
                    plan.device_codes(distinct([info.devices for info in infos])),
                    plan.category_codes(_categories(infos)),
                    key=f"prepare-{self.run}-{infos[0].fragment}-{infos[0].taken}-{uuid4().hex}",
                )
            )
        prepared: Sequence[Prepared] = self.client.gather(futures)
        return prepared


def _categories(infos: Sequence[PartInfo]) -> dict[str, tuple[str, ...]]:
    """Return the texts of each category channel, in the order of the joined rows."""
    return {
        name: distinct([info.categories[name] for info in infos]) for name in infos[0].categories
    }


def _positions(group: Sequence[_Part]) -> Imported:
    done = frozenset(part.position for part in group if part.info.done)
    partial = {part.position: part.info.taken for part in group if part.position not in done}
    return Imported(done, partial)
