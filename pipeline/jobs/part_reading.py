"""Reading parts of fragments on the workers, some of them ahead of what is needed next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.jobs.import_tasks import Columns, PartInfo, describe_part, read_part
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


@dataclass(frozen=True, slots=True, eq=False)
class ReadPart:
    """A part that is read.

    Parameters
    ----------
    fragment, position, skip
        Where it begins: a fragment, its position, and pieces that earlier parts have.
    info
        What is known of it.
    """

    fragment: Fragment
    position: str
    skip: int
    info: PartInfo


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
    """

    def __init__(
        self,
        client: Any,
        run: str,
        sizes: ImportSizes,
        columns: Columns,
    ) -> None:
        self._client = client
        self._run = run
        self._sizes = sizes
        self._columns = columns

    def parts(
        self, fragments: Sequence[tuple[Fragment, str]], taken: Mapping[str, int]
    ) -> Iterator[tuple[ReadPart, Any]]:
        """Yield each part with the future of its rows.

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
            yield ReadPart(part.fragment, part.position, part.skip, info), part.rows

    def again(self, part: ReadPart) -> Any:
        """Read a part once more; return the future of its rows."""
        return self._submit(part.fragment, part.skip, part.info.worker)

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
        rows = self._submit(fragment, skip, worker)
        name = f"{self._run}-{fragment.name}-{skip}"
        info = self._client.submit(describe_part, rows, key=f"describe-{name}")
        return _Reading(fragment, position, skip, rows, info)

    def _submit(self, fragment: Fragment, skip: int, worker: str | None) -> Any:
        return self._client.submit(
            read_part,
            self._run,
            fragment,
            skip,
            self._sizes.part_rows,
            self._columns,
            key=f"read-{self._run}-{fragment.name}-{skip}",
            workers=worker,
            allow_other_workers=worker is not None,
        )
