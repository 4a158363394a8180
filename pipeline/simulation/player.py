"""Readings of a source played as if they came from a broker now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.model.arrow_arrays import flat, raw_values
from pipeline.model.live_sources import LiveBatch, LiveHost
from pipeline.model.ports import Source

__all__ = ["Player"]

_SHORTEST: Final = 0.001


@dataclass(slots=True, eq=False)
class Player:
    """Plays the rows of a source in their order, each when its time has come.

    Parameters
    ----------
    name
        Under which positions and counters are known.
    recording
        What to play. Pieces of it that are in the order of time are played at an even pace.
    speed
        Seconds of the recording that pass in one; None for as fast as rows are taken.
    restamp
        Whether rows get the times at which they are played, so that they seem to be sent now. If
        not, the player goes on where the archive says when it is started again.
    rows_per_batch
        Most rows handed over at once.
    repeat
        Whether to begin again at the end, with restamped rows.
    """

    name: str
    recording: Source
    speed: float | None = 1.0
    restamp: bool = True
    rows_per_batch: int = 10_000
    repeat: bool = False
    _pieces: Iterator[pa.Table] = field(init=False, repr=False)
    _piece: pa.Table | None = field(default=None, init=False, repr=False)
    _times: NDArray[np.int64] = field(init=False, repr=False)
    _at: int = field(default=0, init=False)
    _played: int = field(default=0, init=False)
    _began: float = field(default=0.0, init=False)
    _offset: int = field(default=0, init=False)
    _first: int | None = field(default=None, init=False)
    _paused: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)
    _acknowledged: int = field(default=0, init=False)

    @property
    def replays(self) -> bool:
        """Whether it can be read again from positions: if times are as recorded."""
        return not self.restamp

    @property
    def is_over(self) -> bool:
        """Whether the last row was handed over."""
        return self._over

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables."""
        return self.recording.arrow_schema()

    def start(self, host: LiveHost) -> None:
        """Begin, at the row behind those that the archive has."""
        self._begin()
        reached = int(host.positions().get("rows", 0)) if self.replays else 0
        while self._played < reached and self._load():
            skipped = min(reached - self._played, len(self._times) - self._at)
            self._at += skipped
            self._played += skipped
        self._first = None

    def _begin(self) -> None:
        self._pieces = self._tables()
        self._piece, self._at, self._played = None, 0, 0
        self._first, self._over = None, False

    def poll(self, timeout: float) -> LiveBatch | None:
        """Return the rows whose time has come, or None if there are none within `timeout`."""
        deadline = time.monotonic() + timeout
        while True:
            count, wait = (0, timeout) if self._paused else self._due()
            if count:
                return self._batch(count)
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(left, max(_SHORTEST, wait)))

    def acknowledge(self, token: Any) -> None:
        """Take note that the rows up to a number are safe."""
        self._acknowledged = token

    def pause(self) -> None:
        """Hand over nothing for a while."""
        self._paused = True

    def resume(self) -> None:
        """Go on."""
        self._paused = False

    def counters(self) -> Mapping[str, int | float | str]:
        """Return how many rows were handed over, and how many of them are safe."""
        return {"played": self._played, "safe": self._acknowledged}

    def stop(self) -> None:
        """End; nothing is held."""

    def _tables(self) -> Iterator[pa.Table]:
        for fragment in self.recording.fragments():
            for intake in fragment.read():
                if intake.table.num_rows:
                    yield intake.table.combine_chunks()

    def _load(self) -> bool:
        """Have a piece with rows left; tell whether there is one."""
        if self._piece is not None and self._at < len(self._times):
            return True
        self._piece = next(self._pieces, None)
        if self._piece is None:
            return False
        column = self._piece.column("time").cast(pa.timestamp("us", "UTC"))
        self._times = raw_values(flat(column))
        self._at = 0
        return True

    def _due(self) -> tuple[int, float]:
        """Return how many rows are due, and how many seconds it is until the next one is."""
        if not self._load():
            if self.repeat and self._played:
                self._begin()
                return 0, 0.0
            self._over = True
            return 0, 1.0
        left = len(self._times) - self._at
        if self.speed is None:
            self._offset = (
                time.time_ns() // 1000 - int(self._times[self._at]) if self.restamp else 0
            )
            return min(left, self.rows_per_batch), 0.0
        if self._first is None:
            self._first, self._began = int(self._times[self._at]), time.monotonic()
            self._offset = time.time_ns() // 1000 - self._first
        reached = self._first + int((time.monotonic() - self._began) * self.speed * 1e6)
        ahead = self._times[self._at :] > reached
        count = int(ahead.argmax()) if ahead.any() else left
        if count:
            return min(count, self.rows_per_batch), 0.0
        return 0, (int(self._times[self._at]) - reached) / (1e6 * self.speed)

    def _batch(self, count: int) -> LiveBatch:
        assert self._piece is not None  # noqa: S101 (`_due` has loaded it)
        table = self._piece.slice(self._at, count)
        before = self._played
        self._at += count
        self._played += count
        if self.restamp:
            table = self._restamped(table)
        return LiveBatch(
            table,
            messages=count,
            bytes=table.nbytes,
            positions={} if self.restamp else {"rows": self._played},
            expects={} if self.restamp else {"rows": before},
            token=self._played,
        )

    def _restamped(self, table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("time")
        kind = pa.timestamp("us", "UTC")
        moments = table.column("time").cast(kind).cast(pa.int64())
        if self.speed not in (None, 1.0) and self._first is not None:
            first, speed = self._first, float(self.speed or 1.0)
            since = pc.divide(pc.cast(pc.subtract(moments, first), pa.float64()), speed)
            moments = pc.add(pc.cast(pc.floor(since), pa.int64()), first)
        return table.set_column(at, "time", pc.add(moments, self._offset).cast(kind))
