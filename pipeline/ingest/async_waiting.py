"""Waiting in an event loop for what a stream does in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

__all__ = ["SharedWait"]


class SharedWait:
    """Waits for rising numbers in one thread, however many coroutines wait.

    Parameters
    ----------
    wait
        Waits until everything up to a number is done; may block, and raise.
    """

    def __init__(self, wait: Callable[[int], None]) -> None:
        self._wait = wait
        self._wanted = 0
        self._done = 0
        self._running: asyncio.Task[None] | None = None

    async def until(self, number: int) -> None:
        """Wait until everything up to `number` is done.

        Raises
        ------
        Exception
            What waiting for `number` alone raises.
        """
        self._wanted = max(self._wanted, number)
        while self._done < number:
            if self._running is None:
                self._running = asyncio.create_task(self._run(self._wanted))
            # Whoever is cancelled leaves the others their wait.
            await asyncio.shield(self._running)
        # It is done by now, and raises only if it failed for this very number.
        self._wait(number)

    async def _run(self, number: int) -> None:
        try:
            # Everybody who waits looks for a failure of their own.
            with suppress(Exception):
                await asyncio.to_thread(self._wait, number)
        finally:
            self._done = max(self._done, number)
            self._running = None
