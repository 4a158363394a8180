"""What a job reports: plain values, written as JSON whatever happened."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.archive.compaction import CompactionResult

__all__ = ["CompactionReport", "ImportReport", "QuestionReport", "write_report"]

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class ImportReport:
    """One import into one fleet.

    Parameters
    ----------
    fleet, source, window
        Names of the fleet and the kind of source, and the fleet's window.
    fragments, skipped
        Fragments stored now, and those that were stored by an earlier run.
    commits, devices, partitions, blocks
        Commits made, devices of the fleet afterwards, distinct partitions and blocks written.
    rows
        Rows stored.
    points
        Values stored: cells with a reading that is not NaN.
    duplicates, quarantined, late, ignored
        As of `pipeline.archive.appending.AppendResult`; ignored are lines that the source
        declares not to be data.
    seconds
        The whole import: reading or generating, the graph, encoding, durable commits.
    raw_bytes
        8 bytes for every row's time and the width of its channel for every point. Missing
        values and device ids count nothing.
    block_bytes
        Encoded columns, device index and time included.
    stored_bytes
        What the archive's folder grew by, with index, summaries, registry and history; None
        for object stores.
    retries
        Commits that were made anew because another writer was faster.
    forked
        Whether the workers wrote their blocks themselves.
    """

    fleet: str
    source: str
    window: str
    fragments: int
    skipped: int
    commits: int
    devices: int
    partitions: int
    blocks: int
    rows: int
    points: int
    duplicates: int
    quarantined: int
    late: int
    ignored: int
    seconds: float
    raw_bytes: int
    block_bytes: int
    stored_bytes: int | None
    retries: int = 0
    forked: bool = False

    @property
    def points_per_s(self) -> float:
        """Points stored per second."""
        return self.points / self.seconds if self.seconds else 0.0

    @property
    def ratio(self) -> float | None:
        """Raw bytes by stored bytes; None if nothing was stored, or that is not known."""
        return self.raw_bytes / self.stored_bytes if self.stored_bytes and self.points else None

    @property
    def bytes_per_point(self) -> float | None:
        """Stored bytes by points; None as for `ratio`."""
        return self.stored_bytes / self.points if self.stored_bytes and self.points else None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        derived = ("points_per_s", "ratio", "bytes_per_point")
        return {
            "step": "import",
            **asdict(self),
            **{name: getattr(self, name) for name in derived},
        }


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """One compaction of one fleet.

    Parameters
    ----------
    fleet
        Its name.
    seconds
        The whole step: planning, reading, encoding, durable commits.
    result
        What was done.
    """

    fleet: str
    seconds: float
    result: CompactionResult

    @property
    def rows_per_s(self) -> float:
        """Rows read and written again per second."""
        return self.result.rows / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "step": "compact",
            "fleet": self.fleet,
            "seconds": self.seconds,
            **asdict(self.result),
            "rows_per_s": self.rows_per_s,
        }


@dataclass(frozen=True, slots=True)
class QuestionReport:
    """One question to a fleet and its latencies.

    Parameters
    ----------
    step
        ``aggregate``, ``latest`` or ``downsample``.
    fleet, title
        What was asked, of whom.
    repeat
        How often.
    first_ms, median_ms
        Latency of the first call, and the median of all.
    sizes
        Shape of the answer, by dimension.
    excerpt
        The first values of the answer: coordinates and variables of some cells.
    units
        Units of the variables that have some.
    output
        Where the answer was written, if it was.
    """

    step: str
    fleet: str
    title: str
    repeat: int
    first_ms: float
    median_ms: float
    sizes: Mapping[str, int]
    excerpt: tuple[Mapping[str, Any], ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    output: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {**asdict(self), "excerpt": list(self.excerpt)}


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report as JSON, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps({"format": FORMAT, **report}, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)
