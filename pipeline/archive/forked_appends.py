"""Appends whose blocks are written by other processes, through forks of one transaction.

Slots are given to blocks on the newest state, writers put their chunks there, and only then a
commit is made: it merges the forks and writes index, summaries and counters. Nothing is locked
while writers write. If another writer took some of the slots meanwhile, all blocks are put once
more, through new forks, since a fork cannot give up the chunks that it wrote to the taken ones.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol

from zarr.abc.store import Store

from pipeline.archive.appending import AppendPlan, AppendResult, check_plan
from pipeline.archive.chunk_io import chunk_key, put_many
from pipeline.archive.index_writer import next_slots
from pipeline.archive.layout import FleetLayout
from pipeline.archive.preparing import Prepared
from pipeline.archive.transactions import Fork, Repository
from pipeline.errors import ConflictError

__all__ = ["BlockWriters", "commit_forked", "put_blocks"]

_log = logging.getLogger(__name__)
_ATTEMPTS: Final = 30

Slots = tuple[int, ...]


class BlockWriters(Protocol):
    """Processes that hold encoded batches and can write them."""

    def prepare(self, plan: AppendPlan) -> Sequence[Prepared]:
        """Encode the batches under a plan; return them without their payloads."""
        ...

    def put(self, slots: Sequence[Slots], fork: Callable[[], Fork]) -> Sequence[Fork]:
        """Write every batch into its slots; return the forks that it was written through.

        `fork` makes a new one: of them, every process needs one of its own.
        """
        ...


class _SlotsTakenError(Exception):
    """Another writer took slots that were written meanwhile."""


def commit_forked(
    repository: Repository,
    plan: AppendPlan,
    prepared: Sequence[Prepared],
    writers: BlockWriters,
    write: Callable[[Store], AppendResult],
    message: str,
    metadata: Callable[[AppendResult], Mapping[str, Any]],
) -> tuple[str, AppendResult]:
    """Let writers put prepared batches, and commit them.

    Parameters
    ----------
    repository
        The archive.
    plan, prepared
        From `BlockWriters.prepare`.
    writers
        Who has the payloads.
    write
        Writes all but the blocks: `pipeline.archive.appending.commit_prepared`.
    message, metadata
        As of `Repository.commit`.

    Returns
    -------
    tuple
        The snapshot's id and what was stored.

    Raises
    ------
    StalePlanError, DuplicateRowsError
        As of `pipeline.archive.appending.commit_prepared`.
    ConflictError
        If other writers took the slots every time.
    """
    layout = plan.meta.layout
    for attempt in range(_ATTEMPTS):
        transaction = repository.begin()
        check_plan(transaction.store, plan)
        wanted = _slots(transaction.store, layout, prepared)
        forks = writers.put(wanted, transaction.fork)

        def choose(
            store: Store, wanted: list[Slots] = wanted, forks: Sequence[Fork] = forks
        ) -> Sequence[Fork]:
            check_plan(store, plan)
            if _slots(store, layout, prepared) != wanted:
                raise _SlotsTakenError
            return forks

        try:
            return repository.commit(write, message, metadata, choose)
        except _SlotsTakenError:
            repository.retries += 1
            _log.warning(
                "%s: %s: another writer took the slots of blocks, attempt %d of %d; putting them again",
                repository.location, message, attempt + 1, _ATTEMPTS,
            )  # fmt: skip
    msg = f"{repository.location}: {_ATTEMPTS} attempts to place blocks of {message!r} met faster writers"
    raise ConflictError(msg)


def put_blocks(
    prepared: Sequence[Prepared], layout: FleetLayout, fork: Fork, slots: Sequence[Slots]
) -> None:
    """Write the payloads of batches through a fork.

    Parameters
    ----------
    prepared
        With their payloads.
    layout
        Of the fleet.
    fork
        Where to write.
    slots
        For each batch, one for each of its blocks.
    """
    chunks = {
        chunk_key(layout.raw_path(name), (entry.window, entry.device_block, slot)): data
        for part, taken in zip(prepared, slots, strict=True)
        for entry, payload, slot in zip(part.entries, part.payloads, taken, strict=True)
        for name, data in payload.items()
    }
    put_many(fork.store, chunks)


def _slots(store: Store, layout: FleetLayout, prepared: Sequence[Prepared]) -> list[Slots]:
    """Return the next free slots of each batch's blocks, in the order in which they are indexed."""
    slots = iter(next_slots(store, layout, [e for part in prepared for e in part.entries]))
    return [tuple(islice(slots, len(part.entries))) for part in prepared]
