"""One thread works for all that wait for the same kind of work.

With a condition variable in its place, four writers switched threads 12 times a write, which took
more time than the writes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["GroupTurn"]


@dataclass(slots=True, eq=False)
class _Waiter:
    number: int
    leads: bool = False
    gate: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.gate.acquire()


@dataclass(slots=True, eq=False)
class GroupTurn:
    """Brings a number forward, by one thread at a time.

    Parameters
    ----------
    reached
        Everything up to this number is done.
    """

    reached: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _is_working: bool = False
    _waiters: list[_Waiter] = field(default_factory=list, repr=False)

    def until(self, number: int, work: Callable[[], int]) -> None:
        """Return when everything up to a number is done.

        Parameters
        ----------
        number
            What to wait for.
        work
            Does all that there is to do and returns the number it reached; called by one thread at
            a time. What it raises goes to the thread that called it.
        """
        while self.reached < number:
            waiter = self._line_up(number)
            if waiter is not None:
                # Held by itself: it is released when the number is reached, or to take the lead.
                waiter.gate.acquire()
                if not waiter.leads:
                    continue
            reached = self.reached
            try:
                reached = work()
            finally:
                self._hand_over(reached)

    def _line_up(self, number: int) -> _Waiter | None:
        """Begin to wait; None if this thread is to work."""
        with self._lock:
            if self._is_working:
                waiter = _Waiter(number)
                self._waiters.append(waiter)
                return waiter
            self._is_working = True
            return None

    def _hand_over(self, reached: int) -> None:
        with self._lock:
            self.reached = max(self.reached, reached)
            woken = [one for one in self._waiters if one.number <= self.reached]
            self._waiters = [one for one in self._waiters if one.number > self.reached]
            self._is_working = bool(self._waiters)
            if self._waiters:
                leader = self._waiters.pop(0)
                leader.leads = True
                woken.append(leader)
        for waiter in woken:
            waiter.gate.release()
