"""Encoding and writing the parts of one commit on the workers.

Rows are encoded when they are read, or as soon as enough of them are, under the plan that the
commit is expected to have: what waits for it are encoded blocks, a twentieth of the rows. Should
it have another plan, what that changes is read and encoded once more. Encoded blocks then go
to the job, which puts them, or are put by the workers, each through one fork.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from typing import Any, Final
from uuid import uuid4

from pipeline.archive.appending import AppendPlan
from pipeline.archive.preparing import Prepared
from pipeline.archive.transactions import Fork
from pipeline.jobs.encode_tasks import merge_forks, prepare_parts, put_encoded, rows_worth_a_task
from pipeline.jobs.expected_plans import ExpectedPlans
from pipeline.jobs.import_parts import Outline, PartInfo, categories_of
from pipeline.jobs.joining import distinct
from pipeline.jobs.part_reading import PartReader, ReadPart, ReadRun
from pipeline.jobs.read_tasks import describe
from pipeline.partitioning.scheme import Partitioning

__all__ = ["PartEncoding"]

_MERGED_AT_ONCE: Final = 8
_SOON: Final = 1  # before parts that are read ahead: what is encoded frees memory
_NOW: Final = 2  # what a commit waits for

Slots = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Parts that are encoded together, the plan for it, and the future of what comes of it.

    That is of something on a worker, and the position there. The outline is that of the blocks, once
    it is known.
    """

    parts: tuple[ReadPart, ...]
    plan: AppendPlan
    held: tuple[Any, int]
    outline: Outline | None = None

    def suits(self, plan: AppendPlan) -> bool:
        """Tell whether it would be encoded the same under another plan."""
        mine = self.plan
        if mine is plan:
            return True
        if replace(mine.meta, categories={}) != replace(plan.meta, categories={}):
            return False
        infos = self.infos
        devices, texts = distinct([info.devices for info in infos]), categories_of(infos)
        before, after = mine.category_codes(texts), plan.category_codes(texts)
        return bool((mine.device_codes(devices) == plan.device_codes(devices)).all()) and all(
            (codes == after[name]).all() for name, codes in before.items()
        )

    @property
    def infos(self) -> list[PartInfo]:
        """What is known of its parts."""
        return [part.info for part in self.parts]


class PartEncoding:
    """The tasks of one commit.

    Parameters
    ----------
    client
        Of the cluster.
    run
        Name of the import.
    reader
        Who reads parts, and reads them again if they have to be.
    expected
        Plans until the commit has its own.
    scheme
        The fleet's partitioning.
    part_rows
        Rows of the largest part.

    Attributes
    ----------
    parts
        Those added, in order.
    rows
        Of all of them.
    prepared
        What was encoded last, without payloads if it stays on the workers.
    """

    def __init__(
        self,
        client: Any,
        run: str,
        reader: PartReader,
        expected: ExpectedPlans,
        scheme: Partitioning,
        part_rows: int,
    ) -> None:
        self.parts: list[ReadPart] = []
        self.rows = 0
        self.prepared: Sequence[Prepared] = []
        self._client = client
        self._name = run
        self._reader = reader
        self._expected = expected
        self._scheme = scheme
        self._part_rows = part_rows
        self._gathered: list[ReadRun] = []
        self._gathered_rows = 0
        self._devices = 0
        self._runs: list[_Run] = []
        self._workers: list[str] = []

    def add(self, run: ReadRun) -> None:
        """Add what was read; encode rows if they are enough."""
        self.parts += run.parts
        rows = sum(part.info.rows for part in run.parts)
        self.rows += rows
        if run.encoded and run.plan is not None:
            self.close()  # rows that came before
            self._expected.add([part.info for part in run.parts])
            self._runs.append(_Run(run.parts, run.plan, run.held, run.outline))
            return
        self._gathered.append(run)
        self._gathered_rows += rows
        self._devices = max(self._devices, *(len(part.info.devices) for part in run.parts))
        if self._gathered_rows >= rows_worth_a_task(self._devices, self._scheme, self._part_rows):
            self.close()

    def close(self) -> None:
        """Encode what was added and does not come to enough."""
        if self._gathered:
            parts = tuple(part for run in self._gathered for part in run.parts)
            plan = self._expected.add([part.info for part in parts])
            held = self._encode(parts, [run.held for run in self._gathered], plan)
            self._runs.append(_Run(parts, plan, held))
            self._gathered, self._gathered_rows = [], 0

    def gather(self, plan: AppendPlan) -> Sequence[Prepared]:
        """Bring the blocks here, encoded under a plan."""
        self._settle(plan)
        futures = {future.key: future for future, _ in (run.held for run in self._runs)}
        found = dict(zip(futures, self._client.gather(list(futures.values())), strict=True))
        self.prepared = [found[future.key][at].prepared for future, at in self._held()]
        return self.prepared

    def prepare(self, plan: AppendPlan) -> Sequence[Prepared]:
        """Have blocks encoded under a plan; the payloads stay on the workers."""
        self._settle(plan)
        untold = [at for at, run in enumerate(self._runs) if run.outline is None]
        asked = [self._task(describe, self._runs[at].held[0]) for at in untold]
        for at, told in zip(untold, self._client.gather(asked), strict=True):
            self._runs[at] = replace(self._runs[at], outline=told[0])
        outlines = [run.outline for run in self._runs if run.outline is not None]
        self._workers = [one.worker for one in outlines]
        self.prepared = [one.prepared for one in outlines if one.prepared is not None]
        return self.prepared

    def put(self, slots: Sequence[Slots], fork: Callable[[], Fork]) -> Sequence[Fork]:
        """Write encoded batches into slots where they are; return the forks, merged into few."""
        places: dict[str, list[int]] = {}
        for at, worker in enumerate(self._workers):
            places.setdefault(worker, []).append(at)
        held = self._held()
        level = [
            self._task(
                put_encoded,
                [held[at] for at in here],
                self._runs[here[0]].plan.meta.layout,
                fork(),
                [slots[at] for at in here],
                worker=worker,
            )
            for worker, here in places.items()
        ]
        while len(level) > _MERGED_AT_ONCE:
            level = [
                self._task(merge_forks, list(some)) for some in batched(level, _MERGED_AT_ONCE)
            ]
        forks: Sequence[Fork] = self._client.gather(level)
        return forks

    def _held(self) -> list[tuple[Any, int]]:
        return [run.held for run in self._runs]

    def _settle(self, plan: AppendPlan) -> None:
        """Encode those once more that another plan than the expected one changes."""
        for at, run in enumerate(self._runs):
            if not run.suits(plan):
                held = [self._reader.again(part) for part in run.parts]
                self._runs[at] = _Run(run.parts, plan, self._encode(run.parts, held, plan))

    def _encode(
        self, parts: Sequence[ReadPart], held: Sequence[tuple[Any, int]], plan: AppendPlan
    ) -> tuple[Any, int]:
        infos = [part.info for part in parts]
        encoded = self._task(
            prepare_parts,
            self._name,
            list(held),
            plan.meta,
            plan.device_codes(distinct([info.devices for info in infos])),
            plan.category_codes(categories_of(infos)),
            name=f"{infos[0].fragment}-{infos[0].taken}",
            priority=_SOON,
        )
        return encoded, 0

    def _task(
        self,
        function: Any,
        *arguments: Any,
        name: str = "",
        priority: int = _NOW,
        worker: str | None = None,
    ) -> Any:
        key = f"{function.__name__.replace('_', '-')}-{self._name}-{name}-{uuid4().hex}"
        return self._client.submit(
            function,
            *arguments,
            key=key,
            priority=priority,
            workers=worker,
            allow_other_workers=worker is not None,
        )
