"""How much an import or a compaction holds at once, as a function of named sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pipeline.model.dtypes import storage_dtype
from pipeline.schema.channels import Schema

__all__ = [
    "GROUPS_IN_FLIGHT",
    "ImportSizes",
    "choose_merge_rows",
    "choose_sizes",
    "estimate_memory",
    "estimate_merge_memory",
    "row_bytes",
]

GROUPS_IN_FLIGHT: Final = 2
"""Most commits that are under way or wait; the next one is gathered beside one fewer."""

_READING: Final = 3  # a source's pieces, their joined table, and what validation makes of it
_WAITING: Final = 1  # validated rows, or encoded ones that cannot be made smaller
_ENCODING: Final = 3  # validated rows, their ordered copy, and blocks with what codecs need
_MERGING: Final = 3  # decoded blocks, their joined rows, and these in order
_ORDER: Final = 32  # keys and positions while rows are sorted, bytes a row
_READ_TWICE: Final = 2  # blocks at the edges of a range belong to two of them
_SHARE: Final = 0.5  # of the workers' memory; the rest is the interpreter's and other jobs'
_LEAST_ROWS: Final = 16_384
_MOST_MERGED: Final = 1 << 21
_LEAST_MERGED: Final = 1 << 17


@dataclass(frozen=True, slots=True)
class ImportSizes:
    """How an import cuts its work.

    Parameters
    ----------
    part_rows
        A task stops reading a fragment when it holds so many rows; another one goes on there.
    reading
        Parts that are read, or wait to be committed, at the same time.
    group_rows
        Rows of one commit, at the least.
    """

    part_rows: int = 4_000_000
    reading: int = 4
    group_rows: int = 16_000_000


def row_bytes(schema: Schema) -> int:
    """Return the bytes of a row in memory: time, device, and each value with its validity."""
    return 8 + 4 + sum(storage_dtype(channel.dtype).itemsize + 1 for channel in schema)


def estimate_memory(*, row_bytes: int, part_rows: int, reading: int, group_rows: int) -> int:
    """Return the most bytes that an import holds on all workers together.

    Parameters
    ----------
    row_bytes
        Bytes of a row in memory.
    part_rows, reading
        Rows of a part, and how many parts are read ahead, twice as many as there are threads: each
        reads a part, or encodes up to two.
    group_rows
        Rows that are committed at once; the last part of a group may go beyond it. Others are
        under way or gathered meanwhile (`GROUPS_IN_FLIGHT`).
    """
    at_work = reading * part_rows * max(_READING / 2, _ENCODING)
    waiting = reading * part_rows + GROUPS_IN_FLIGHT * (group_rows + part_rows)
    return int(row_bytes * (at_work + waiting * _WAITING))


def choose_sizes(memory: int, row_bytes: int, threads: int) -> ImportSizes:
    """Return the largest sizes, up to those that bring no more, for half of some memory.

    Parameters
    ----------
    memory
        Bytes that the workers have together.
    row_bytes
        Bytes of a row in memory.
    threads
        Threads of all workers.
    """
    # Every thread encodes a part of each commit, and commits are large: what they write besides
    # the rows, above all summaries of every device, is the same for few rows and for many.
    sizes = ImportSizes(reading=2 * threads)
    sizes = replace(sizes, group_rows=max(sizes.group_rows, threads * sizes.part_rows))
    while sizes.part_rows > _LEAST_ROWS and _needs(sizes, row_bytes) > memory * _SHARE:
        if sizes.group_rows > 2 * sizes.part_rows:
            sizes = replace(sizes, group_rows=max(sizes.group_rows // 2, 2 * sizes.part_rows))
            continue
        part_rows = max(sizes.part_rows // 2, _LEAST_ROWS)
        sizes = replace(sizes, part_rows=part_rows, group_rows=2 * part_rows)
    return sizes


def _needs(sizes: ImportSizes, row_bytes: int) -> int:
    return estimate_memory(
        row_bytes=row_bytes,
        part_rows=sizes.part_rows,
        reading=sizes.reading,
        group_rows=sizes.group_rows,
    )


def estimate_merge_memory(*, row_bytes: int, rows_at_once: int, merges: int) -> int:
    """Return the most bytes that a compaction holds on all workers together.

    Parameters
    ----------
    row_bytes
        Bytes of a row in memory.
    rows_at_once
        Rows that a merge reads at once.
    merges
        Merges that are carried out at the same time.
    """
    return merges * _READ_TWICE * rows_at_once * (row_bytes * _MERGING + _ORDER)


def choose_merge_rows(memory: int, row_bytes: int, threads: int) -> int:
    """Return the rows that a merge may read at once, so that half of some memory is enough.

    Parameters
    ----------
    memory
        Bytes that the workers have together.
    row_bytes
        Bytes of a row in memory.
    threads
        Threads of all workers.
    """
    rows = _MOST_MERGED
    while rows > _LEAST_MERGED and memory * _SHARE < estimate_merge_memory(
        row_bytes=row_bytes, rows_at_once=rows, merges=threads
    ):
        rows //= 2
    return rows
