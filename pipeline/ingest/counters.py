"""What a stream has done so far, in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["StreamCounters"]


@dataclass(frozen=True, slots=True)
class StreamCounters:
    """Counters of one session, and what it holds at the moment.

    Parameters
    ----------
    writes, rows
        Writes, and rows taken from them.
    quarantined
        Rows that go to quarantine instead.
    ignored
        Values left out because their column is no channel.
    late, restamped
        Rows stored though they are older than their device's watermark, and rows stored under the
        time of their receipt.
    replayed
        Rows found in the log when the session began.
    torn_bytes
        Bytes cut off behind the last whole entry of the log then.
    commits, committed_rows, duplicates
        Commits to the archive, rows in them, and rows dropped as duplicates inside a commit.
    superseded
        Rows left out because they did not begin where the archive stands: another reader of their
        source has stored some of them, and the rest comes again.
    retries
        Commits that failed and were tried again.
    compactions
        Background compactions that found something to do.
    bytes_committed, bytes_compacted
        Encoded bytes written by commits and by compactions.
    held_rows, held_bytes
        In memory and not yet in the archive.
    spilled
        Whether rows wait in the log for room in memory.
    log_bytes
        Of the log's files.
    state
        ``"running"``, ``"retrying"``, ``"stopped"`` or ``"closed"``.
    error
        Why it retries or stopped; empty otherwise.
    """

    writes: int = 0
    rows: int = 0
    quarantined: int = 0
    ignored: int = 0
    late: int = 0
    restamped: int = 0
    replayed: int = 0
    torn_bytes: int = 0
    commits: int = 0
    committed_rows: int = 0
    duplicates: int = 0
    superseded: int = 0
    retries: int = 0
    compactions: int = 0
    bytes_committed: int = 0
    bytes_compacted: int = 0
    held_rows: int = 0
    held_bytes: int = 0
    spilled: bool = False
    log_bytes: int = 0
    state: str = "running"
    error: str = ""

    @property
    def write_amplification(self) -> float:
        """Encoded bytes written for each byte that the commits alone wrote; 1.0 without compaction."""
        if not self.bytes_committed:
            return 1.0
        return (self.bytes_committed + self.bytes_compacted) / self.bytes_committed

    def to_json(self) -> dict[str, Any]:
        """Return them as plain JSON values."""
        return {**asdict(self), "write_amplification": self.write_amplification}
