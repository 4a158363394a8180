"""A stream session: writers on one side, the archive on the other.

A write is checked, numbered, put into the log and held in memory, all in the caller's thread. One
thread of the session commits what is held (`pipeline.ingest.committing`). What to do when is decided
by `pipeline.ingest.core.StreamCore`; here are the locks, the clock and the files.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import ArchiveError, BufferFullError, StorageError
from pipeline.ingest.committing import ENTRY_OVERHEAD, Committer
from pipeline.ingest.core import Admission, StreamCore
from pipeline.ingest.counters import StreamCounters
from pipeline.ingest.entries import NO_NOTE, Note, message_of, write_entry
from pipeline.ingest.evolving import Evolving
from pipeline.ingest.intake import Intake, Taken
from pipeline.ingest.judged import apart, applied
from pipeline.ingest.log import LogEntry, WriteAheadLog
from pipeline.ingest.merging import Merger
from pipeline.ingest.options import StreamOptions
from pipeline.ingest.policies import Durability
from pipeline.ingest.receipts import Receipt
from pipeline.ingest.reception import Reception
from pipeline.ingest.resuming import resume
from pipeline.ingest.sink import Sink, position_of_log
from pipeline.ingest.state import StreamState
from pipeline.ingest.timeliness import Timeliness
from pipeline.ingest.watermarks import Watermarks
from pipeline.model.arrow_arrays import raw_values
from pipeline.model.rejects import Rejects
from pipeline.model.tables import to_table
from pipeline.model.timestamps import TimeFormat

__all__ = ["StreamSession"]

_log = logging.getLogger(__name__)


class StreamSession:
    """Takes rows in and sees to it that they get into the archive, each once.

    Parameters
    ----------
    sink
        Where rows go.
    fleet, evolving
        Name and schema of the fleet.
    options
        How it works.
    folder
        Of the log; None for none.
    newest
        Devices and their newest times (``int64`` microseconds since 1970-01-01 UTC) in the archive.
    compact
        Merges blocks; returns the bytes it wrote.

    Raises
    ------
    ConflictError
        If another session uses the folder, or has the lease.
    InvalidInputError
        If the log is of another fleet or archive.
    CorruptBlockError, StorageError
        If the log or the archive cannot be read.
    """

    def __init__(
        self,
        sink: Sink,
        fleet: str,
        evolving: Evolving,
        options: StreamOptions,
        folder: Path | None = None,
        newest: tuple[Iterable[str], NDArray[np.int64]] | None = None,
        compact: Any = None,
    ) -> None:
        self._options = options
        self._reception = Reception(evolving, self._switch)
        self._timeliness = Timeliness(options.late, options.future)
        self._watermarks = Watermarks(options.disorder, self._reception.intake.devices)
        if newest is not None:
            self._watermarks.start_from(*newest)
        core = StreamCore(options.flush, options.max_bytes, options.when_full, options.backoff)
        log = None
        if folder is not None:
            log = WriteAheadLog.open(folder, fleet, self._reception.intake.arrow)
        self._state = StreamState(core, log)
        self._sink = sink
        try:
            sink.begin(self._state.id, self._lost)
        except BaseException:
            self._leave_log()
            raise
        try:
            if log is not None:
                committed = position_of_log(sink.positions(), self._state.id)
                resume(self._state, log, self._watermarks, committed)
        except BaseException:
            sink.end()
            self._leave_log()
            raise
        merger = Merger(self._state, options.compact_every, compact)
        self._committer = Committer(self._state, sink, evolving.meta.schema, merger)
        self._committer.start()

    def _lost(self, error: ArchiveError) -> None:
        def stop() -> None:
            self._state.error = error
            self._state.core.gave_up = True

        self._state.change(stop)

    def write(
        self,
        data: Any,
        *,
        time_format: TimeFormat | None = None,
        tags: Mapping[str, Mapping[str, str]] | None = None,
        positions: Mapping[str, Any] | None = None,
        expects: Mapping[str, Any] | None = None,
        rejects: Rejects | None = None,
        source: str = "",
        unknown: str | None = None,
        schema_version: int | None = None,
        wait: bool = True,
        block: bool = True,
    ) -> Receipt:
        """Take rows in; they are as safe as the stream's durability says when this returns.

        May be called from any number of threads.

        Parameters
        ----------
        data, time_format, tags, positions, source, unknown, schema_version
            As for `pipeline.Fleet.append`. Rows that do not tell their version have the one that
            was the newest when the stream was opened. Before channels are added, or rows of a newer
            version are taken, everything that was written is put into the archive, whatever `block`
            says; the stream goes on in the new version.
        expects
            Positions of sources at which the rows begin, in mappings like `positions`. The rows
            are left out of the archive if it stands elsewhere: another reader of the source has
            stored some of them.
        rejects
            Rows or messages for quarantine besides those of `data` that do not fit.
        wait
            Whether to wait for the durability; if not, ask the receipt.
        block
            Whether to wait for room where the stream waits when it is full; if not,
            ``BufferFullError`` is raised then.

        Raises
        ------
        SchemaError, InvalidInputError
            If columns are unknown or of an impossible type, the stream is closed, or columns are
            to be added to a schema that has changed otherwise since it was opened.
        BufferFullError
            If the stream is full and is to raise then.
        StorageError
            If the log cannot be written, or the stream gave up on the archive. Nothing of this
            write is kept in the first case.
        """
        if not isinstance(data, Mapping | pa.RecordBatch | pa.Table):
            data = to_table(data)  # a reader can be read once
        while True:
            taken = self._reception.take(
                data,
                time_format=time_format,
                unknown=unknown,
                source=source,
                schema_version=schema_version,
                tags=tags,
            )
            aside, note = taken.rejects, NO_NOTE
            if rejects is not None and len(rejects):
                aside = Rejects.concat([rejects, aside])
            if tags or positions or expects or len(aside):
                note = Note(aside, tags or {}, positions or {}, expects or {})
            payload = write_entry(taken.message, note)
            receipt = self._enter(taken, note, payload, source, block=block)
            if receipt is not None:
                break
        if wait and self._options.durability is not Durability.NONE:
            self.wait_for(receipt.position, self._options.durability, None)
        return receipt

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every row that was written before is in the archive.

        Raises
        ------
        StorageError
            If the stream gave up on the archive.
        TimeoutError
            If it takes more than `timeout` seconds.
        """
        self.wait_for(self.last, Durability.COMMIT, timeout)

    def close(self) -> None:
        """Put everything into the archive, and leave the log's folder to others.

        Raises
        ------
        StorageError
            If the archive cannot be written. What was acknowledged is in the log, if there is one,
            and goes on when a stream is opened there.
        """
        with self._state.lock:
            if self._state.closed:
                return
            self._state.closed = self._state.core.closing = True
            self._state.work.notify_all()
            self._state.progress.notify_all()
        self._committer.join()
        self._sink.end()
        self._leave_log()
        if not self._state.core.is_drained:
            self._state.check_commits()

    @property
    def counters(self) -> StreamCounters:
        """What the session has done so far."""
        log_bytes = 0 if self._state.log is None else self._state.log.size
        with self._state.lock:
            state, core = "running", self._state.core
            if self._state.closed:
                state = "closed"
            elif core.gave_up:
                state = "stopped"
            elif core.is_retrying:
                state = "retrying"
            return replace(
                self._state.counters,
                held_rows=core.rows,
                held_bytes=core.bytes,
                spilled=core.spilled_until is not None,
                log_bytes=log_bytes,
                state=state,
                error="" if self._state.error is None else str(self._state.error),
            )

    def positions(self) -> Mapping[str, Any]:
        """Return where every source stands, by what is in the archive at this moment.

        Raises
        ------
        StorageError
            If the archive cannot be read.
        """
        return self._sink.positions()

    def was_left_out(self, position: int) -> bool:
        """Tell, once, whether a committed write was not stored; its reader has to go back then."""
        with self._state.lock:
            found = position in self._state.left_out
            self._state.left_out.discard(position)
        return found

    def check(self) -> None:
        """Raise unless rows are taken; see `write`."""
        with self._state.lock:
            self._state.check_open()

    def watermark(self, device: str) -> int | None:
        """Return a device's watermark in microseconds since 1970-01-01 UTC, None without rows."""
        with self._state.lock:
            newest = self._watermarks.newest(device)
        return None if newest is None else newest - self._options.disorder

    @property
    def id(self) -> str:
        """The id of its log, or of itself, under which the archive knows its positions."""
        return self._state.id

    @property
    def durability(self) -> str:
        """What a write waits for."""
        return self._options.durability.value

    @property
    def max_bytes(self) -> int:
        """Most bytes held in memory that are not in the archive yet."""
        return self._options.max_bytes

    @property
    def last(self) -> int:
        """The number of the last write."""
        with self._state.lock:
            return self._state.last

    def held(self) -> tuple[list[LogEntry], int | None]:
        """Return the writes that may not be in the archive yet, spilled ones included.

        Returns
        -------
        entries
            In order. Whatever else was written is in any snapshot taken from now on.
        committed
            The number up to which writes were committed; None while a commit is going on.
        """
        state = self._state
        with state.lock:
            held, until = list(state.held), state.core.spilled_until
            committed = state.core.committed
            settled = state.core.is_settled
        if until is not None and state.log is not None:
            state.log.settle(until)
            held += state.log.entries(held[-1].sequence if held else committed, until)
        return held, committed if settled else None

    def durability_of(self, position: int) -> Durability:
        """Return where the rows of a write are by now."""
        if self._state.log is not None and self._state.log.failure(position):
            return Durability.NONE
        if position <= self._state.core.committed:
            return Durability.COMMIT
        logged = self._state.log is not None and position <= self._state.log.synced
        return Durability.LOG if logged else Durability.NONE

    def wait_for(self, position: int, level: Durability, timeout: float | None) -> None:
        """Wait until the rows of a write are in the log or the archive; see `Receipt.wait`."""
        self._state.wait_for(position, level, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except StorageError:
            if error is None:
                raise
            _log.exception("the stream could not be closed in order")

    def _leave_log(self) -> None:
        if self._state.log is not None:
            self._state.log.close()

    def _enter(
        self, taken: Taken, note: Note, payload: tuple[bytes, ...], source: str, *, block: bool
    ) -> Receipt | None:
        """Judge, number, log and hold a batch; None if another version is written by now."""
        held, newest = taken.held, None if taken.bounds is None else taken.bounds[1]
        size = sum(map(len, payload)) + ENTRY_OVERHEAD
        with self._state.lock:
            spill = self._wait_for_room(size, block=block)
            if taken.version != self._reception.intake.schema.version:
                return None
            verdict = self._timeliness.judge(
                self._watermarks, taken.codes, taken.time, _now(), taken.bounds
            )
            if verdict.rejected or verdict.time is not None:
                rows, note = applied(verdict, taken.rows, note, source)
                message = message_of(rows)
                payload = write_entry(message, note)
                held, moments = apart(rows, message), raw_values(rows.column(1))
                newest = int(moments.max()) if len(moments) else None
            log = self._state.log
            sequence = self._state.last + 1 if log is None else log.append(payload)
            self._state.last = sequence
            if spill:
                self._state.core.spilled(sequence, sequence)
            else:
                self._state.hold(LogEntry(sequence, held, note), size, newest)
            quarantined = len(note.rejects)
            self._state.count(
                writes=1,
                rows=held.num_rows,
                quarantined=quarantined,
                ignored=taken.ignored,
                late=verdict.late,
                restamped=verdict.restamped,
            )
        return Receipt(
            held.num_rows, quarantined, verdict.late, verdict.restamped, sequence, self
        )  # fmt: skip

    def _switch(self, following: Intake) -> None:
        """Go on in another version of the schema."""
        with self._state.switching():
            # Nothing enters meanwhile: a file of the log has rows of one version, as a commit has.
            self.flush()
            if self._state.log is not None:
                self._state.log.change_schema(following.arrow)
            self._sink.follow(following.schema.version)
            self._committer.schema = following.schema
            with self._state.lock:
                self._reception.intake = following

    def _wait_for_room(self, size: int, *, block: bool) -> bool:
        """Wait as the backpressure says; tell whether rows are to stay in the log only."""
        while True:
            self._state.check_open()
            admission = self._state.admit(size)
            if admission is Admission.TAKE or admission is Admission.SPILL:
                return admission is Admission.SPILL
            if admission is Admission.REFUSE or not block:
                msg = f"the stream holds {self._state.core.bytes} of {self._options.max_bytes} bytes that are not in the archive yet; write again later, or open it with when_full='wait' or 'spill'"
                raise BufferFullError(msg)
            self._state.work.notify()
            self._state.progress.wait()


def _now() -> int:
    return time.time_ns() // 1000
