"""The archive, as a stream sees it: where commits go, and what it knows of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pipeline.archive.appending import AppendResult
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.positions import merge_positions, positions_of
from pipeline.archive.preparing import Memories
from pipeline.errors import ArchiveError
from pipeline.ingest.lease_keeping import LeaseKeeper
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects

__all__ = ["STREAMS", "FleetSink", "Sink", "position_of_log"]

STREAMS: Final = "streams"
"""The source under which a fleet's positions tell where the logs of its streams stand."""


def position_of_log(positions: Mapping[str, Any], log: str) -> int:
    """Return the number of the last entry of a log that a fleet has, by its positions; 0 for none."""
    return int(positions.get(STREAMS, {}).get(log, 0))


class Sink(Protocol):
    """Where a stream puts rows."""

    def begin(self, holder: str, lost: Callable[[ArchiveError], None]) -> None:
        """Make ready for the commits of one stream.

        Parameters
        ----------
        holder
            The id of the stream.
        lost
            Called once if the stream must not write any more.

        Raises
        ------
        ConflictError
            If another stream writes here, and must be the only one.
        """
        ...

    def end(self) -> None:
        """Take note that the stream writes no more."""
        ...

    def follow(self, version: int) -> None:
        """Take note of the version of the schema that rows have from now on."""
        ...

    def positions(self) -> Mapping[str, Any]:
        """Return where every source stands, by what is in the archive at this moment."""
        ...

    def append(
        self,
        batch: RecordBatch,
        rejects: Sequence[Rejects],
        tags: Mapping[str, Mapping[str, str]],
        positions: Mapping[str, Any],
        check: Callable[[Mapping[str, Any]], None],
    ) -> AppendResult:
        """Put rows and positions into the archive in one durable commit.

        Parameters
        ----------
        batch, rejects, tags, positions
            What to put.
        check
            Is given the positions that the commit follows on, and raises if it must not be made.
        """
        ...


@dataclass(slots=True, eq=False)
class FleetSink:
    """A fleet of an archive.

    Parameters
    ----------
    store
        The fleet.
    keeper
        Of the lease that it takes to write; None if anybody may.
    version
        Version of the schema that rows have; None for the newest.
    """

    store: FleetStore
    keeper: LeaseKeeper | None = None
    version: int | None = None
    _memories: Memories = field(default_factory=dict, init=False)

    def begin(self, holder: str, lost: Callable[[ArchiveError], None]) -> None:
        """Take the lease."""
        if self.keeper is not None:
            self.keeper.take(holder, lost)

    def end(self) -> None:
        """Give the lease back."""
        if self.keeper is not None:
            self.keeper.release()

    def follow(self, version: int) -> None:
        """Take note of the version of the schema that rows have from now on."""
        self.version = version

    def positions(self) -> Mapping[str, Any]:
        """Return where every source stands, by what is in the archive at this moment."""
        return positions_of(self.store.repository, self.store.name)

    def position(self, log: str) -> int:
        """Return the number of the last entry of a log that is in the archive; 0 if none is."""
        return position_of_log(self.positions(), log)

    def append(
        self,
        batch: RecordBatch,
        rejects: Sequence[Rejects],
        tags: Mapping[str, Mapping[str, str]],
        positions: Mapping[str, Any],
        check: Callable[[Mapping[str, Any]], None],
    ) -> AppendResult:
        """Put rows and positions into the archive in one durable commit, under the lease."""
        keeper = self.keeper
        if keeper is None:
            return self._append(batch, rejects, tags, positions, check)
        lease, until = keeper.lease, keeper.until()

        def check_all(known: Mapping[str, Any]) -> None:
            lease.check(known)
            check(known)

        merged = merge_positions([positions, lease.positions(until)])
        result = self._append(batch, rejects, tags, merged, check_all)
        keeper.renewed(until)
        return result

    def _append(
        self,
        batch: RecordBatch,
        rejects: Sequence[Rejects],
        tags: Mapping[str, Mapping[str, str]],
        positions: Mapping[str, Any],
        check: Callable[[Mapping[str, Any]], None],
    ) -> AppendResult:
        return self.store.append(
            batch,
            rejects,
            tags=tags or None,
            positions=positions,
            version=self.version,
            memories=self._memories,
            check=check,
        )
