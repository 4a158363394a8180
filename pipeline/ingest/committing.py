"""The thread of a session that puts what is held into the archive."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, Final

from pipeline.errors import ConflictError, DuplicateRowsError, FencedError, StorageError
from pipeline.ingest.core import Commit, Idle, Instruction, ReadBack
from pipeline.ingest.held import Joined, join, rejected
from pipeline.ingest.log import LogEntry
from pipeline.ingest.merging import Merger
from pipeline.ingest.sink import STREAMS, Sink, position_of_log
from pipeline.ingest.standing import still_due
from pipeline.ingest.state import StreamState
from pipeline.model.arrow_arrays import raw_values
from pipeline.schema.channels import Schema

__all__ = ["ENTRY_OVERHEAD", "Committer"]

_log = logging.getLogger(__name__)

ENTRY_OVERHEAD: Final = 2048
"""Bytes that the objects of a held write take besides its columns, measured with five columns."""


class _MovedError(Exception):
    """Another reader of a source has changed what is still due."""


class Committer(threading.Thread):
    """Does what the core of a stream says, until it is closed and everything is in the archive.

    Parameters
    ----------
    state
        Of the session.
    sink
        Where rows go.
    schema
        The fleet's schema.
    merger
        Is told about every commit.
    """

    def __init__(self, state: StreamState, sink: Sink, schema: Schema, merger: Merger) -> None:
        super().__init__(name=f"stream-{state.id[:8]}", daemon=True)
        self._state = state
        self._sink = sink
        self.schema = schema
        self._merger = merger
        self._unsure = False

    def run(self) -> None:
        """Work until there is nothing more to do."""
        try:
            while (instruction := self._await()) is not None:
                self.act(instruction)
        except Exception as error:
            _log.exception("stream %s stopped", self._state.id)
            self._state.change(partial(self._give_up, error))
        finally:
            self._merger.stop()

    def act(self, instruction: Instruction) -> None:
        """Do what the core said, and tell it what came of it."""
        if isinstance(instruction, Commit):
            self._commit(instruction)
        elif isinstance(instruction, ReadBack):
            self._read_back(instruction)

    def _await(self) -> Instruction | None:
        """Wait until there is something to do; None if that is over."""
        state = self._state
        with state.lock:
            while True:
                now = state.clock()
                instruction = state.core.next(now)
                if not isinstance(instruction, Idle):
                    return instruction
                if state.core.gave_up or (state.closed and state.core.is_drained):
                    return None
                until = instruction.until
                state.work.wait(None if until is None else max(0, until - now) / 1e6)

    def _give_up(self, error: BaseException) -> None:
        self._state.error = error
        self._state.core.gave_up = True

    def _commit(self, commit: Commit) -> None:
        try:
            self._put(self._entries(commit.last))
        except FencedError:
            raise
        except (StorageError, ConflictError) as error:
            self._failed(error)
            return
        self._state.change(lambda: self._done(commit))
        self._merger.committed()

    def _entries(self, last: int) -> list[LogEntry]:
        """Return the held writes up to a number that are safe and not in the archive yet."""
        state = self._state
        if state.log is not None:
            # A writer whose entry cannot be logged is told so: its rows must not be committed.
            state.log.settle(last)
        reached = 0
        if self._unsure:
            reached = position_of_log(self._sink.positions(), state.id)
        self._unsure = False
        with state.lock:
            held = list(takewhile(lambda one: one.sequence <= last, state.held))
        return [entry for entry in held if entry.sequence > reached]

    def _put(self, entries: Sequence[LogEntry]) -> None:
        """Put writes into the archive, as often as others change which of them are still due."""
        expecting = any(entry.note.expects for entry in entries)
        while entries:
            known = self._sink.positions() if expecting else {}
            due = still_due(entries, known) if expecting else list(entries)
            try:
                self._put_due(entries, due)
            except _MovedError:
                continue
            return

    def _put_due(self, entries: Sequence[LogEntry], due: list[LogEntry]) -> None:
        """Put those of some writes that are due into the archive.

        In one commit, unless the fleet refuses some of the rows.
        """
        if due:
            joined = join(due, self.schema)
        elif self._state.log is None:
            self._leave_out(entries)
            return
        else:
            # The log is let go of as far as the archive says that it has it.
            joined = Joined(join(entries[:1], self.schema).batch.take(slice(0)), [], {}, {})
        try:
            self._append(joined, entries, due)
        except DuplicateRowsError as error:
            if len(entries) > 1:
                middle = len(entries) // 2
                self._put(entries[:middle])
                self._put(entries[middle:])
                return
            aside = [*joined.rejects, rejected(entries[0], str(error))]
            nothing = joined.batch.take(slice(0))
            alone = Joined(nothing, aside, joined.tags, joined.positions)
            self._append(alone, entries, due)

    def _append(self, joined: Joined, entries: Sequence[LogEntry], due: Sequence[LogEntry]) -> None:
        def check(known: Mapping[str, Any]) -> None:
            if any(one.note.expects for one in entries) and still_due(entries, known) != due:
                raise _MovedError

        state = self._state
        given = joined.positions.get(STREAMS)
        streams: dict[str, Any] = {**(given or {}), state.id: entries[-1].sequence}
        positions = {**joined.positions, STREAMS: streams}
        result = self._sink.append(joined.batch, joined.rejects, joined.tags, positions, check)
        with state.lock:
            state.count(
                commits=1,
                committed_rows=result.rows,
                duplicates=result.duplicates,
                bytes_committed=result.bytes,
            )
        kept = {one.sequence for one in due}
        self._leave_out([one for one in entries if one.sequence not in kept])

    def _leave_out(self, entries: Sequence[LogEntry]) -> None:
        with self._state.lock:
            self._state.left_out.update(entry.sequence for entry in entries)
            self._state.count(superseded=sum(entry.held.num_rows for entry in entries))

    def _done(self, commit: Commit) -> None:
        state = self._state
        state.core.done()
        while state.held and state.held[0].sequence <= commit.last:
            state.held.popleft()
        state.error = None
        if state.log is not None:
            state.log.release(commit.last)

    def _failed(self, error: Exception) -> None:
        # A commit whose answer was lost may have been made: the archive is asked before the next.
        self._unsure = True
        _log.warning("stream %s: commit failed, to be tried again: %s", self._state.id, error)

        def take_note() -> None:
            self._state.error = error
            self._state.count(retries=1)
            self._state.core.failed(self._state.clock(), random.random())  # noqa: S311

        self._state.change(take_note)

    def _read_back(self, wanted: ReadBack) -> None:
        log, size = self._state.log, 0
        found: list[LogEntry] = []
        if log is None:
            return
        log.settle(wanted.until)
        reached = wanted.until
        for entry in log.entries(wanted.after, wanted.until):
            size += entry.rows.nbytes + ENTRY_OVERHEAD
            if found and size > wanted.bytes:
                reached = found[-1].sequence
                break
            found.append(entry)
        self._state.change(lambda: self._hold(found, reached))

    def _hold(self, entries: Sequence[LogEntry], reached: int) -> None:
        for entry in entries:
            times = raw_values(entry.rows.column(1))
            newest = int(times.max()) if len(times) else None
            self._state.hold(entry, entry.rows.nbytes + ENTRY_OVERHEAD, newest)
        self._state.core.read_back(reached)
