"""A stream for event loops."""

from __future__ import annotations

import asyncio
from functools import partial
from types import TracebackType
from typing import Any

from pipeline.errors import BufferFullError
from pipeline.ingest.async_waiting import SharedWait
from pipeline.ingest.counters import StreamCounters
from pipeline.ingest.policies import Durability
from pipeline.ingest.receipts import Receipt
from pipeline.ingest.session import StreamSession

__all__ = ["AsyncStream"]


class AsyncStream:
    """A stream whose methods are awaited. Get one by ``async with fleet.stream(...)``.

    Any number of coroutines may write; they share syncs and commits.

    Parameters
    ----------
    session
        What does the work.
    """

    def __init__(self, session: StreamSession) -> None:
        self._session = session
        self._level = Durability(session.durability)
        self._durable = SharedWait(partial(session.wait_for, level=self._level, timeout=None))
        self._committed = SharedWait(
            partial(session.wait_for, level=Durability.COMMIT, timeout=None)
        )

    @property
    def counters(self) -> StreamCounters:
        """What the session has done so far."""
        return self._session.counters

    async def write(self, data: Any, *, wait: bool = True, **options: Any) -> Receipt:
        """Take rows in, as `pipeline.ingest.session.StreamSession.write` does.

        Checking a batch is done at once, in the event loop: tens of microseconds for plain columns.

        Parameters
        ----------
        data, wait
            As there.
        **options
            ``time_format``, ``tags``, ``positions``, ``source`` and ``unknown``, as there.
        """
        try:
            receipt = self._session.write(data, wait=False, block=False, **options)
        except BufferFullError:
            # It waits for room in a thread, or raises again if the stream is to raise.
            receipt = await asyncio.to_thread(self._session.write, data, wait=False, **options)
        if wait and self._level is not Durability.NONE:
            await self._durable.until(receipt.position)
        return receipt

    async def committed(self, receipt: Receipt) -> None:
        """Wait until the rows of a write are in the archive.

        Raises
        ------
        StorageError
            If the stream gave up on the archive.
        """
        await self._committed.until(receipt.position)

    async def flush(self) -> None:
        """Wait until every row that was written before is in the archive.

        Raises
        ------
        StorageError
            If the stream gave up on the archive.
        """
        await self._committed.until(self._session.last)

    async def close(self) -> None:
        """Put everything into the archive; see `pipeline.ingest.session.StreamSession.close`."""
        await asyncio.to_thread(self._session.close)

    async def leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close at the end of a ``with`` block."""
        await asyncio.to_thread(self._session.__exit__, kind, error, trace)
