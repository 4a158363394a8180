"""Leases: at most one writer at a time does what a name stands for.

A lease is written down among a fleet's positions, ::

    "leases": {"<name>": {"holder": "<id>", "epoch": 7, "until": "2026-03-01T12:00:30.000000Z"}}

so that taking one, and every commit under one, is a transaction like any other. Clocks only decide
when a lease that nobody renews may be taken by somebody else. What keeps a holder from writing that
slept through that moment is the epoch: it rises whenever the holder changes, every commit is checked
against it, and commits with positions conflict with each other.

References
----------
C. Gray and D. Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed file cache
consistency", SOSP 1989.
M. Burrows, "The Chubby lock service for loosely-coupled distributed systems", OSDI 2006, section
2.4 (sequencers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from zarr.abc.store import Store

from pipeline.archive.positions import append_positions, read_positions
from pipeline.archive.transactions import Repository
from pipeline.errors import ConflictError, FencedError
from pipeline.model.timestamps import format_time, to_microseconds

__all__ = ["LEASES", "Lease", "renew_lease", "take_lease"]

LEASES: Final = "leases"
"""The source under which a fleet's positions tell of leases."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write under a name.

    Parameters
    ----------
    name
        What it is for.
    holder
        Who has it.
    epoch
        Rises with every change of the holder.
    until
        When others may take it: microseconds since 1970-01-01 UTC.
    """

    name: str
    holder: str
    epoch: int
    until: int

    @classmethod
    def find(cls, positions: Mapping[str, Any], name: str) -> Lease | None:
        """Return the lease of a name by the positions of a fleet; None if it never was taken."""
        told = positions.get(LEASES, {}).get(name)
        if told is None:
            return None
        return cls(name, told["holder"], told["epoch"], to_microseconds(told["until"]))

    def positions(self, until: int | None = None) -> dict[str, Any]:
        """Return the positions that write it down, with a later end if one is given."""
        told = {
            "holder": self.holder,
            "epoch": self.epoch,
            "until": format_time(self.until if until is None else until),
        }
        return {LEASES: {self.name: told}}

    def check(self, positions: Mapping[str, Any]) -> None:
        """Raise unless it is still held, by the positions of a fleet.

        Raises
        ------
        FencedError
            If somebody else has taken it.
        """
        now = self.find(positions, self.name)
        if now is None or (now.holder, now.epoch) != (self.holder, self.epoch):
            other = "nobody" if now is None else repr(now.holder)
            msg = (
                f"the lease {self.name!r} of {self.holder!r} ran out, and {other} has it now; "
                "nothing was written. Open the stream again to write once it is free"
            )
            raise FencedError(msg)


def take_lease(
    repository: Repository, fleet: str, name: str, holder: str, now: int, length: int
) -> Lease:
    """Take a lease that is free, has run out, or is the holder's own.

    Parameters
    ----------
    repository, fleet
        Where it is written down.
    name
        What it is for.
    holder
        Who takes it. Nobody else may use this id.
    now, length
        The time, microseconds since 1970-01-01 UTC, and how long it holds unless renewed.

    Raises
    ------
    ConflictError
        If another holder has it.
    """

    def change(store: Store) -> Lease:
        known = Lease.find(read_positions(store, fleet)[0], name)
        if known is not None and known.holder != holder and known.until > now:
            msg = (
                f"the lease {name!r} of fleet {fleet!r} is held by {known.holder!r} until "
                f"{format_time(known.until)}; stop that writer, or wait until then"
            )
            raise ConflictError(msg)
        lease = Lease(name, holder, 1 if known is None else known.epoch + 1, now + length)
        append_positions(store, fleet, lease.positions())
        return lease

    return repository.commit(change, f"lease {name}", lambda _: _metadata(fleet))[1]


def renew_lease(repository: Repository, fleet: str, lease: Lease, until: int) -> Lease:
    """Move the end of a lease, to the present to give it back.

    Raises
    ------
    FencedError
        If somebody else has taken it.
    """

    def change(store: Store) -> Lease:
        lease.check(read_positions(store, fleet)[0])
        append_positions(store, fleet, lease.positions(until))
        return replace(lease, until=until)

    return repository.commit(change, f"lease {lease.name}", lambda _: _metadata(fleet))[1]


def _metadata(fleet: str) -> dict[str, Any]:
    return {"fleet": fleet, "kind": "lease"}
