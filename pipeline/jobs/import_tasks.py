"""The tasks of an import graph; they run on workers.

`read_part` reads and validates; its rows stay on the worker. `describe_part` tells the job what
it needs to hand out codes. `prepare_parts` then encodes. The blocks travel to the job, or
`put_prepared` writes them where they are.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from distributed import get_worker
from numpy.typing import NDArray

from pipeline.archive.appending import stored_batch
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.forked_appends import put_blocks
from pipeline.archive.layout import FleetLayout
from pipeline.archive.older_rows import converted_batch
from pipeline.archive.preparing import Memories, Prepared, prepare
from pipeline.archive.transactions import Fork
from pipeline.archive.unknown_columns import (
    Known,
    known_rows,
    unknown_names,
    with_current_names,
)
from pipeline.errors import ArchiveError, JobError
from pipeline.jobs.joining import join_batches
from pipeline.jobs.open_fragments import keep_open, open_at
from pipeline.jobs.worker_plugin import ensure_accepted
from pipeline.model.batches import RecordBatch
from pipeline.model.ports import Fragment
from pipeline.model.rejects import Rejects
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.validation import validate

__all__ = [
    "Columns",
    "Part",
    "PartInfo",
    "describe_part",
    "merge_forks",
    "outline",
    "prepare_parts",
    "put_prepared",
    "read_part",
]

_MOST_RUNS: Final = 4
_lock = threading.Lock()
_memories: dict[str, Memories] = {}


@dataclass(frozen=True, slots=True)
class PartInfo:
    """What the job has to know of a part.

    Parameters
    ----------
    fragment
        Name of the fragment.
    taken
        Pieces of the fragment that are read, those of earlier parts included.
    done
        Whether that was all of it.
    rows
        Rows that fit the schema.
    devices
        Their devices.
    categories
        The texts of each category channel.
    rejects
        Rows that do not fit.
    ignored
        Lines that the source declares not to be data.
    worker
        Address of the worker that holds the rows.
    tags
        Tags that the rows told, by device.
    """

    fragment: str
    taken: int
    done: bool
    rows: int
    devices: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    rejects: Rejects
    ignored: int
    worker: str
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Validated rows of a fragment, on the worker that read them."""

    batch: RecordBatch
    info: PartInfo


@dataclass(frozen=True, slots=True)
class Columns:
    """What becomes of the columns of an import.

    Parameters
    ----------
    meta
        The fleet's definition, at the version of its schema that the rows have.
    unknown
        What becomes of columns without a channel, as `pipeline.schema.policies.SchemaPolicies` has
        it; they cannot be added any more.
    target
        The version that rows are stored in.
    """

    meta: FleetMeta
    unknown: str
    target: int

    def known(self, table: pa.Table, source: str) -> Known:
        """Return the rows of a table without other columns; those that are refused stay in it."""
        schema = self.meta.schema
        table = with_current_names(table, schema, self.meta.aliases)
        names = unknown_names(table, schema)
        if not names or self.unknown in ("reject", "add"):
            return Known(table)
        return known_rows(table, names, self.unknown, source)

    def stored(self, batch: RecordBatch) -> tuple[RecordBatch, Rejects]:
        """Return rows in the version that they are stored in, and those that do not fit it."""
        version = self.meta.schema.version
        if version == self.target:
            return batch, Rejects()
        return converted_batch(self.meta.history, batch, version, self.target)


def read_part(
    run: str,
    fragment: Fragment,
    skip: int,
    part_rows: int,
    columns: Columns,
) -> Part:
    """Read a fragment from piece `skip` on, until there are `part_rows` rows or it ends.

    Parameters
    ----------
    run
        Name of the import.
    fragment
        What to read.
    skip
        Pieces that earlier parts have.
    part_rows
        When to stop; the last piece may go beyond it.
    columns
        What becomes of the fragment's columns.

    Raises
    ------
    ArchiveError
        If the fragment cannot be read, or has columns that are refused.
    """
    ensure_accepted()
    try:
        return _read_part(run, fragment, skip, part_rows, columns)
    except ArchiveError:
        raise
    except Exception as error:
        msg = f"fragment {fragment.name!r}: reading failed with {type(error).__name__}: {error}"
        raise JobError(msg) from error


def _read_part(
    run: str,
    fragment: Fragment,
    skip: int,
    part_rows: int,
    columns: Columns,
) -> Part:
    tables: list[pa.Table] = []
    rejects: list[Rejects] = []
    tags: dict[str, Mapping[str, str]] = {}
    taken, rows, ignored, done = skip, 0, 0, True
    pieces = open_at(run, fragment, skip)
    for piece in pieces:
        tables.append(piece.table)
        rejects.append(piece.rejects)
        tags = {**piece.tags, **tags}  # what was told first stays
        taken, rows, ignored = taken + 1, rows + piece.table.num_rows, ignored + piece.ignored
        if rows >= part_rows:
            keep_open(run, fragment, taken, pieces)
            done = False
            break
    table = pa.concat_tables(tables) if tables else _NO_ROWS
    known = columns.known(table, fragment.name)
    batch, misfits = validate(
        known.table,
        columns.meta.schema,
        earliest=GRID_START,
        latest=GRID_STOP,
        source=fragment.name,
    )
    batch, unfit = columns.stored(batch)
    categories = {n: c.categories for n, c in batch.columns.items() if c.categories is not None}
    info = PartInfo(
        fragment.name,
        taken,
        done,
        len(batch),
        batch.devices,
        categories,
        Rejects.concat([*rejects, known.rejects, misfits, unfit]),
        ignored + known.ignored,
        get_worker().address,
        tags,
    )
    return Part(batch, info)


_NO_ROWS = pa.table({"device": pa.array([], pa.string()), "time": pa.array([], pa.timestamp("us"))})


def describe_part(part: Part) -> PartInfo:
    """Return what the job has to know of a part."""
    return part.info


def prepare_parts(
    run: str,
    parts: Sequence[Part],
    meta: FleetMeta,
    codes: NDArray[np.int32],
    category_codes: Mapping[str, NDArray[np.int32]],
) -> Prepared:
    """Encode the rows of some parts together.

    Parameters
    ----------
    run
        Name of the import: what suited its blocks before is tried first.
    parts
        From `read_part`.
    meta
        The fleet's definition, of an append's plan.
    codes, category_codes
        The fleet's codes of the devices and texts of the joined batch, in its order.

    Raises
    ------
    DuplicateRowsError
        If rows repeat a device and time and the fleet's policy is ``error``.
    """
    ensure_accepted()
    batch = stored_batch(join_batches([part.batch for part in parts]), meta)
    return prepare(batch, meta, codes, category_codes, _memories_of(run))


def _memories_of(run: str) -> Memories:
    """Return what this process remembers of encoding an import; of few imports at a time."""
    with _lock:
        while run not in _memories and len(_memories) >= _MOST_RUNS:
            _memories.pop(next(iter(_memories)))
        return _memories.setdefault(run, {})


def outline(prepared: Prepared) -> Prepared:
    """Return what the job has to know of encoded rows whose blocks stay on the worker."""
    return prepared.without_payloads()


def put_prepared(
    prepared: Prepared, layout: FleetLayout, fork: Fork, slots: tuple[int, ...]
) -> Fork:
    """Write encoded blocks through a fork, and return it."""
    ensure_accepted()
    put_blocks(prepared, layout, fork, slots)
    return fork


def merge_forks(forks: Sequence[Fork]) -> Fork:
    """Return one fork that holds what all have written."""
    return Fork.join(forks)
