"""Leases: at most one writer at a time does what a name stands for.

A lease of a fleet is written down among its positions, one of the whole archive among the
attributes of its root, ::

    "leases": {"<name>": {"holder": "<id>", "epoch": 7, "until": "2026-03-01T12:00:30.000000Z"}}

so that taking one, and every commit under one, is a transaction like any other. Clocks only decide
when a lease that nobody renews may be taken by somebody else. What keeps a holder from writing that
slept through that moment is the epoch: it rises whenever the holder changes, every commit is checked
against it, and of two commits that follow on one state the second is made anew.

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

import zarr
from zarr.abc.store import Store

from pipeline.archive.attributes import read_attributes
from pipeline.archive.positions import append_positions, read_positions
from pipeline.archive.transactions import Repository
from pipeline.errors import FencedError, LeaseHeldError
from pipeline.model.timestamps import format_time, to_microseconds

__all__ = ["LEASES", "Lease", "read_leases", "renew_lease", "take_lease"]

LEASES: Final = "leases"
"""The source under which a fleet's positions, or the root's attributes, tell of leases."""


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
        """Return the lease of a name by what `read_leases` returns; None if it never was taken."""
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
        """Raise unless it is still held, by what `read_leases` returns.

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
                "nothing was written. Begin again once it is free"
            )
            raise FencedError(msg)


def read_leases(store: Store, fleet: str | None) -> Mapping[str, Any]:
    """Return what tells of the leases of a fleet, or with None of the archive, under `LEASES`."""
    if fleet is not None:
        return read_positions(store, fleet)[0]
    return read_attributes(store, [""])[0] or {}


def take_lease(
    repository: Repository, fleet: str | None, name: str, holder: str, now: int, length: int
) -> Lease:
    """Take a lease that is free, has run out, or is the holder's own.

    Parameters
    ----------
    repository, fleet
        Where it is written down; no fleet for a lease of the whole archive.
    name
        What it is for.
    holder
        Who takes it. Nobody else may use this id.
    now, length
        The time, microseconds since 1970-01-01 UTC, and how long it holds unless renewed.

    Raises
    ------
    LeaseHeldError
        If another holder has it.
    """

    def change(store: Store) -> Lease:
        known = Lease.find(read_leases(store, fleet), name)
        if known is not None and known.holder != holder and known.until > now:
            of = "" if fleet is None else f" of fleet {fleet!r}"
            msg = (
                f"the lease {name!r}{of} is held by {known.holder!r} until "
                f"{format_time(known.until)}; stop that writer, or wait until then"
            )
            raise LeaseHeldError(msg)
        lease = Lease(name, holder, 1 if known is None else known.epoch + 1, now + length)
        _write(store, fleet, lease.positions())
        return lease

    return repository.commit(change, f"lease {name}", lambda _: _metadata(fleet))[1]


def renew_lease(repository: Repository, fleet: str | None, lease: Lease, until: int) -> Lease:
    """Move the end of a lease, to the present to give it back.

    Raises
    ------
    FencedError
        If somebody else has taken it.
    """

    def change(store: Store) -> Lease:
        lease.check(read_leases(store, fleet))
        _write(store, fleet, lease.positions(until))
        return replace(lease, until=until)

    return repository.commit(change, f"lease {lease.name}", lambda _: _metadata(fleet))[1]


def _write(store: Store, fleet: str | None, told: Mapping[str, Any]) -> None:
    if fleet is not None:
        append_positions(store, fleet, told)
        return
    root = zarr.open_group(store, mode="r+")
    root.attrs[LEASES] = {**read_leases(store, None).get(LEASES, {}), **told[LEASES]}


def _metadata(fleet: str | None) -> dict[str, Any]:
    return {"kind": "lease"} if fleet is None else {"fleet": fleet, "kind": "lease"}
