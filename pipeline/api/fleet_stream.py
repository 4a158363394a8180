"""Live streams into a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.api.fleet_handle import FleetHandle
from pipeline.api.live_stream import LiveStream
from pipeline.ingest.lease_keeping import LeaseOptions
from pipeline.ingest.logged_versions import logged_versions
from pipeline.ingest.options import StreamOptions
from pipeline.ingest.policies import DEFAULT_FUTURE
from pipeline.ingest.sink import FleetSink

__all__ = ["FleetStream"]


class FleetStream(FleetHandle):
    """What takes rows in one small batch after the other."""

    def stream(
        self,
        folder: str | Path | None = None,
        *,
        durability: str = "log",
        flush: Any = None,
        max_bytes: int = 128 << 20,
        when_full: str = "wait",
        disorder: Any = "1 min",
        late: Any = "accept",
        future: Any = DEFAULT_FUTURE,
        patience: Any = "10 min",
        compact: bool = True,
        lease: Any = None,
    ) -> LiveStream:
        """Open a stream: a write is safe within milliseconds, and in the archive within seconds.

        Use it as a context manager, ``with`` or ``async with``. It may be killed at any moment:
        what was acknowledged is in the archive, once, after the next stream with the same folder
        has begun. Any number of threads may write.

        Parameters
        ----------
        folder
            Of the write-ahead log, which belongs to this fleet and to one stream at a time. None
            for no log: a source that can send again what was not committed needs none.
        durability
            What a write waits for: ``"log"`` (the log is synced to the disk), ``"commit"`` (rows
            are in the archive) or ``"none"`` (nothing: a crash loses what is in memory).
        flush
            When rows go to the archive, whichever comes first: a mapping with some of ``rows`` (a
            million), ``bytes`` (32 MB), ``age`` ("2 s", how long the oldest row waits) and
            ``event_time`` (how far the times of rows move on; not looked at).
        max_bytes
            Most bytes of rows held in memory that are not in the archive yet.
        when_full
            What a write does then: ``"wait"``, ``"raise"`` (`pipeline.errors.BufferFullError`) or
            ``"spill"`` (rows stay in the log, and are read back when there is room).
        disorder
            How far the rows of a device may be out of order; what is further behind the device's
            newest row is late. Late rows are stored and counted.
        late
            ``"accept"`` takes all of them, ``{"within": "1 h", "else": "quarantine"}`` those up to
            an hour behind; ``"else": "receive_time"`` stores the others under the time of their
            receipt, which suits devices whose clock begins again at 1970.
        future
            The same for rows ahead of the time of their receipt. By default what is more than a
            day ahead goes to quarantine.
        patience
            How long failed commits are tried again before the stream stops. The log keeps what
            was acknowledged.
        compact
            Whether small commits are merged into full blocks in the background.
        lease
            A name, or a mapping with ``name``, ``length`` ("30 s") and ``wait`` (0): of all
            streams with a lease of this name one can write at a time. Processes that share a
            fleet, each with devices of its own, open a stream each under a name for those
            devices; when one dies another can take its place once the lease has run out, and if
            it was only asleep, its commits are refused when it wakes up.

        Raises
        ------
        InvalidInputError
            If an option makes no sense, this is an old snapshot, or the log is of another fleet
            or archive.
        ConflictError
            If another stream uses the folder or has the lease.
        CorruptBlockError, StorageError
            If the log is damaged elsewhere than at its end, or cannot be read or written.
        """
        self._writable()
        options = StreamOptions.parse(
            logged=folder is not None,
            durability=durability,
            flush=flush,
            max_bytes=max_bytes,
            when_full=when_full,
            disorder=disorder,
            late=late,
            future=future,
            patience=patience,
            compact=compact,
        )
        place, held = None if folder is None else Path(folder), LeaseOptions.parse(lease)
        version = self.schema.version
        pending = logged_versions(place, FleetSink(self._store).position) if place else []
        for older in (one for one in pending if one != version):
            # Rows that were logged before the schema changed are committed as what they are.
            with LiveStream(self._store, options, place, held, older):
                pass
        return LiveStream(self._store, options, place, held, version)
