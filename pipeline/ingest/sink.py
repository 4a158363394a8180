"""The archive, as a stream sees it: where commits go, and what it knows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pipeline.archive.appending import AppendResult
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.positions import positions_of
from pipeline.archive.preparing import Memories
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects

__all__ = ["STREAMS", "FleetSink", "Sink"]

STREAMS: Final = "streams"
"""The source under which a fleet's positions tell where the logs of its streams stand."""


class Sink(Protocol):
    """Where a stream puts rows."""

    def position(self, log: str) -> int:
        """Return the number of the last entry of a log that is in the archive; 0 if none is."""
        ...

    def append(
        self,
        batch: RecordBatch,
        rejects: Sequence[Rejects],
        tags: Mapping[str, Mapping[str, str]],
        positions: Mapping[str, Any],
    ) -> AppendResult:
        """Put rows and positions into the archive in one durable commit."""
        ...


@dataclass(slots=True, eq=False)
class FleetSink:
    """A fleet of an archive.

    Parameters
    ----------
    store
        The fleet.
    version
        Version of the schema that rows have; None for the newest.
    """

    store: FleetStore
    version: int | None = None
    _memories: Memories = field(default_factory=dict, init=False)

    def position(self, log: str) -> int:
        """Return the number of the last entry of a log that is in the archive; 0 if none is."""
        known = positions_of(self.store.repository, self.store.name)
        return int(known.get(STREAMS, {}).get(log, 0))

    def append(
        self,
        batch: RecordBatch,
        rejects: Sequence[Rejects],
        tags: Mapping[str, Mapping[str, str]],
        positions: Mapping[str, Any],
    ) -> AppendResult:
        """Put rows and positions into the archive in one durable commit."""
        return self.store.append(
            batch,
            rejects,
            tags=tags or None,
            positions=positions,
            version=self.version,
            memories=self._memories,
        )
