"""Writes of one transaction by several processes."""

from __future__ import annotations

import pickle  # what a fork is sent with anyway
from collections.abc import Sequence
from dataclasses import dataclass

import icechunk as ic
from zarr.abc.store import Store

from pipeline.archive.locations import Location
from pipeline.archive.transactions.guarded import GuardedStore, translated

__all__ = ["Fork", "Transaction"]


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """A part of a transaction's writes that can be made in another process.

    A fork travels: it is pickled to the process that writes chunks through it, and back. What it
    wrote is seen by nobody until it is merged into a commit, and is left to garbage collection
    if it never is.

    Parameters
    ----------
    session
        The storage library's own.
    location
        Of the archive, for messages.
    """

    session: ic.ForkSession
    location: Location

    @property
    def store(self) -> Store:
        """Where to write."""
        return GuardedStore(self.session.store, self.location)

    @classmethod
    def join(cls, forks: Sequence[Fork]) -> Fork:
        """Return one fork that holds what all of `forks`, at least one, wrote; they stay as they are.

        Chunks have to be disjoint: of two that were written to one place, the later is kept.
        """
        first = forks[0]
        with translated(first.location):
            session: ic.ForkSession = pickle.loads(pickle.dumps(first.session))  # noqa: S301
            session.merge(*(fork.session for fork in forks[1:]))
        return cls(session, first.location)


@dataclass(frozen=True, slots=True, eq=False)
class Transaction:
    """The newest state as writers in other processes start from it.

    Parameters
    ----------
    base
        Id of the snapshot.
    store
        To read from.
    session
        The storage library's own.
    location
        Of the archive.
    """

    base: str
    store: Store
    session: ic.Session
    location: Location

    def fork(self) -> Fork:
        """Return a new fork, for one writer."""
        with translated(self.location):
            return Fork(self.session.fork(), self.location)
