"""Reading parts of fragments on the workers, some of them ahead of what is needed next.

Parts that name nothing new are encoded as they are read, see `pipeline.jobs.import_tasks`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.archive.appending import AppendPlan
from pipeline.jobs.expected_plans import ExpectedPlans
from pipeline.jobs.import_tasks import Columns, PartInfo, describe_part, read_part
from pipeline.jobs.known_codes import KnownCodes
from pipeline.jobs.memory import ImportSizes
from pipeline.model.ports import Fragment

__all__ = ["PartReader", "ReadPart"]

_MOST_AHEAD: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """A part that is being read."""

    fragment: Fragment
    position: str
    skip: int
    rows: Any
    info: Any
    plan: AppendPlan | None


@dataclass(frozen=True, slots=True, eq=False)
class ReadPart:
    """A part that is read.

    Parameters
    ----------
    fragment, position, skip
        Where it begins: a fragment, its position, and pieces that earlier parts have.
    info
        What is known of it.
    plan
        The one that it was encoded under, if it was.
    """

    fragment: Fragment
    position: str
    skip: int
    info: PartInfo
    plan: AppendPlan | None = None


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
    """

    def __init__(
        self,
        client: Any,
        run: str,
        sizes: ImportSizes,
        columns: Columns,
        expected: ExpectedPlans,
    ) -> None:
        self._client = client
        self._run = run
        self._sizes = sizes
        self._columns = columns
        self._plans = expected
        self._sent: tuple[KnownCodes, Any] | None = None

    def parts(
        self, fragments: Sequence[tuple[Fragment, str]], taken: Mapping[str, int]
    ) -> Iterator[tuple[ReadPart, Any]]:
        """Yield each part with the future of its rows, or of their blocks.

        Parameters
        ----------
        fragments
            With their positions.
        taken
            Pieces to skip, by position.
        """
        queue = deque(fragments)
        ahead: deque[_Reading] = deque()
        while queue or ahead:
            while queue and self._room(ahead, queue[0][0]):
                fragment, position = queue.popleft()
                ahead.append(self._begin(fragment, position, taken.get(position, 0)))
            part = ahead.popleft()
            info: PartInfo = part.info.result()
            if not info.done:
                # Its place is before all others: later rows of a fragment are later writes.
                ahead.appendleft(self._begin(part.fragment, part.position, info.taken, info.worker))
            plan = None if info.outline is None else part.plan
            yield ReadPart(part.fragment, part.position, part.skip, info, plan), part.rows

    def again(self, part: ReadPart) -> Any:
        """Read a part once more; return the future of its rows."""
        return self._submit(part.fragment, part.skip, part.info.worker, "again")

    def _room(self, ahead: Sequence[_Reading], fragment: Fragment) -> bool:
        """Tell whether to start to read a fragment, given the parts that are being read.

        Where fragments tell their rows, small ones are read further ahead, as many as fit.
        """
        if len(ahead) < self._sizes.reading:
            return True
        rows = sum(self._expected(reading.fragment) for reading in ahead)
        fits = rows + self._expected(fragment) <= self._sizes.reading * self._sizes.part_rows
        return fits and len(ahead) < _MOST_AHEAD

    def _expected(self, fragment: Fragment) -> int:
        known = getattr(fragment, "rows", None)
        most = self._sizes.part_rows
        return most if known is None else min(int(known), most)

    def _begin(
        self, fragment: Fragment, position: str, skip: int, worker: str | None = None
    ) -> _Reading:
        plan, known = self._known()
        rows = self._submit(fragment, skip, worker, "read", known)
        name = f"{self._run}-{fragment.name}-{skip}"
        info = self._client.submit(describe_part, rows, key=f"describe-{name}")
        return _Reading(fragment, position, skip, rows, info, plan)

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
        self, fragment: Fragment, skip: int, worker: str | None, kind: str, known: Any = None
    ) -> Any:
        return self._client.submit(
            read_part,
            self._run,
            fragment,
            skip,
            self._sizes.part_rows,
            self._columns,
            known,
            key=f"{kind}-{self._run}-{fragment.name}-{skip}",
            workers=worker,
            allow_other_workers=worker is not None,
        )
