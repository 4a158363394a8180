"""Keeps the lease of a stream, or of a job, from running out while that lives."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from pipeline.archive.leases import Lease, renew_lease, take_lease
from pipeline.archive.transactions import Repository
from pipeline.errors import ArchiveError, ConflictError, FencedError, InvalidInputError
from pipeline.model.durations import parse_duration

__all__ = ["LeaseKeeper", "LeaseOptions"]

_log = logging.getLogger(__name__)

_AGAIN: Final = 0.2
_SELDOM: Final = 2.0


@dataclass(frozen=True, slots=True)
class LeaseOptions:
    """Under which lease a stream or a job writes.

    Parameters
    ----------
    name
        What the lease is for: one writer at a time holds it.
    length
        Microseconds after which others may take a lease that is not renewed.
    wait
        Microseconds to wait for a lease that another one holds.
    """

    name: str
    length: int = 30_000_000
    wait: int = 0

    @classmethod
    def parse(cls, given: Any) -> Self | None:
        """Read a name, or a mapping with ``name``, ``length`` and ``wait``; None for no lease.

        Raises
        ------
        InvalidInputError
            If it is something else, or a duration makes no sense.
        """
        if given is None or isinstance(given, cls):
            return given
        told = {"name": given} if isinstance(given, str) else given
        if not isinstance(told, Mapping) or not told.keys() <= {"name", "length", "wait"}:
            msg = f"lease={given!r}; use a name, or a mapping with name, length and wait"
            raise InvalidInputError(msg)
        name = told.get("name")
        if not isinstance(name, str) or not name:
            msg = f"lease={given!r} has no name"
            raise InvalidInputError(msg)
        length, wait = told.get("length", "30 s"), told.get("wait", 0)
        return cls(name, parse_duration(length), 0 if wait == 0 else parse_duration(wait))


class LeaseKeeper:
    """Takes a lease, renews it, and gives it back.

    Parameters
    ----------
    repository, fleet
        Where it is written down; no fleet for a lease of the whole archive.
    options
        Which, and for how long.
    now
        Returns microseconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        repository: Repository,
        fleet: str | None,
        options: LeaseOptions,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._repository = repository
        self._fleet = fleet
        self._options = options
        self._now = now
        self._lease: Lease | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, holder: str, lost: Callable[[ArchiveError], None]) -> None:
        """Take the lease, and renew it from now on.

        Parameters
        ----------
        holder
            An id that nobody else uses at a time.
        lost
            Called once if another holder takes the lease.

        Raises
        ------
        LeaseHeldError
            If another holder has it for longer than the options say to wait.
        """
        deadline, pause = self._now() + self._options.wait, _AGAIN
        while self._lease is None:
            now, name = self._now(), self._options.name
            try:
                self._lease = take_lease(
                    self._repository, self._fleet, name, holder, now, self._options.length
                )
            except ConflictError:
                if now >= deadline:
                    raise
                time.sleep(pause)
                pause = min(1.5 * pause, _SELDOM)
        self._thread = threading.Thread(
            target=self._renew, args=(lost,), name=f"lease-{self._options.name}", daemon=True
        )
        self._thread.start()

    @property
    def lease(self) -> Lease:
        """The lease as it was written down last."""
        if self._lease is None:
            msg = "the lease has not been taken"
            raise RuntimeError(msg)
        return self._lease

    def until(self) -> int:
        """Return the end that a commit at this moment gives the lease."""
        return self._now() + self._options.length

    def renewed(self, until: int) -> None:
        """Take note that a commit moved the lease's end."""
        self._lease = replace(self.lease, until=max(until, self.lease.until))

    def release(self) -> None:
        """Renew no more, and let others have it at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            renew_lease(self._repository, self._fleet, self.lease, self._now())
        except ArchiveError as error:
            _log.warning("lease %s was not given back: %s", self._options.name, error)

    def _renew(self, lost: Callable[[ArchiveError], None]) -> None:
        """Renew when two thirds of its length are over, unless commits have."""
        length = self._options.length
        while not self._stop.wait(
            max(_AGAIN, (self.lease.until - self._now() - length // 3) / 1e6)
        ):
            if self.lease.until - self._now() > length // 3:
                continue
            until = self.until()
            try:
                renew_lease(self._repository, self._fleet, self.lease, until)
            except FencedError as error:
                lost(error)
                return
            except ArchiveError as error:
                _log.warning("lease %s: not renewed yet: %s", self._options.name, error)
                continue
            self.renewed(until)
