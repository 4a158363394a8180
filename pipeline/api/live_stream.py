"""A stream as users meet it: a session that answers questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import xarray as xr

from pipeline.analytics.latest import latest
from pipeline.analytics.query import Asked
from pipeline.api.async_stream import AsyncStream
from pipeline.api.fleet_questions import FleetQuestions
from pipeline.archive.compacting import CompactionPolicy
from pipeline.archive.compaction import compact
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.positions import read_positions
from pipeline.archive.requests import Devices, TimeRange, Where, channel_names
from pipeline.ingest.evolving import FleetEvolving
from pipeline.ingest.lease_keeping import LeaseKeeper, LeaseOptions
from pipeline.ingest.live_rows import live_rows
from pipeline.ingest.options import StreamOptions
from pipeline.ingest.session import StreamSession
from pipeline.ingest.sink import FleetSink, position_of_log

__all__ = ["LiveStream"]


class LiveStream(StreamSession):
    """A stream into a fleet. Get one from `pipeline.Fleet.stream`.

    Parameters
    ----------
    store
        The fleet.
    options, folder
        As for `StreamSession`.
    lease
        Under which it writes; None for none.
    version
        Version of the schema that rows have; the newest of now for None.
    """

    def __init__(
        self,
        store: FleetStore,
        options: StreamOptions,
        folder: Path | None = None,
        lease: LeaseOptions | None = None,
        version: int | None = None,
    ) -> None:
        self._store = store
        self._async: AsyncStream | None = None
        view = store.view().at_version(version)
        known = latest(view, None, [])
        keeper = None if lease is None else LeaseKeeper(store.repository, store.name, lease)
        super().__init__(
            FleetSink(store, keeper, view.meta.schema.version),
            store.name,
            FleetEvolving(store, view.meta),
            options,
            folder,
            (known["device"].values.tolist(), known["time"].values.astype(np.int64)),
            self._merge_small,
        )

    @property
    def schema_version(self) -> int:
        """The version of the fleet's schema that rows are written in."""
        return self._reception.intake.schema.version

    def read(
        self,
        devices: Devices = None,
        time: TimeRange = None,
        channels: str | Sequence[str] | None = None,
    ) -> pa.RecordBatchReader:
        """Return rows of the archive and rows that are not there yet, as `pipeline.Fleet.read` does.

        For questions that have no method here, `flush` first and ask the fleet.

        Raises
        ------
        NotFoundError
            If neither the archive nor a row that is not there yet knows a device.
        """
        held, committed = self.held()
        view = self._store.view().at_version(self.schema_version)
        if (held and self.held()[1] != committed) or committed is None:
            # A commit went on meanwhile: the snapshot itself tells what it has.
            known = read_positions(view.store, self._store.name)[0]
            reached = position_of_log(known, self.id)
            held = [entry for entry in held if entry.sequence > reached]
        return live_rows(view, held, devices, time, channel_names(view.meta, channels))

    def latest(
        self,
        devices: Devices = None,
        channels: str | Sequence[str] | None = None,
        *,
        where: Where = None,
    ) -> xr.Dataset:
        """Commit what is held, then answer as `pipeline.Fleet.latest` does."""
        self.flush()
        return FleetQuestions(self._store, None, self.schema_version).latest(
            devices, channels, where=where
        )

    def aggregate(self, statistics: Mapping[str, Asked], **options: Any) -> xr.Dataset:
        """Commit what is held, then answer as `pipeline.Fleet.aggregate` does."""
        self.flush()
        return FleetQuestions(self._store, None, self.schema_version).aggregate(
            statistics, **options
        )

    async def __aenter__(self) -> AsyncStream:
        self._async = AsyncStream(self)
        return self._async

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._async is not None:
            await self._async.leave(kind, error, trace)

    def _merge_small(self) -> int:
        done = compact(self._store, CompactionPolicy(), datetime.now(UTC))
        return done.bytes_written
