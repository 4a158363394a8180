"""Counting what a stream does."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pipeline.archive.appending import AppendResult
from pipeline.ingest.counters import StreamCounters

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally:
    """The counters of `StreamCounters` that only grow, under their names there."""

    writes: int = 0
    rows: int = 0
    quarantined: int = 0
    late: int = 0
    restamped: int = 0
    replayed: int = 0
    torn_bytes: int = 0
    commits: int = 0
    committed_rows: int = 0
    duplicates: int = 0
    retries: int = 0
    compactions: int = 0
    bytes_committed: int = 0
    bytes_compacted: int = 0

    def wrote(self, rows: int, quarantined: int, late: int, restamped: int) -> None:
        """Count a write."""
        self.writes += 1
        self.rows += rows
        self.quarantined += quarantined
        self.late += late
        self.restamped += restamped

    def committed(self, result: AppendResult) -> None:
        """Count a commit."""
        self.commits += 1
        self.committed_rows += result.rows
        self.duplicates += result.duplicates
        self.bytes_committed += result.bytes

    def counters(self) -> StreamCounters:
        """Return the counters as they are."""
        return StreamCounters(**asdict(self))
