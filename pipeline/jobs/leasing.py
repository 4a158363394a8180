"""Working on an archive under a lease, so that runs of a job that meet do no harm.

A schedule starts a run whether or not the one before has ended, and a run may be killed, or stopped
and woken up hours later. One run at a time holds the lease. Every commit of a run is checked, in its
own transaction, against who holds the lease at that moment; so a run that lost it commits nothing.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from uuid import uuid4

from zarr.abc.store import Store

from pipeline.api.archive import Archive
from pipeline.archive.leases import read_leases
from pipeline.ingest.lease_keeping import LeaseKeeper
from pipeline.jobs.lease_options import JobLease
from pipeline.jobs.opening import JobArchive

__all__ = ["under_lease"]


def under_lease(opened: JobArchive, lease: JobLease, stack: ExitStack) -> JobArchive:
    """Take a lease and return the archive to work on.

    Parameters
    ----------
    opened
        The archive.
    lease
        Which lease, and whether to wait for it.
    stack
        Gives the lease back when it is closed.

    Returns
    -------
    JobArchive
        The archive, whose commits are refused (`pipeline.errors.FencedError`) once another run has
        taken the lease.

    Raises
    ------
    LeaseHeldError
        If another run has it, and has it longer than this one is to wait.
    """
    keeper = LeaseKeeper(opened.repository, None, lease.options)
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    keeper.take(holder, lambda _: None)  # the next commit tells if it is lost
    stack.callback(keeper.release)

    def check(store: Store) -> None:
        keeper.lease.check(read_leases(store, None))

    repository = opened.repository.fenced(check)
    return JobArchive(Archive(repository), repository)
