"""Fragments that are read part by part, by one task after another.

A task that stops in the middle of a fragment leaves the open fragment on its worker, where the
next task goes on. If that task runs elsewhere, or the job was started anew, it reads the
fragment from its beginning and skips what was taken: sources yield their pieces in a fixed
order, so the result is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from typing import Final

from pipeline.model.ports import Fragment, Intake

__all__ = ["keep_open", "open_at"]

_MOST_OPEN: Final = 64
_lock = threading.Lock()
_open: dict[tuple[str, str, int], Iterator[Intake]] = {}


def open_at(run: str, fragment: Fragment, skip: int) -> Iterator[Intake]:
    """Return the fragment's pieces from number `skip` on.

    Parameters
    ----------
    run
        Name of the import, so that two imports do not take each other's place.
    fragment
        The fragment.
    skip
        Pieces taken before.
    """
    with _lock:
        found = _open.pop((run, fragment.name, skip), None)
    return islice(fragment.read(), skip, None) if found is None else found


def keep_open(run: str, fragment: Fragment, taken: int, pieces: Iterator[Intake]) -> None:
    """Leave a fragment of which `taken` pieces are read for the task that goes on with it."""
    with _lock:
        while len(_open) >= _MOST_OPEN:
            _open.pop(next(iter(_open)))
        _open[run, fragment.name, taken] = pieces
