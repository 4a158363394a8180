"""What a re-partitioning did."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RepartitionResult"]


@dataclass(frozen=True, slots=True)
class RepartitionResult:
    """What a re-partitioning did.

    Parameters
    ----------
    snapshot
        Id of the snapshot in which the fleet has its new partitioning; empty if it had it before.
    rows
        Rows copied, some of them more than once if others changed them meanwhile.
    commits
        Commits made, the last one included.
    rounds
        How often it was looked whether something had been added or changed meanwhile.
    blocks_before, blocks_after
        Blocks of the fleet.
    bytes_before, bytes_after
        Encoded bytes of these blocks.
    """

    snapshot: str = ""
    rows: int = 0
    commits: int = 0
    rounds: int = 0
    blocks_before: int = 0
    blocks_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
