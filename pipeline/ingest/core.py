"""What a stream decides: when to flush, what to do when it is full, when to give up.

A state machine without I/O, threads or clock. The session tells it what happened, every time with
the time it is, and asks it what to do. Entries are known by their numbers and sizes only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from pipeline.ingest.backoff import Backoff
from pipeline.ingest.policies import Backpressure, Flush

__all__ = ["Admission", "Commit", "Entry", "Idle", "Instruction", "ReadBack", "StreamCore"]


class Admission(Enum):
    """What becomes of a write that asks for room."""

    TAKE = "take"
    WAIT = "wait"
    REFUSE = "refuse"
    SPILL = "spill"


@dataclass(frozen=True, slots=True)
class Entry:
    """A write, as far as decisions need to know it.

    Parameters
    ----------
    sequence
        Its number; numbers rise.
    rows, bytes
        Its size.
    arrived
        When it was taken, microseconds of any clock that never goes back.
    newest
        The newest time of its rows, microseconds since 1970-01-01 UTC; None without rows.
    """

    sequence: int
    rows: int
    bytes: int
    arrived: int
    newest: int | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """Put the held entries up to a number into the archive."""

    last: int


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Read entries that were spilled from the log: those above `after`, about so many bytes."""

    after: int
    until: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Idle:
    """There is nothing to do, at the latest until a moment; None for ever."""

    until: int | None = None


Instruction = Commit | ReadBack | Idle


@dataclass(slots=True, eq=False)
class StreamCore:
    """The state of one stream.

    Parameters
    ----------
    flush
        When rows go to the archive.
    max_bytes
        Bytes of entries that may be held.
    when_full
        What a write does then.
    backoff
        How to wait after failures.
    """

    flush: Flush
    max_bytes: int
    when_full: Backpressure
    backoff: Backoff = field(default_factory=Backoff)
    rows: int = 0
    bytes: int = 0
    committed: int = 0
    gave_up: bool = False
    closing: bool = False
    _held: deque[Entry] = field(default_factory=deque)
    _in_flight: Commit | None = None
    _wanted: int = 0
    _spilled: tuple[int, int] | None = None
    _newest: int | None = None
    _base: int | None = None
    _failures: int = 0
    _first_failure: int = 0
    _again: int = 0

    @property
    def entries(self) -> int:
        """Entries held in memory."""
        return len(self._held)

    @property
    def is_settled(self) -> bool:
        """Whether it is known what is in the archive: no commit is in flight or has failed."""
        return self._in_flight is None and not self._failures

    @property
    def is_retrying(self) -> bool:
        """Whether the last commit failed."""
        return self._failures > 0

    @property
    def spilled_until(self) -> int | None:
        """The number of the last entry that is in the log only; None if there is none."""
        return None if self._spilled is None else self._spilled[1]

    @property
    def is_drained(self) -> bool:
        """Whether everything that was taken is in the archive."""
        return not self._held and self._spilled is None

    def admit(self, size: int) -> Admission:
        """Tell what a write of `size` bytes has to do; a write larger than all room comes alone."""
        if self._spilled is not None:
            # Entries keep their order: nothing may overtake what waits in the log.
            return Admission.SPILL if self.when_full is Backpressure.SPILL else self._full()
        if not self._held or self.bytes + size <= self.max_bytes:
            return Admission.TAKE
        return self._full()

    def _full(self) -> Admission:
        return {
            Backpressure.WAIT: Admission.WAIT,
            Backpressure.RAISE: Admission.REFUSE,
            Backpressure.SPILL: Admission.SPILL,
        }[self.when_full]

    def arrived(self, entry: Entry) -> bool:
        """Hold an entry; return whether there may be something to do now."""
        self._held.append(entry)
        self.rows += entry.rows
        self.bytes += entry.bytes
        if entry.newest is not None:
            self._newest = entry.newest if self._newest is None else max(self._newest, entry.newest)
            self._base = self._newest if self._base is None else self._base
        return len(self._held) == 1 or self._is_full()

    def spilled(self, first: int, last: int) -> None:
        """Take note that entries are in the log only."""
        self._spilled = (first, last) if self._spilled is None else (self._spilled[0], last)

    def read_back(self, until: int) -> None:
        """Take note that the spilled entries up to a number are held again; they have `arrived`."""
        if self._spilled is not None:
            self._spilled = None if until >= self._spilled[1] else (until + 1, self._spilled[1])

    def withdrawn(self, first: int, last: int) -> None:
        """Forget entries that could not be written to the log; their writers have been told."""
        kept: deque[Entry] = deque()
        for entry in self._held:
            if first <= entry.sequence <= last:
                self.rows -= entry.rows
                self.bytes -= entry.bytes
            else:
                kept.append(entry)
        self._held = kept

    def wants(self, sequence: int) -> None:
        """Take note that somebody waits for the commit of an entry."""
        self._wanted = max(self._wanted, sequence)

    def next(self, now: int) -> Instruction:
        """Return what to do now."""
        if self._in_flight is not None or self.gave_up:
            return Idle()
        if self._failures and now < self._again:
            return Idle(self._again)
        if self._held and (self._failures or self._is_due(now)):
            return self._commit()
        if self._spilled is not None and 2 * self.bytes <= self.max_bytes:
            first, last = self._spilled
            return ReadBack(first - 1, last, max(1, self.max_bytes - self.bytes))
        return Idle(self._held[0].arrived + self.flush.age if self._held else None)

    def done(self) -> None:
        """Take note that the commit in flight is durable; its entries are no longer held."""
        commit = self._taken_back()
        while self._held and self._held[0].sequence <= commit.last:
            entry = self._held.popleft()
            self.rows -= entry.rows
            self.bytes -= entry.bytes
        self.committed = max(self.committed, commit.last)
        self._failures = 0
        self._base = self._newest

    def failed(self, now: int, chance: float) -> None:
        """Take note that the commit in flight failed, and nothing of it is in the archive.

        Parameters
        ----------
        now
            Microseconds.
        chance
            At random from [0, 1).
        """
        self._taken_back()
        if not self._failures:
            self._first_failure = now
        self._failures += 1
        self._again = now + self.backoff.pause(self._failures, chance)
        self.gave_up = self._again - self._first_failure > self.backoff.patience

    def _commit(self) -> Commit:
        last = 0
        rows = size = 0
        for entry in self._held:
            rows, size, last = rows + entry.rows, size + entry.bytes, entry.sequence
            if rows >= self.flush.rows or size >= self.flush.bytes:
                break
        self._in_flight = Commit(last)
        return self._in_flight

    def _taken_back(self) -> Commit:
        commit, self._in_flight = self._in_flight, None
        if commit is None:
            msg = "no commit is in flight"
            raise RuntimeError(msg)
        return commit

    def _is_due(self, now: int) -> bool:
        oldest = self._held[0]
        return (
            self.closing
            or self._is_full()
            or oldest.sequence <= self._wanted
            or now - oldest.arrived >= self.flush.age
        )

    def _is_full(self) -> bool:
        """Tell whether so much is held, or time has moved on so far, that a flush is due."""
        if self._spilled is not None or self.rows >= self.flush.rows:
            return True
        if self.bytes >= self.flush.bytes or 2 * self.bytes >= self.max_bytes:
            return True
        step = self.flush.event_time
        if step is None or self._newest is None or self._base is None:
            return False
        return self._newest - self._base >= step
