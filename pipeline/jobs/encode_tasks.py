"""The tasks of an import that encode and put; they run on workers.

`prepare_parts` encodes rows that waited on a worker until the job had given codes to what was new in
them. Encoded blocks travel to the job, or `put_encoded` writes them where they are.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.appending import stored_batch
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.forked_appends import put_blocks
from pipeline.archive.layout import BLOCK_ROWS, FleetLayout
from pipeline.archive.preparing import Memories, Prepared, prepare
from pipeline.archive.transactions import Fork
from pipeline.jobs.import_parts import EncodedParts, Held, Part
from pipeline.jobs.joining import join_batches
from pipeline.jobs.worker_plugin import ensure_accepted
from pipeline.partitioning.scheme import Partitioning

__all__ = ["encode_parts", "merge_forks", "prepare_parts", "put_encoded", "rows_worth_a_task"]

_MOST_RUNS: Final = 4
_FULL_BLOCKS: Final = 2  # of a partition, so that cutting it evenly leaves blocks well filled
_lock = threading.Lock()
_memories: dict[str, Memories] = {}


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


def prepare_parts(
    run: str,
    held: Sequence[Held],
    meta: FleetMeta,
    codes: NDArray[np.int32],
    category_codes: Mapping[str, NDArray[np.int32]],
) -> list[EncodedParts]:
    """Encode the rows of some parts together.

    Parameters
    ----------
    run
        Name of the import: what suited its blocks before is tried first.
    held
        Parts, from `read_parts`.
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
    found = [some[at] for some, at in held]
    parts = [one for one in found if isinstance(one, Part)]
    infos = tuple(part.info for part in parts)
    return [EncodedParts(encode_parts(run, parts, meta, codes, category_codes), infos)]


def encode_parts(
    run: str,
    parts: Sequence[Part],
    meta: FleetMeta,
    codes: NDArray[np.int32],
    category_codes: Mapping[str, NDArray[np.int32]],
) -> Prepared:
    """Encode the rows of some parts together; see `prepare_parts`."""
    batch = stored_batch(join_batches([part.batch for part in parts]), meta)
    return prepare(batch, meta, codes, category_codes, _memories_of(run))


def _memories_of(run: str) -> Memories:
    """Return what this process remembers of encoding an import; of few imports at a time."""
    with _lock:
        while run not in _memories and len(_memories) >= _MOST_RUNS:
            _memories.pop(next(iter(_memories)))
        return _memories.setdefault(run, {})


def put_encoded(
    held: Sequence[Held], layout: FleetLayout, fork: Fork, slots: Sequence[tuple[int, ...]]
) -> Fork:
    """Write encoded parts through a fork, each into its slots, and return the fork."""
    ensure_accepted()
    found = [some[at] for some, at in held]
    prepared = [one.prepared for one in found if isinstance(one, EncodedParts)]
    put_blocks(prepared, layout, fork, slots)
    return fork


def merge_forks(forks: Sequence[Fork]) -> Fork:
    """Return one fork that holds what all have written."""
    return Fork.join(forks)
