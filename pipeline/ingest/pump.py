"""Draws from one source into a stream, and tells the source what is safe."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pipeline.errors import ArchiveError, BufferFullError, InvalidInputError
from pipeline.ingest.backoff import Backoff
from pipeline.ingest.policies import Durability
from pipeline.ingest.receipts import Receipt
from pipeline.ingest.session import StreamSession
from pipeline.model.live_sources import LiveBatch, LiveSource

__all__ = ["Pump", "PumpCounters"]

_log = logging.getLogger(__name__)

_POLL: Final = 0.1
_FULL: Final = 0.02
_SETTLE: Final = 10.0
_LONG: Final = 60.0


@dataclass(frozen=True, slots=True)
class PumpCounters:
    """What a pump has drawn.

    Parameters
    ----------
    messages, rows, rejected
        Messages read, rows made of them, and messages or rows that could not be read.
    bytes
        Of the messages.
    acknowledged
        Messages that the source was told to be safe.
    waits
        Times it had to wait for room in the stream.
    restarts
        Times the source failed and was started again.
    last_message
        When the last message came, microseconds since 1970-01-01 UTC; None for not yet.
    state
        ``"starting"``, ``"running"``, ``"waiting"`` (for room), ``"retrying"``, ``"failed"`` or
        ``"stopped"``.
    error
        Why it retries or failed; empty otherwise.
    """

    messages: int = 0
    rows: int = 0
    rejected: int = 0
    bytes: int = 0
    acknowledged: int = 0
    waits: int = 0
    restarts: int = 0
    last_message: int | None = None
    state: str = "starting"
    error: str = ""


@dataclass(slots=True, eq=False)
class _Tally:
    """Counters of a pump as it goes; only its own thread changes them."""

    counts: dict[str, Any] = field(default_factory=dict)

    def add(self, **changes: int) -> None:
        for name, by in changes.items():
            self.counts[name] = self.counts.get(name, 0) + by

    def put(self, **values: Any) -> None:
        self.counts.update(values)

    def read(self) -> PumpCounters:
        return PumpCounters(**self.counts)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A batch that was written and is not acknowledged yet."""

    receipt: Receipt
    token: Any
    messages: int
    bytes: int


class _OutOfStepError(Exception):
    """Rows were left out: the archive stands elsewhere than the source."""


class Pump(threading.Thread):
    """A thread that draws from a source until it is told to stop.

    Rows are written to the stream as they come. A batch is acknowledged once it is as safe as the
    stream's durability says; for a source that can replay that is the commit, for others the log.
    When the stream is full, or as many bytes of this source wait for a commit as it may have, the
    source is paused, so that one that is fast does not take the room of the others.

    Parameters
    ----------
    source
        Where from.
    session
        Where to.
    share
        Bytes of this source that may wait for a commit.
    backoff
        How to wait before a source that failed is started again.
    """

    def __init__(
        self,
        source: LiveSource,
        session: StreamSession,
        share: int,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(name=f"pump-{source.name}", daemon=True)
        self._source = source
        self._session = session
        self._share = share
        self._backoff = backoff or Backoff()
        logged = session.durability == Durability.LOG.value and not source.replays
        self._level: Literal[Durability.LOG, Durability.COMMIT] = (
            Durability.LOG if logged else Durability.COMMIT
        )
        self._stopping = threading.Event()
        self._pending: deque[_Pending] = deque()
        self._uncommitted: deque[tuple[Receipt, int]] = deque()
        self._waiting_bytes = 0
        self._tally = _Tally()
        self.failure: BaseException | None = None

    @property
    def counters(self) -> PumpCounters:
        """What it has drawn so far."""
        return self._tally.read()

    @property
    def source(self) -> LiveSource:
        """Where it draws from."""
        return self._source

    def stop(self) -> None:
        """Have it draw no more; it ends once what it has written is acknowledged."""
        self._stopping.set()

    def positions(self) -> Mapping[str, Any]:
        """Return where the source stands by what is in the archive at this moment."""
        known: Mapping[str, Any] = self._session.positions().get(self._source.name, {})
        return known

    def settle(self, timeout: float) -> bool:
        """Wait until every batch handed over so far is in the archive; tell whether that is so."""
        if not self._uncommitted:
            return True
        try:
            self._uncommitted[-1][0].wait(Durability.COMMIT, timeout)
        except (TimeoutError, ArchiveError) as error:
            _log.warning("%s: not settled: %s", self._source.name, error)
            return False
        return True

    def run(self) -> None:
        """Draw until told to stop, starting a source again that fails."""
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._draw()
            except InvalidInputError as error:
                self._fail(error)
                return
            except _OutOfStepError:
                _log.warning("source %s: goes back to where the archive stands", self._source.name)
                self._tally.add(restarts=1)
                if not self._is_settled():
                    return
            except Exception as error:
                # A disk without room for the log, too: the source hands over again what is not safe.
                if self._has_given_up():
                    return
                failures = 1 if time.monotonic() - began > _LONG else failures + 1
                self._wait_after(error, failures)
        if self.failure is None:
            self._tally.put(state="stopped")

    def _wait_after(self, error: Exception, failures: int) -> None:
        pause = self._backoff.pause(failures, random.random()) / 1e6  # noqa: S311
        _log.warning(
            "source %s failed, to be started again in %.1f s",
            self._source.name,
            pause,
            exc_info=True,
        )
        self._tally.add(restarts=1)
        self._tally.put(state="retrying", error=f"{type(error).__name__}: {error}")
        self._stopping.wait(pause)

    def _is_settled(self) -> bool:
        """Wait until it is known what became of everything that was drawn."""
        while not self._stopping.is_set() and not self.settle(_SETTLE):
            if self._has_given_up():
                return False
        return True

    def _has_given_up(self) -> bool:
        """Tell whether the stream takes nothing any more; that is the end then."""
        try:
            self._session.check()
        except ArchiveError as error:
            self._fail(error)
            return True
        return False

    def _fail(self, error: BaseException) -> None:
        _log.error("source %s stopped: %s", self._source.name, error)
        self.failure = error
        self._tally.put(state="failed", error=str(error))

    def _draw(self) -> None:
        """Draw from the source, from its start to its stop."""
        self._pending.clear()
        self._source.start(self)
        self._tally.put(state="running", error="")
        try:
            while not self._stopping.is_set():
                batch = self._source.poll(_POLL)
                if batch is not None:
                    self._take(batch)
                self._acknowledge()
            self._drain()
        finally:
            self._source.stop()

    def _take(self, batch: LiveBatch) -> None:
        """Write a batch, and whatever comes while there is no room for it."""
        waiting = deque([batch])
        paused = False
        try:
            while waiting:
                if self._has_room() and self._write(waiting[0]):
                    waiting.popleft()
                    continue
                if not paused:
                    self._source.pause()
                    paused = True
                    self._tally.add(waits=1)
                    self._tally.put(state="waiting")
                # A broker that hears nothing takes us for dead: the source is asked on.
                more = self._source.poll(_FULL)
                if more is not None:
                    waiting.append(more)
                self._acknowledge()
                if self._stopping.is_set() and self._source.replays:
                    return
        finally:
            if paused:
                self._source.resume()
                self._tally.put(state="running")

    def _has_room(self) -> bool:
        while self._uncommitted and self._uncommitted[0][0].durable == Durability.COMMIT.value:
            self._waiting_bytes -= self._uncommitted.popleft()[1]
        return not self._uncommitted or self._waiting_bytes < self._share

    def _write(self, batch: LiveBatch) -> bool:
        """Write a batch to the stream; tell whether there was room."""
        name = self._source.name
        try:
            receipt = self._session.write(
                batch.table,
                tags=batch.tags,
                positions={name: dict(batch.positions)} if batch.positions else None,
                expects={name: dict(batch.expects)} if batch.expects else None,
                rejects=batch.rejects,
                source=name,
                wait=False,
                block=False,
            )
        except BufferFullError:
            return False
        size = max(batch.bytes, batch.table.nbytes)
        self._pending.append(_Pending(receipt, batch.token, batch.messages, size))
        self._uncommitted.append((receipt, size))
        self._waiting_bytes += size
        self._tally.add(
            messages=batch.messages,
            rows=receipt.rows,
            rejected=receipt.quarantined,
            bytes=batch.bytes,
        )
        self._tally.put(last_message=time.time_ns() // 1000)
        if self._level is Durability.LOG:
            receipt.wait(Durability.LOG)
        return True

    def _acknowledge(self) -> None:
        """Tell the source of what is safe by now."""
        safe: _Pending | None = None
        levels = {Durability.COMMIT.value, self._level.value}
        out_of_step = False
        while self._pending and self._pending[0].receipt.durable in levels:
            done = self._pending.popleft()
            if self._session.was_left_out(done.receipt.position):
                out_of_step = True
                continue
            safe = done
            self._tally.add(acknowledged=safe.messages)
        if safe is not None:
            self._source.acknowledge(safe.token)
        if out_of_step:
            raise _OutOfStepError
        self._session.check()

    def _drain(self) -> None:
        """Wait until everything that was written is safe, and acknowledge it."""
        if self._pending:
            self._pending[-1].receipt.wait(self._level)
            self._acknowledge()
