"""Encoding and writing the parts of one commit on the workers.

Rows stay where they were read until they are encoded. Encoded blocks go to the job, which puts
them, or stay on the workers until the commit is durable, and are put by these through forks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import batched
from typing import Any, Final
from uuid import uuid4

from pipeline.archive.appending import AppendPlan
from pipeline.archive.layout import BLOCK_ROWS, FleetLayout
from pipeline.archive.preparing import Prepared
from pipeline.archive.transactions import Fork
from pipeline.jobs.import_tasks import (
    PartInfo,
    merge_forks,
    outline,
    prepare_parts,
    put_prepared,
)
from pipeline.jobs.joining import distinct, group_small
from pipeline.partitioning.scheme import Partitioning

__all__ = ["PartEncoding", "categories_of", "rows_worth_a_task"]

_FULL_BLOCKS: Final = 2  # of a partition, so that cutting it evenly leaves blocks well filled
_MERGED_AT_ONCE: Final = 8
_URGENT: Final = 1  # before parts that are read ahead: what is encoded frees memory

Slots = tuple[int, ...]


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


def categories_of(infos: Sequence[PartInfo]) -> dict[str, tuple[str, ...]]:
    """Return the texts of each category channel, in the order of the joined rows."""
    return {
        name: distinct([info.categories[name] for info in infos]) for name in infos[0].categories
    }


class PartEncoding:
    """The tasks of one commit.

    Parameters
    ----------
    client
        Of the cluster.
    run
        Name of the import.
    rows, infos
        Futures of the parts, and what is known of them.
    layout
        Of the fleet.
    part_rows
        Rows of the largest part.

    Attributes
    ----------
    prepared
        What was encoded last, without payloads if it stays on the workers.
    """

    def __init__(
        self,
        client: Any,
        run: str,
        rows: Sequence[Any],
        infos: Sequence[PartInfo],
        layout: FleetLayout,
        part_rows: int,
    ) -> None:
        self.prepared: Sequence[Prepared] = []
        self._client = client
        self._run = run
        self._rows = rows
        self._infos = infos
        self._layout = layout
        devices = max((len(info.devices) for info in infos), default=0)
        self._enough = rows_worth_a_task(devices, layout.scheme, part_rows)
        self._encoded: list[Any] = []
        self._forks: dict[int, Any] = {}

    def gather(self, plan: AppendPlan) -> Sequence[Prepared]:
        """Encode under a plan, and bring the blocks here."""
        self.prepared = self._client.gather(self._submit(plan))
        return self.prepared

    def prepare(self, plan: AppendPlan) -> Sequence[Prepared]:
        """Encode under a plan; the payloads stay on the workers."""
        self._forks.clear()
        self._encoded = self._submit(plan)
        outlines = [self._task(outline, future) for future in self._encoded]
        self.prepared = self._client.gather(outlines)
        return self.prepared

    def put(self, work: Mapping[int, tuple[Fork, Slots]]) -> None:
        """Start to write encoded batches, by their position, where their blocks are."""
        for at, (fork, slots) in work.items():
            future = self._encoded[at]
            self._forks[at] = self._task(put_prepared, future, self._layout, fork, slots)

    def merged(self) -> Sequence[Fork]:
        """Wait for what was put last, merged in a tree of tasks into one fork."""
        level = list(self._forks.values())
        while len(level) > 1:
            level = [
                self._task(merge_forks, list(some)) for some in batched(level, _MERGED_AT_ONCE)
            ]
        forks: Sequence[Fork] = self._client.gather(level)
        return forks

    def _submit(self, plan: AppendPlan) -> list[Any]:
        runs = group_small([info.rows for info in self._infos], self._enough)
        return [self._submit_run(plan, run) for run in runs]

    def _submit_run(self, plan: AppendPlan, run: range) -> Any:
        infos = [self._infos[at] for at in run]
        return self._task(
            prepare_parts,
            self._run,
            [self._rows[at] for at in run],
            plan.meta,
            plan.device_codes(distinct([info.devices for info in infos])),
            plan.category_codes(categories_of(infos)),
            name=f"{infos[0].fragment}-{infos[0].taken}",
        )

    def _task(self, function: Any, *arguments: Any, name: str = "") -> Any:
        key = f"{function.__name__.replace('_', '-')}-{self._run}-{name}-{uuid4().hex}"
        return self._client.submit(function, *arguments, key=key, priority=_URGENT)
