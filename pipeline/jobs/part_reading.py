"""Reading parts of fragments on the workers, some of them ahead of what is needed next.

Small fragments are read together, as many as leave every thread some tasks: a task takes the scheduler
longer than a file of a thousand rows takes a worker. Parts that name nothing new are encoded as they
are read, see `pipeline.jobs.read_tasks`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.archive.appending import AppendPlan
from pipeline.errors import ArchiveError
from pipeline.jobs.expected_plans import ExpectedPlans
from pipeline.jobs.import_parts import Outline, PartInfo, Stretch
from pipeline.jobs.known_codes import KnownCodes
from pipeline.jobs.memory import ImportSizes
from pipeline.jobs.read_tasks import Columns, describe, read_parts
from pipeline.model.ports import Fragment

__all__ = ["PartReader", "ReadPart", "ReadRun"]

_MOST_AHEAD: Final = 64
_MOST_TOGETHER: Final = 256
_TASKS: Final = 2  # at the least, for each part that is read at the same time
_BYTES_A_ROW: Final = 8  # of a text file, at the least; too many rows are left for another task


@dataclass(frozen=True, slots=True)
class _Start:
    """Where to begin to read: a fragment, its position, and pieces that earlier parts have."""

    fragment: Fragment
    position: str
    skip: int


@dataclass(frozen=True, slots=True, eq=False)
class ReadPart:
    """A part that is read.

    Parameters
    ----------
    fragment, position, skip
        Where it begins: a fragment, its position, and pieces that earlier parts have.
    info
        What is known of it.
    worker
        Address of the worker that read it.
    """

    fragment: Fragment
    position: str
    skip: int
    info: PartInfo
    worker: str


@dataclass(frozen=True, slots=True, eq=False)
class ReadRun:
    """Parts that came from one task: one with its rows, or some that were encoded together.

    Parameters
    ----------
    parts
        The parts.
    held
        Future of what the task left on the worker, and the position there.
    plan
        The one that they were encoded under.
    outline
        What is known of them.
    """

    parts: tuple[ReadPart, ...]
    held: tuple[Any, int]
    plan: AppendPlan | None
    outline: Outline

    @property
    def encoded(self) -> bool:
        """Whether they are encoded."""
        return self.outline.prepared is not None


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """Fragments that are being read, and the futures of what comes of them and is told of that."""

    starts: tuple[_Start, ...]
    held: Any
    told: Any
    plan: AppendPlan | None

    def runs(self, told: Sequence[Outline]) -> Iterator[ReadRun]:
        """Yield what was read."""
        starts = iter(self.starts)
        for at, outline in enumerate(told):
            parts = tuple(
                ReadPart(start.fragment, start.position, start.skip, info, outline.worker)
                for info, start in zip(outline.infos, starts, strict=False)
            )
            yield ReadRun(parts, (self.held, at), self.plan, outline)

    def rest(self, told: Sequence[Outline]) -> tuple[_Start, ...]:
        """Return what was not read."""
        infos = [info for outline in told for info in outline.infos]
        last, rest = self.starts[len(infos) - 1], self.starts[len(infos) :]
        if infos[-1].done:
            return rest
        return (_Start(last.fragment, last.position, infos[-1].taken), *rest)


class PartReader:
    """Reads fragments part by part, in order.

    Parameters
    ----------
    client
        Of the cluster.
    run
        Name of the import.
    sizes
        How the work is cut.
    columns
        What becomes of the fragments' columns.
    expected
        Plans to encode parts under.
    together
        Most fragments that a task reads.
    """

    def __init__(
        self,
        client: Any,
        run: str,
        sizes: ImportSizes,
        columns: Columns,
        expected: ExpectedPlans,
        together: int | None = None,
    ) -> None:
        self._client = client
        self._run = run
        self._sizes = sizes
        self._columns = columns
        self._plans = expected
        self._together = _MOST_TOGETHER if together is None else together
        self._sent: tuple[KnownCodes, Any] | None = None

    def runs(
        self, fragments: Sequence[tuple[Fragment, str]], taken: Mapping[str, int]
    ) -> Iterator[ReadRun]:
        """Yield parts as they are read.

        Parameters
        ----------
        fragments
            With their positions.
        taken
            Pieces to skip, by position.

        Raises
        ------
        ArchiveError
            If a fragment cannot be read; those before it were yielded.
        """
        queue = deque(self._bundles(fragments, taken))
        ahead: deque[_Reading] = deque()
        while queue or ahead:
            while queue and self._room(ahead, queue[0]):
                ahead.append(self._begin(queue.popleft()))
            reading = ahead.popleft()
            try:
                told: list[Outline] = reading.told.result()
            except ArchiveError:
                if len(reading.starts) == 1:
                    raise
                # Those before the one at fault are not to be lost with it.
                ahead.extendleft(self._begin((start,)) for start in reversed(reading.starts))
                continue
            rest = reading.rest(told)
            if rest:
                # Its place is before all others: later rows of a fragment are later writes.
                ahead.appendleft(self._begin(rest, told[-1].worker))
            yield from reading.runs(told)

    def again(self, part: ReadPart) -> tuple[Any, int]:
        """Read a part once more; return the future of its rows, and the position there."""
        pieces = part.info.taken - part.skip
        stretch = Stretch(part.fragment, part.skip, pieces)
        key = f"again-{self._run}-{part.fragment.name}-{part.skip}"
        return self._submit([stretch], part.worker, key), 0

    def _bundles(
        self, fragments: Sequence[tuple[Fragment, str]], taken: Mapping[str, int]
    ) -> Iterator[tuple[_Start, ...]]:
        """Yield fragments that are read together; such as may be large are read alone."""
        rows = [self._expected(fragment) for fragment, _ in fragments]
        most = min(sum(rows) // (_TASKS * self._sizes.reading), self._sizes.part_rows)
        bundle: list[_Start] = []
        held = 0
        for (fragment, position), count in zip(fragments, rows, strict=True):
            if bundle and (held + count > most or len(bundle) == self._together):
                yield tuple(bundle)
                bundle, held = [], 0
            bundle.append(_Start(fragment, position, taken.get(position, 0)))
            held += count
        if bundle:
            yield tuple(bundle)

    def _room(self, ahead: Sequence[_Reading], bundle: Sequence[_Start]) -> bool:
        """Tell whether to start to read fragments, given those that are being read.

        Where fragments tell their rows, small ones are read further ahead, as many as fit.
        """
        if len(ahead) < self._sizes.reading:
            return True
        read = [start for reading in ahead for start in reading.starts]
        rows = sum(self._expected(start.fragment) for start in [*read, *bundle])
        fits = rows <= self._sizes.reading * self._sizes.part_rows
        return fits and len(ahead) < _MOST_AHEAD

    def _expected(self, fragment: Fragment) -> int:
        """Return how many rows a fragment will have, no more than a part may have."""
        most = self._sizes.part_rows
        rows, size = getattr(fragment, "rows", None), getattr(fragment, "size", None)
        if rows is None:
            rows = most if size is None else size // _BYTES_A_ROW
        return min(int(rows), most)

    def _begin(self, starts: tuple[_Start, ...], worker: str | None = None) -> _Reading:
        plan, known = self._known()
        stretches = [Stretch(start.fragment, start.skip) for start in starts]
        name = f"{self._run}-{starts[0].fragment.name}-{starts[0].skip}-{len(starts)}"
        held = self._submit(stretches, worker, f"read-{name}", known)
        told = self._client.submit(describe, held, key=f"describe-{name}")
        return _Reading(starts, held, told, plan)

    def _known(self) -> tuple[AppendPlan | None, Any]:
        """Return a plan for the next part, and the future of its codes, which are sent once."""
        found = self._plans.known()
        if found is None:
            return None, None
        plan, known = found
        if self._sent is None or self._sent[0] is not known:
            self._sent = known, self._client.submit(KnownCodes.itself, known, pure=False)
        return plan, self._sent[1]

    def _submit(
        self, stretches: Sequence[Stretch], worker: str | None, key: str, known: Any = None
    ) -> Any:
        return self._client.submit(
            read_parts,
            self._run,
            stretches,
            self._sizes.part_rows,
            self._columns,
            known,
            key=key,
            workers=worker,
            allow_other_workers=worker is not None,
        )
