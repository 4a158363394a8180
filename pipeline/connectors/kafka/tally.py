"""What a Kafka source has done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Tally"]


@dataclass(slots=True, eq=False)
class Tally:
    """Counts since the start; written by the thread that polls, read by any.

    Parameters
    ----------
    messages, bytes
        Taken from the topics, tombstones included; bytes of their payloads.
    rows, merged, ignored, rejected
        What became of the records in them, as of `pipeline.connectors.payloads.Decoded`.
    tombstones
        Messages without a payload, by which compacted topics forget a key.
    dropped
        Messages that were fetched, but whose partition went to another reader before they were
        handed over; the other reads them.
    rebalances, lost
        Times that partitions came or went, and that they went without notice.
    unsettled
        Times that partitions went before all rows of theirs were in the archive.
    repositioned
        Times that reading of a partition went on from where the archive stands, because a batch
        was left out.
    out_of_range, deleted_unread
        Times that the messages at a position were gone, and how many had been there.
    odd_timestamps
        Messages without a record timestamp, or with an impossible one; they count as received
        when they were read.
    connection_losses, errors
        Times that no broker could be reached any more, and all errors of the broker or of
        connections.
    offset_commits, offset_commit_failures
        Commits of offsets to the broker.
    connected
        1 if a broker answers.
    partitions, waiting
        How many are read, and for how many it is not known yet where to begin.
    paused
        1 if the broker is to send no more.
    last_error
        In words.
    lags
        Messages at the broker that are not handed over yet, by topic and partition.
    """

    messages: int = 0
    bytes: int = 0
    rows: int = 0
    merged: int = 0
    ignored: int = 0
    rejected: int = 0
    tombstones: int = 0
    dropped: int = 0
    rebalances: int = 0
    lost: int = 0
    unsettled: int = 0
    repositioned: int = 0
    out_of_range: int = 0
    deleted_unread: int = 0
    odd_timestamps: int = 0
    connection_losses: int = 0
    errors: int = 0
    offset_commits: int = 0
    offset_commit_failures: int = 0
    connected: int = 0
    partitions: int = 0
    waiting: int = 0
    paused: int = 0
    last_error: str = ""
    lags: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def failed(self, error: Any) -> None:
        """Count an error."""
        self.errors += 1
        self.last_error = str(error)

    def told(self) -> dict[str, int | float | str]:
        """Return everything by name; ``lag`` is the sum of all ``lag/<topic>/<partition>``."""
        lags = self.lags
        counts = asdict(self)
        del counts["lags"]
        counts["lag"] = sum(lags.values())
        return counts | {f"lag/{topic}/{number}": lag for (topic, number), lag in lags.items()}
