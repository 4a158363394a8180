"""What the two sides of a stream session share: writers, and the thread that commits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from pipeline.errors import InvalidInputError, StorageError
from pipeline.ingest.core import Admission, Entry, StreamCore
from pipeline.ingest.counters import StreamCounters
from pipeline.ingest.log import LogEntry, WriteAheadLog
from pipeline.ingest.policies import Durability

__all__ = ["StreamState"]


def _ticks() -> int:
    return time.monotonic_ns() // 1000


@dataclass(slots=True, eq=False)
class StreamState:
    """The state of a session; whoever reads or changes it holds `lock`.

    Parameters
    ----------
    core
        What there is to do.
    log
        The write-ahead log; None for none.
    held
        The writes that the core knows as held, in order.
    last
        The number of the last write.
    error
        Why the last commit failed.
    closed
        Whether nothing is taken any more.
    left_out
        Numbers of writes that were not stored because they did not begin where the archive stood.
    clock
        Returns microseconds of a clock that never goes back.
    work, progress
        Tell the committing thread that there may be something to do, and writers that something
        was done.
    """

    core: StreamCore
    log: WriteAheadLog | None = None
    held: deque[LogEntry] = field(default_factory=deque)
    last: int = 0
    error: BaseException | None = None
    closed: bool = False
    left_out: set[int] = field(default_factory=set)
    id: str = ""
    clock: Callable[[], int] = _ticks
    _switching: bool = False
    _counts: dict[str, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    work: threading.Condition = field(init=False)
    progress: threading.Condition = field(init=False)

    def __post_init__(self) -> None:
        self.work = threading.Condition(self.lock)
        self.progress = threading.Condition(self.lock)
        self.id = uuid4().hex if self.log is None else self.log.head.log
        if self.log is not None:
            self.log.failed = self.withdraw

    def admit(self, size: int) -> Admission:
        """Tell what a write of `size` bytes has to do."""
        return Admission.WAIT if self._switching else self.core.admit(size)

    @contextmanager
    def switching(self) -> Iterator[None]:
        """Have writes wait outside."""
        with self.lock:
            self._switching = True
        try:
            yield
        finally:
            with self.lock:
                self._switching = False
                self.progress.notify_all()

    def count(self, **changes: int) -> None:
        """Increase some of the counters that `StreamCounters` names."""
        # A dictionary: a frozen object made anew for every write took a tenth of its time.
        for name, by in changes.items():
            self._counts[name] = self._counts.get(name, 0) + by

    @property
    def counters(self) -> StreamCounters:
        """All that only grows."""
        return StreamCounters(**self._counts)

    def hold(self, entry: LogEntry, size: int, newest: int | None) -> None:
        """Hold a write of `size` bytes in memory; `newest` is the newest time of its rows."""
        self.held.append(entry)
        if self.core.arrived(
            Entry(entry.sequence, entry.held.num_rows, size, self.clock(), newest)
        ):
            self.work.notify()

    def withdraw(self, first: int, last: int) -> None:
        """Forget writes that the log could not take; takes the lock itself."""
        with self.lock:
            gone = [one for one in self.held if first <= one.sequence <= last]
            self.held = deque(one for one in self.held if not first <= one.sequence <= last)
            self.core.withdrawn(first, last)
            self.count(rows=-sum(one.held.num_rows for one in gone))
            self.progress.notify_all()

    def change(self, step: Callable[[], None]) -> None:
        """Do something with the lock, and tell everybody who waits."""
        with self.lock:
            step()
            self.progress.notify_all()
            self.work.notify_all()

    def check_open(self) -> None:
        """Raise unless writes are taken.

        Raises
        ------
        InvalidInputError
            If the stream is closed.
        StorageError
            If it gave up.
        """
        if self.closed:
            msg = "the stream is closed; open another one with fleet.stream(...)"
            raise InvalidInputError(msg)
        self.check_commits()

    def check_commits(self) -> None:
        """Raise if the stream gave up on the archive.

        Raises
        ------
        StorageError
            If it did.
        """
        if not self.core.gave_up:
            return
        rest = f"{self.core.rows} rows that only were in memory did not get there"
        if self.log is not None:
            rest = f"what was acknowledged is safe in {self.log.folder}"
        msg = f"the stream stopped, since the archive cannot be written: {self.error}; {rest}; open it again when that is mended"
        raise StorageError(msg) from self.error

    def wait_for(self, position: int, level: Durability, timeout: float | None) -> None:
        """Wait until the rows of a write are in the log or the archive; takes the lock itself.

        Raises
        ------
        StorageError
            If the log could not be written, or the stream gave up on the archive.
        TimeoutError
            If it takes more than `timeout` seconds.
        """
        if level is Durability.NONE:
            return
        if self.log is not None:
            self.log.sync(position)
            if level is Durability.LOG:
                return
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.lock:
            self.core.wants(position)
            self.work.notify()
            while self.core.committed < position:
                self.check_commits()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    msg = f"write {position} is not in the archive after {timeout} s"
                    raise TimeoutError(msg)
                self.progress.wait(left)
