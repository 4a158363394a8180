"""What a question would touch, for people and as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

__all__ = ["Explanation", "Share"]


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many."""

    touched: int
    total: int

    def __str__(self) -> str:
        return f"{self.touched:,} of {self.total:,}"


_MAPPINGS: Final = ("pruned", "rollups", "cells", "approximation")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a question would touch of a fleet.

    Parameters
    ----------
    question
        ``"read"`` or ``"aggregate"``.
    fleet, snapshot
        What would be asked.
    devices
        Devices selected.
    windows, device_blocks
        Windows and device blocks of which stored blocks are read, of those that hold some.
    landing_blocks, blocks
        Stored blocks that are read: of landing, and in all.
    rows
        Rows in these blocks, before rows of other devices and times are left out.
    bytes
        Encoded bytes that are read of blocks, of those of all blocks and columns.
    columns
        Raw columns that are read.
    pruned
        Blocks that are not read, by what rules them out: ``window``, ``device_block``,
        ``time_bounds`` and ``device_bounds`` (of the block, in the index), ``values`` (the block's
        header tells that no row satisfies the conditions), and ``summaries``, which answer
        instead or tell that no row of a device and period satisfies the conditions.
    headers
        Blocks of which only the header is read, for its statistics.
    summary_periods, summary_chunks, summary_bytes
        Periods that stored summaries and rollups answer, and what is read of them.
    rollups
        How many of these periods each rollup answers, by its name.
    cells
        With conditions on values, how many pairs of device and summary period hold no match
        (``none``), match as a whole (``all``) or are to be looked at (``some``), as summaries tell.
    approximation
        For each variable of an approximate answer, how it would be come by and why.
    """

    question: str
    fleet: str
    snapshot: str
    devices: Share
    windows: Share
    device_blocks: Share
    landing_blocks: Share
    blocks: Share
    rows: Share
    bytes: Share
    columns: tuple[str, ...]
    pruned: Mapping[str, int]
    headers: int = 0
    summary_periods: int = 0
    summary_chunks: int = 0
    summary_bytes: int = 0
    rollups: Mapping[str, int] = field(default_factory=dict)
    cells: Mapping[str, int] = field(default_factory=dict)
    approximation: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        mappings = {name: dict(getattr(self, name)) for name in _MAPPINGS}
        return {**asdict(self), "columns": list(self.columns), **mappings}

    def __str__(self) -> str:
        lines = {
            "devices": str(self.devices),
            "windows": str(self.windows),
            "device blocks": str(self.device_blocks),
            "blocks": f"{self.blocks}; landing {self.landing_blocks}",
            "rows": str(self.rows),
            "bytes": str(self.bytes),
            "columns": ", ".join(self.columns),
            "pruned": self._pruned_text(),
        }
        if self.question == "aggregate":
            lines["summaries"] = (
                f"{self.summary_periods:,} periods in {self.summary_chunks:,} chunks, "
                f"{self.summary_bytes:,} bytes"
            )
            if self.rollups:
                lines["rollups"] = ", ".join(f"{n:,} of {name}" for name, n in self.rollups.items())
            decoded = self.blocks.touched - self.headers
            lines["headers"] = f"{self.headers:,} blocks; {decoded:,} are decoded"
        if self.cells:
            counts = ", ".join(f"{kind} of {count:,}" for kind, count in self.cells.items())
            lines["matching"] = f"{counts} devices and periods"
        told = [
            f"  {name:<13}  {text}" for name, text in (lines | dict(self.approximation)).items()
        ]
        return "\n".join([f"{self.question} of fleet {self.fleet!r} would touch", *told])

    def _pruned_text(self) -> str:
        reasons = [
            f"{count:,} by {name.replace('_', ' ')}" for name, count in self.pruned.items() if count
        ]
        return f"{sum(self.pruned.values()):,} blocks{': ' if reasons else ''}{', '.join(reasons)}"
