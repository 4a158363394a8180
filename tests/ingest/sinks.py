"""An archive for tests of streams: it keeps rows, and fails when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.archive.appending import AppendResult
from pipeline.archive.fleet_meta import Duplicates, FleetMeta
from pipeline.archive.layout import FleetLayout
from pipeline.archive.positions import merge_positions
from pipeline.archive.row_versions import Tags
from pipeline.errors import ArchiveError, SchemaError, StorageError
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects
from pipeline.partitioning.scheme import Partitioning
from pipeline.schema.channels import Channel, Schema
from tests.support import START

__all__ = ["EVOLVING", "SCHEMA", "ListSink", "batch_of"]

SCHEMA = Schema([Channel("v", "int64")])


class OneVersion:
    """A schema that stays as it is."""

    meta = FleetMeta(
        FleetLayout("fleet", Partitioning(window="1 day")), SCHEMA, Duplicates.KEEP_LAST
    )

    def at_version(self, number: int) -> FleetMeta:
        return self.meta.at_version(number)

    def split(
        self, table: pa.Table, tags: Tags, source: str
    ) -> tuple[Sequence[tuple[int, pa.Table]], Rejects]:
        return [(1, table)], Rejects()

    def widen(self, table: pa.Table, source: str) -> None:
        raise SchemaError(f"{table.column_names} of {source}")


EVOLVING = OneVersion()


@dataclass
class ListSink:
    """Keeps the values of channel ``v`` in the order in which they are committed."""

    values: list[int] = field(default_factory=list)
    rejects: list[str] = field(default_factory=list)
    tags: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    commits: int = 0
    mode: Literal["fine", "down", "lost"] = "fine"
    """``lost``: the commit is made, but its answer is lost."""

    def begin(self, holder: str, lost: Callable[[ArchiveError], None]) -> None:
        self.lost = lost

    def end(self) -> None:
        pass

    def follow(self, version: int) -> None:
        self.version = version

    def positions(self) -> Mapping[str, Any]:
        if self.mode == "down":
            raise StorageError("the disk is gone")
        return self.known

    def append(
        self,
        batch: RecordBatch,
        rejects: Sequence[Rejects],
        tags: Mapping[str, Mapping[str, str]],
        positions: Mapping[str, Any],
        check: Callable[[Mapping[str, Any]], None],
    ) -> AppendResult:
        if self.mode == "down":
            raise StorageError("the disk is gone")
        check(self.known)
        self.commits += 1
        self.values += batch.columns["v"].values.tolist()
        self.rejects += [reason for part in rejects for reason in part.reasons]
        self.tags |= tags
        self.known = merge_positions([self.known, positions])
        if self.mode == "lost":
            raise StorageError("the answer is lost")
        return AppendResult(rows=len(batch), quarantined=sum(map(len, rejects)))


def batch_of(values: Sequence[int], device: str = "a") -> pa.RecordBatch:
    """Return rows a second apart in the order of their values."""
    return pa.record_batch(
        {
            "device": pa.array([device] * len(values), pa.string()),
            "time": pa.array(START + 1_000_000 * np.array(values, np.int64)).cast(
                pa.timestamp("us", "UTC")
            ),
            "v": pa.array(values, pa.int64()),
        }
    )
