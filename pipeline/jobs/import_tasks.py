"""The tasks of an import graph; they run on workers.

`read_part` reads and validates, and encodes at once if the codes of all devices and texts are known
by then: that is so of most parts of an import but the first. Rows and blocks stay on the worker, and
`describe_part` tells the job what it has to know of them. Rows that were not encoded wait until the
job has given codes to what was new, then `prepare_parts` encodes them. The blocks travel to the job,
or `put_encoded` writes them where they are.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa
from distributed import get_worker
from numpy.typing import NDArray

from pipeline.archive.appending import stored_batch
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.forked_appends import put_blocks
from pipeline.archive.layout import BLOCK_ROWS, FleetLayout
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
from pipeline.jobs.known_codes import KnownCodes
from pipeline.jobs.open_fragments import keep_open, open_at
from pipeline.jobs.worker_plugin import ensure_accepted
from pipeline.model.batches import RecordBatch
from pipeline.model.ports import Fragment
from pipeline.model.rejects import Rejects
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.validation import validate

__all__ = [
    "Columns",
    "EncodedPart",
    "Outline",
    "Part",
    "PartInfo",
    "describe_part",
    "merge_forks",
    "outline",
    "prepare_parts",
    "prepared_of",
    "put_encoded",
    "read_part",
    "rows_worth_a_task",
]

_MOST_RUNS: Final = 4
_FULL_BLOCKS: Final = 2  # of a partition, so that cutting it evenly leaves blocks well filled
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
    outline
        What a commit has to know of the rows if they are encoded already.
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
    outline: Prepared | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Validated rows of a fragment, on the worker that read them."""

    batch: RecordBatch
    info: PartInfo


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPart:
    """The blocks of a fragment's rows, on the worker that read and encoded them."""

    prepared: Prepared
    info: PartInfo


type Encoded = Prepared | EncodedPart
"""Of some parts together, or of one as soon as it was read."""


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Encoded rows without their blocks, and the address of the worker that holds those."""

    prepared: Prepared
    worker: str


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
    known: KnownCodes | None = None,
) -> Part | EncodedPart:
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
    known
        With which to encode the rows at once, if these are all the codes that they need, and there
        are enough of them.

    Raises
    ------
    ArchiveError
        If the fragment cannot be read, or has columns that are refused.
    DuplicateRowsError
        As of `prepare_parts`.
    """
    ensure_accepted()
    try:
        part = _read_part(run, fragment, skip, part_rows, columns)
        return part if known is None else _encode(run, part, part_rows, known)
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


def _encode(run: str, part: Part, part_rows: int, known: KnownCodes) -> Part | EncodedPart:
    info, scheme = part.info, known.meta.scheme
    if info.rows < rows_worth_a_task(len(info.devices), scheme, part_rows):
        return part
    devices, texts = known.device_codes(info.devices), known.category_codes(info.categories)
    if devices is None or texts is None:
        return part
    prepared = prepare_parts(run, [part], known.meta, devices, texts)
    return EncodedPart(prepared, replace(info, outline=prepared.without_payloads()))


_NO_ROWS = pa.table({"device": pa.array([], pa.string()), "time": pa.array([], pa.timestamp("us"))})


def rows_worth_a_task(devices: int, scheme: Partitioning, part_rows: int) -> int:
    """Return how many rows to encode together, so that blocks of a partition become full.

    A fragment that has some rows of every device would otherwise become one small block for each
    device block: a day of 10,000 devices, one reading in ten minutes, made blocks of 37,000 rows;
    four days together make 49,000, a third as many chunks, and 10 % fewer bytes.

    Parameters
    ----------
    devices
        Devices of a part.
    scheme
        The fleet's partitioning.
    part_rows
        Rows of the largest part: what a task has to be able to hold anyway.
    """
    blocks = -(-max(devices, 1) // scheme.devices_per_block)
    full = _FULL_BLOCKS * BLOCK_ROWS
    return max(full, min(full * blocks, part_rows))


def describe_part(part: Part | EncodedPart) -> PartInfo:
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


def outline(prepared: Prepared) -> Outline:
    """Return what the job has to know of encoded rows whose blocks stay on the worker."""
    return Outline(prepared.without_payloads(), get_worker().address)


def prepared_of(encoded: Encoded) -> Prepared:
    """Return the blocks."""
    return encoded.prepared if isinstance(encoded, EncodedPart) else encoded


def put_encoded(
    encoded: Sequence[Encoded], layout: FleetLayout, fork: Fork, slots: Sequence[tuple[int, ...]]
) -> Fork:
    """Write encoded rows through a fork, each into its slots, and return the fork."""
    ensure_accepted()
    put_blocks([prepared_of(one) for one in encoded], layout, fork, slots)
    return fork


def merge_forks(forks: Sequence[Fork]) -> Fork:
    """Return one fork that holds what all have written."""
    return Fork.join(forks)
