"""A stream against a model: whatever fails and whenever it is killed, rows are there once.

The session, its log and its decisions are real; the thread that commits is replaced by steps, and
the archive by a list. A crash loses what was not synced, or leaves a part of it in the log's file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.errors import BufferFullError
from pipeline.ingest import session as session_module
from pipeline.ingest.committing import Committer
from pipeline.ingest.core import Idle
from pipeline.ingest.log import WriteAheadLog
from pipeline.ingest.options import StreamOptions
from pipeline.ingest.receipts import Receipt
from pipeline.ingest.segments import write_at
from pipeline.ingest.session import StreamSession
from tests.ingest.sinks import EVOLVING, ListSink, batch_of


class SteppedCommitter(Committer):
    """A committer without a thread."""

    def start(self) -> None:
        pass

    def join(self, timeout: float | None = None) -> None:
        pass


class StreamMachine(RuleBasedStateMachine):
    """Writes, commits that work or fail, torn logs, crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(session_module, "Committer", SteppedCommitter)
        self.folder = Path(tempfile.mkdtemp())
        self.sink = ListSink()
        self.now = 0
        self.written: dict[int, list[int]] = {}
        self.safe: set[int] = set()
        self.receipts: list[Receipt] = []
        self.next = 0
        self.when_full = "raise"

    @initialize(when_full=st.sampled_from(["raise", "spill"]), rows=st.integers(1, 10))
    def begin(self, when_full: str, rows: int) -> None:
        self.when_full, self.rows = when_full, rows
        self.open()

    def open(self) -> None:
        options = StreamOptions.parse(
            logged=True,
            when_full=self.when_full,
            flush={"rows": self.rows, "age": "1 s"},
            max_bytes=12_000,
            patience="1 day",
        )
        self.patch.setattr(WriteAheadLog.open.__func__, "__kwdefaults__", {"segment_bytes": 4096})  # type: ignore[attr-defined]
        self.stream = StreamSession(self.sink, "fleet", EVOLVING, options, self.folder)
        self.state: Any = self.stream._state
        self.state.clock = lambda: self.now
        self.committer: Any = self.stream._committer

    @rule(sizes=st.lists(st.integers(1, 8), min_size=1, max_size=6))
    def write(self, sizes: list[int]) -> None:
        for rows in sizes:
            self.write_one(rows)

    def write_one(self, rows: int) -> None:
        values = list(range(self.next, self.next + rows))
        self.next += rows
        try:
            receipt = self.stream.write(batch_of(values), wait=False, block=False)
        except BufferFullError:
            return
        self.written[receipt.position] = values
        self.receipts.append(receipt)

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        receipt = data.draw(st.sampled_from(self.receipts))
        receipt.wait("log")
        assert receipt.durable in ("log", "commit")
        self.safe |= {position for position in self.written if position <= receipt.position}

    @rule(
        passed=st.sampled_from([0, 1_000_000, 60_000_000]),
        modes=st.lists(st.sampled_from(["fine", "down", "lost"]), min_size=1, max_size=4),
    )
    def work(self, passed: int, modes: list[Any]) -> None:
        for mode in modes:
            self.now += passed
            self.sink.mode = mode
            instruction = self.state.core.next(self.now)
            if not isinstance(instruction, Idle):
                self.committer.act(instruction)
        self.sink.mode = "fine"

    @rule(torn=st.integers(0, 4000))
    def crash(self, torn: int) -> None:
        log = self.state.log
        pending = b"".join(entry for _, entry in log._pending)
        if pending:
            # What was being written may be in the file up to any byte of it.
            write_at(log._handle, pending[: torn % len(pending)], log._end)
        os.close(log._handle)
        log._lock.release()
        kept = {p for p in self.written if p in self.safe or p <= self.committed()}
        reused = {p for p in self.written if p not in kept}
        self.open()
        # Writes that nobody was promised may have survived, whole; their numbers go on from there.
        for position in reused:
            if position > self.stream.last:
                del self.written[position]
        self.receipts = []

    def committed(self) -> int:
        return int(self.sink.known.get("streams", {}).get(self.stream.id, 0))

    @invariant()
    def rows_are_once_and_in_order(self) -> None:
        if not self.written and not self.sink.values:
            return
        reached = self.committed()
        expected = [v for p in sorted(self.written) if p <= reached for v in self.written[p]]
        assert self.sink.values == expected

    @invariant()
    def what_is_synced_and_not_committed_is_in_the_log(self) -> None:
        if not self.written:
            return
        log, reached = self.state.log, self.committed()
        found = {entry.sequence for entry in log.entries(reached, log.synced)}
        assert {p for p in self.written if reached < p <= log.synced} <= found

    @invariant()
    def memory_is_bounded(self) -> None:
        if hasattr(self, "state"):
            assert self.state.core.bytes <= 12_000
            assert len(self.state.held) == self.state.core.entries

    def teardown(self) -> None:
        self.sink.mode = "fine"
        self.stream._state.core.closing = True
        for _ in range(10_000):
            self.now += 40_000_000
            instruction = self.state.core.next(self.now)
            if isinstance(instruction, Idle):
                break
            self.committer.act(instruction)
        assert self.state.core.is_drained
        everything = {value for position in self.safe for value in self.written[position]}
        assert everything <= set(self.sink.values)
        assert len(self.sink.values) == len(set(self.sink.values))
        self.stream.close()
        assert self.stream.counters.held_rows == 0
        self.patch.undo()
        shutil.rmtree(self.folder)


TestStreams = StreamMachine.TestCase
TestStreams.settings = settings(stateful_step_count=80)
