"""Atomic commits, history and time travel; the only package that knows Icechunk.

`repository` commits, `forks` lets other processes write, `storage` opens the library on folders and
object stores, `guarded` turns its errors into this package's, `chunk_files` reads a local archive's
chunks past the library where that is faster, `claims` makes slow writers heard.
"""

from __future__ import annotations

from pipeline.archive.transactions.forks import Fork, Transaction
from pipeline.archive.transactions.repository import Commit, Garbage, Repository, Snapshot

__all__ = ["Commit", "Fork", "Garbage", "Repository", "Snapshot", "Transaction"]
