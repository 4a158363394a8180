"""Forgetting old states: expiry of snapshots, garbage collection, sweeping after kills.

A snapshot stays in the history while it is younger than the age asked for, or was the newest one
at any time since: a reader that began within that time, on however old a snapshot, keeps what it
reads. Objects that no snapshot needs are deleted only if they are older than the safety age, since
a change that is being written has put objects that no snapshot names yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pipeline.archive.transactions import Garbage, Repository
from pipeline.errors import InvalidInputError
from pipeline.model.durations import parse_duration

__all__ = ["DEFAULT_SAFETY", "Forgotten", "age", "check_ages", "forget", "sweep_files"]

DEFAULT_SAFETY: Final = timedelta(days=1)
"""How long a writer or reader may live at most, unless told otherwise."""

_LEAST_SAFETY: Final = timedelta(hours=1)
_TEMPORARY: Final = re.compile(r".+#\d+")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `forget` did.

    Parameters
    ----------
    snapshots
        Snapshots taken out of the history.
    objects, bytes
        Objects deleted, and their size.
    stray_files
        Files left behind by processes that were killed, deleted.
    """

    snapshots: int = 0
    objects: int = 0
    bytes: int = 0
    stray_files: int = 0


def forget(
    repository: Repository,
    now: datetime,
    history: timedelta,
    safety: timedelta = DEFAULT_SAFETY,
    *,
    alone: bool = False,
) -> Forgotten:
    """Expire snapshots, then delete what no snapshot needs any more.

    It may be killed at any moment and run again, beside readers and writers.

    Parameters
    ----------
    repository
        The archive.
    now
        The present, with a timezone.
    history
        How long states of the archive can be opened; at least `safety` is kept.
    safety
        The longest time that a writer or reader may live: an hour or more.
    alone
        Whether nothing else reads or writes the archive meanwhile, by the caller's word; then
        `safety` may be less, down to zero.

    Raises
    ------
    InvalidInputError
        If `safety` or `history` is too short.
    StorageError
        If the storage fails.
    """
    check_ages(history, safety, alone)
    snapshots = _expire(repository, now - max(history, safety))
    garbage = repository.collect_garbage(now - safety, alone=alone)
    return _forgotten(snapshots, garbage, sweep_files(repository, now - safety))


def age(value: Any) -> timedelta:
    """Return an age: a text such as ``"7 days"`` or ``"0 s"``, or a duration of any type.

    Raises
    ------
    InvalidInputError
        If it is none.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and re.fullmatch(r"0(\s*[a-z]+)?", value.strip()):
        return timedelta(0)
    return timedelta(microseconds=parse_duration(value))


def check_ages(history: timedelta, safety: timedelta, alone: bool) -> None:
    """Refuse ages that are not allowed; see `forget`.

    Raises
    ------
    InvalidInputError
        If `safety` or `history` is too short.
    """
    if safety < (timedelta(0) if alone else _LEAST_SAFETY):
        msg = (
            f"safety is {safety}; give an hour or more and longer than any writer or reader lives, "
            "or alone=True if nothing else uses the archive meanwhile"
        )
        raise InvalidInputError(msg)
    if history < timedelta(0):
        msg = f"history is {history}; give how long old states are kept, zero or more"
        raise InvalidInputError(msg)


def sweep_files(repository: Repository, older_than: datetime) -> int:
    """Delete temporary files of killed writers in a local folder; return how many.

    Parameters
    ----------
    repository
        The archive; on object stores there are no such files.
    older_than
        Files changed at this moment or later stay: their writer may live.
    """
    location = repository.location
    if location.scheme != "file":
        return 0
    swept = 0
    for path in Path(location.path).rglob("*#*"):
        if _TEMPORARY.fullmatch(path.name) and _is_older(path, older_than):
            path.unlink(missing_ok=True)
            swept += 1
    return swept


def _expire(repository: Repository, moment: datetime) -> int:
    # The state at that moment stays too: a reader may have opened it just before it was replaced.
    state = next((c.time for c in repository.history() if c.time <= moment), None)
    return 0 if state is None else repository.expire(state)


def _is_older(path: Path, moment: datetime) -> bool:
    try:
        return path.stat().st_mtime < moment.timestamp()
    except FileNotFoundError:
        return False


def _forgotten(snapshots: int, garbage: Garbage, swept: int) -> Forgotten:
    objects = garbage.snapshots + garbage.chunks + garbage.others
    return Forgotten(snapshots, objects, garbage.bytes, swept)
