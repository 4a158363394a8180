"""Background compaction: small commits become full blocks while the stream goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pipeline.errors import ArchiveError
from pipeline.ingest.state import StreamState

__all__ = ["Merger"]

_log = logging.getLogger(__name__)


class Merger:
    """Merges blocks every so many commits, in a thread of its own, one merge at a time.

    Parameters
    ----------
    state
        Of the session; its counters are kept.
    every
        Commits; 0 for never.
    compact
        Merges what is worth it and returns the encoded bytes it wrote.
    """

    def __init__(self, state: StreamState, every: int, compact: Callable[[], int] | None) -> None:
        self._state = state
        self._every = 0 if compact is None else every
        self._compact = compact
        self._commits = 0
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Take note of a commit, and begin a merge if it is time and none is going on."""
        self._commits += 1
        if not self._every or self._commits < self._every:
            return
        if self._thread is not None and self._thread.is_alive():
            return
        self._commits = 0
        self._thread = threading.Thread(
            target=self._run, name=f"compaction-{self._state.id[:8]}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Wait until the merge that is going on is done."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            written = 0 if self._compact is None else self._compact()
        except ArchiveError as error:
            # Nothing is lost by it: the next merge, or anybody's compact(), finds the same to do.
            _log.warning("stream %s: compaction failed: %s", self._state.id, error)
            return
        with self._state.lock:
            self._state.count(compactions=int(written > 0), bytes_compacted=written)
