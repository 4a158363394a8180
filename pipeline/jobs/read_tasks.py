"""The tasks of an import that read; they run on workers.

`read_parts` reads and validates fragments, some together if they are small, and encodes at once where
the codes of all devices and texts are known: that is so of most parts of an import but the first.
Rows and blocks stay on the worker, and `describe` tells the job what it has to know of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from distributed import get_worker

from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.older_rows import converted_batch
from pipeline.archive.unknown_columns import (
    Known,
    known_rows,
    unknown_names,
    with_current_names,
)
from pipeline.errors import ArchiveError, JobError
from pipeline.jobs.encode_tasks import encode_parts, rows_worth_a_task
from pipeline.jobs.import_parts import (
    EncodedParts,
    Outline,
    Part,
    PartInfo,
    Stretch,
    categories_of,
)
from pipeline.jobs.joining import distinct
from pipeline.jobs.known_codes import KnownCodes
from pipeline.jobs.open_fragments import keep_open, open_at
from pipeline.jobs.worker_plugin import ensure_accepted
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.validation import validate

__all__ = ["Columns", "describe", "read_parts"]


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


def read_parts(
    run: str,
    stretches: Sequence[Stretch],
    part_rows: int,
    columns: Columns,
    known: KnownCodes | None = None,
) -> list[Part | EncodedParts]:
    """Read fragments one after the other, until there are `part_rows` rows or all is read.

    Parameters
    ----------
    run
        Name of the import.
    stretches
        What to read.
    part_rows
        When to stop; the last piece may go beyond it.
    columns
        What becomes of the fragments' columns.
    known
        With which to encode the rows at once, if these are all the codes that they need, and there
        are enough of them.

    Returns
    -------
    list
        In order; parts that are encoded together are one entry. There may be fewer parts than
        stretches, and the last one may end before its fragment does. The same fragments give the
        same, should it have to be done again.

    Raises
    ------
    ArchiveError
        If a fragment cannot be read, or has columns that are refused.
    DuplicateRowsError
        As of `prepare_parts`.
    """
    ensure_accepted()
    parts: list[Part] = []
    rows = 0
    for stretch in stretches:
        part = _read(run, stretch, part_rows - rows, columns)
        parts.append(part)
        rows += part.info.rows
        if rows >= part_rows or not part.info.done:
            break
    groups = [] if known is None else _worth_a_task(parts, part_rows, known)
    if known is None or not groups:
        return [*parts]
    return [one for group in groups for one in _encode(run, group, known)]


def _read(run: str, stretch: Stretch, part_rows: int, columns: Columns) -> Part:
    try:
        return _read_part(run, stretch, part_rows, columns)
    except ArchiveError:
        raise
    except Exception as error:
        name = stretch.fragment.name
        msg = f"fragment {name!r}: reading failed with {type(error).__name__}: {error}"
        raise JobError(msg) from error


def _read_part(run: str, stretch: Stretch, part_rows: int, columns: Columns) -> Part:
    fragment, skip = stretch.fragment, stretch.skip
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
        if rows >= part_rows or taken - skip == stretch.pieces:
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
        tags,
    )
    return Part(batch, info)


def _worth_a_task(parts: Sequence[Part], part_rows: int, known: KnownCodes) -> list[Sequence[Part]]:
    """Return parts that are to be encoded together, in order; none if all of them are too few.

    A rest goes with those before it.
    """
    found: list[list[Part]] = []
    rows, devices = 0, 0
    enough = True
    for part in parts:
        if enough:
            found.append([])
            rows, devices = 0, 0
        found[-1].append(part)
        rows, devices = rows + part.info.rows, max(devices, len(part.info.devices))
        enough = rows >= rows_worth_a_task(devices, known.meta.scheme, part_rows)
    if not enough:
        rest = found.pop()
        if found:
            found[-1] += rest
    return [*found]


def _encode(
    run: str, parts: Sequence[Part], known: KnownCodes
) -> Sequence[Part] | list[EncodedParts]:
    """Encode parts together; leave them as they are if one of the codes is wanting."""
    infos = tuple(part.info for part in parts)
    devices = known.device_codes(distinct([info.devices for info in infos]))
    texts = known.category_codes(categories_of(infos))
    if devices is None or texts is None:
        return parts
    prepared = encode_parts(run, parts, known.meta, devices, texts)
    return [EncodedParts(prepared, infos)]


_NO_ROWS = pa.table({"device": pa.array([], pa.string()), "time": pa.array([], pa.timestamp("us"))})


def describe(held: Sequence[Part | EncodedParts]) -> list[Outline]:
    """Return what the job has to know of parts, encoded or not, that stay on the worker."""
    address = get_worker().address
    return [
        Outline((one.info,), None, address)
        if isinstance(one, Part)
        else Outline(one.infos, one.prepared.without_payloads(), address)
        for one in held
    ]
