"""The write-ahead log: what makes a write safe within milliseconds.

Writers append entries and wait until these are on the disk. One of the waiting writers writes and
syncs everything that was appended so far, its own entry and those of others, while new ones
gather: a sync is shared by all who wait for it.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

import pyarrow as pa

from pipeline.errors import CorruptBlockError, InvalidInputError, StorageError
from pipeline.ingest.entries import Note, read_entry
from pipeline.ingest.folder_lock import FolderLock, translated
from pipeline.ingest.frames import frame
from pipeline.ingest.group_turn import GroupTurn
from pipeline.ingest.plain_rows import PlainRows
from pipeline.ingest.segments import (
    Segment,
    SegmentHead,
    create_segment,
    list_segments,
    read_segment,
    sync_folder,
)

__all__ = ["LogEntry", "WriteAheadLog"]

_log = logging.getLogger(__name__)

_SEGMENT_BYTES: Final = 16 << 20
_MOST_FAILURES: Final = 256
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True, eq=False)
class LogEntry:
    """One write, as the log has it.

    Parameters
    ----------
    sequence
        Its number.
    held
        Its rows.
    note
        What came along.
    """

    sequence: int
    held: pa.RecordBatch | PlainRows
    note: Note

    @property
    def rows(self) -> pa.RecordBatch:
        """Its rows as a record batch."""
        return self.held.to_batch() if isinstance(self.held, PlainRows) else self.held


@dataclass(slots=True, eq=False)
class WriteAheadLog:
    """A log in a folder that nobody else uses meanwhile. Get one from `open`.

    Numbers of entries rise and are never used twice, but they may have gaps.

    Parameters
    ----------
    head
        Its id, its fleet, and the schema of rows to come.
    segments
        The files, oldest first.
    last
        The number given last.
    torn_bytes
        What was cut off behind the last whole entry when the log was opened.
    failed
        Called with the first and last number of entries that were not written, before their writers hear
        of it.
    """

    head: SegmentHead
    segments: list[Segment]
    last: int
    torn_bytes: int
    segment_bytes: int
    failed: Callable[[int, int], None] = lambda *_: None
    _lock: FolderLock = field(kw_only=True, repr=False)
    _turn: GroupTurn = field(default_factory=GroupTurn, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _pending: list[tuple[int, bytes]] = field(default_factory=list, repr=False)
    _failures: deque[tuple[int, int, str]] = field(
        default_factory=lambda: deque(maxlen=_MOST_FAILURES), repr=False
    )
    _handle: int = -1
    _end: int = 0
    _size: int = 0
    _broken: str = ""

    @classmethod
    def open(
        cls, folder: Path, fleet: str, schema: pa.Schema, *, segment_bytes: int = _SEGMENT_BYTES
    ) -> Self:
        """Open the log of a folder, or begin one; a torn tail is cut off and told.

        Parameters
        ----------
        folder
            Made if there is none.
        fleet
            Name of the fleet that the rows are for.
        schema
            Arrow schema of rows to come; those that are there have their own.
        segment_bytes
            Size of the files.

        Raises
        ------
        ConflictError
            If another session uses the folder.
        InvalidInputError
            If the log is of another fleet.
        CorruptBlockError
            If a file is damaged elsewhere than at the end of the log, or of a newer version.
        StorageError
            If the folder cannot be read and written.
        """
        lock = FolderLock.take(folder)
        try:
            segments = list_segments(folder)
            known = _heads(segments, fleet)
            last, torn = _ending(segments)
            head = SegmentHead(known or uuid4().hex, fleet, schema)
            return cls(head, segments, last, torn, segment_bytes, _lock=lock)
        except BaseException:
            lock.release()
            raise

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._lock.folder

    @property
    def synced(self) -> int:
        """Entries up to this number are on the disk, but for those that failed."""
        return self._turn.reached

    @property
    def size(self) -> int:
        """Bytes of all files."""
        with self._guard:
            paths = [segment.path for segment in self.segments]
        return sum(path.stat().st_size for path in paths if path.exists())

    def begin(self, after: int) -> None:
        """Start a new segment for entries to come, numbered from above `after` and all there are.

        Raises
        ------
        StorageError
            If there is no room.
        """
        self.last = self._turn.reached = max(self.last, after)
        with translated(self.folder):
            self._rotate(self.last + 1, 0)

    def change_schema(self, schema: pa.Schema) -> None:
        """Start a new segment for entries of another schema; everything before is on the disk.

        Raises
        ------
        StorageError
            If there is no room; the schema stays.
        """
        before, self.head = self.head, replace(self.head, schema=schema)
        try:
            with translated(self.folder):
                self._rotate(self.last + 1, 0)
        except StorageError:
            self.head = before
            raise

    def append(self, payload: Sequence[bytes]) -> int:
        """Take an entry (of `write_entry`) and return its number; it is on the disk after `sync`."""
        with self._guard:
            self.last += 1
            self._pending.append((self.last, frame(self.last, payload)))
            return self.last

    def sync(self, sequence: int) -> None:
        """Wait until the entries up to a number are on the disk.

        Raises
        ------
        StorageError
            If the entry of that number could not be written; it is gone.
        """
        self._turn.until(sequence, self._write_pending)
        reason = self.failure(sequence)
        if reason:
            msg = f"{self.folder}: the log could not be written ({reason}); nothing of this write is kept; write it again when that is mended"
            raise StorageError(msg)

    def settle(self, sequence: int) -> None:
        """Wait until each entry up to a number is on the disk or has failed."""
        with suppress(StorageError):
            self.sync(sequence)

    def failure(self, sequence: int) -> str:
        """Return why an entry could not be written; the empty text if it was, or is still to be."""
        if not self._failures:
            return ""
        with self._guard:
            found = [why for first, last, why in self._failures if first <= sequence <= last]
        return found[0] if found else ""

    def entries(self, after: int, until: int) -> Iterator[LogEntry]:
        """Yield the entries that are on the disk above `after` and up to `until`.

        Raises
        ------
        CorruptBlockError, StorageError
            If a segment is damaged or cannot be read.
        """
        with self._guard:
            segments = list(self.segments)
        followers = [*(segment.first for segment in segments[1:]), until + 1]
        for segment, following in zip(segments, followers, strict=True):
            if following > after + 1 and segment.first <= until:
                yield from _entries(segment, after, until)

    def release(self, sequence: int) -> None:
        """Remove segments all of whose entries have numbers up to `sequence`.

        Raises
        ------
        StorageError
            If a file cannot be removed.
        """
        with self._guard:
            firsts = [segment.first for segment in self.segments]
            done = sum(following <= sequence + 1 for following in firsts[1:])
            gone, self.segments = self.segments[:done], self.segments[done:]
        if gone:
            with translated(self.folder):
                for segment in gone:
                    segment.path.unlink(missing_ok=True)
                sync_folder(self.folder)

    def close(self) -> None:
        """Write what is pending if that is possible, and leave the folder to others."""
        try:
            if self._handle >= 0:
                self.sync(self.last)
        finally:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
            self._lock.release()

    def _write_pending(self) -> int:
        """Write what was appended so far, and return the number of the last entry of it."""
        with self._guard:
            group, self._pending = self._pending, []
        if group:
            try:
                self._write(group)
            except OSError as error:
                self._failed(group, error)
        return group[-1][0] if group else self._turn.reached

    def _write(self, group: list[tuple[int, bytes]]) -> None:
        if self._broken:
            raise OSError(errno.EIO, self._broken)
        data = b"".join([entry for _, entry in group])
        if self._end + len(data) > self._size:
            self._rotate(group[0][0], len(data))
        try:
            _write_synced(self._handle, data, self._end)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                # What the system has not written it may have dropped: no later sync tells.
                self._broken = (
                    f"{error.strerror}, and the log cannot be trusted before it is reopened"
                )
            raise
        self._end += len(data)

    def _failed(self, group: list[tuple[int, bytes]], error: OSError) -> None:
        reason = error.strerror or str(error)
        _log.error("%s: %d entries not written: %s", self.folder, len(group), reason)
        if self._handle >= 0 and not self._broken:
            try:  # nothing of them shall be found when the log is opened again
                os.ftruncate(self._handle, self._end)
                self._size = self._end
            except OSError as again:
                self._broken = again.strerror or str(again)
        numbers = [number for number, _ in group]
        if numbers:
            with self._guard:
                self._failures.append((numbers[0], numbers[-1], reason))
            self.failed(numbers[0], numbers[-1])

    def _rotate(self, first: int, least: int) -> None:
        size = max(self.segment_bytes, len(self.head.to_frame()) + least)
        handle, end = create_segment(self.folder, self.head, first, size)
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self._end, self._size = handle, end, size
        path = self.folder / f"{first:020}.wal"
        with self._guard:
            self.segments = [one for one in self.segments if one.path != path]
            self.segments.append(Segment(path, first))


def _write_synced(handle: int, data: bytes, offset: int) -> None:
    """Write bytes and wait until they are on the disk, in one call of the system if it can."""
    view = memoryview(data)
    while len(view):
        written = os.pwritev(handle, [view], offset, os.RWF_DSYNC)
        view, offset = view[written:], offset + written


def _heads(segments: Sequence[Segment], fleet: str) -> str:
    """Return the id of the log, the empty text if there is none; check whose it is."""
    found = ""
    for segment in segments:
        head = read_segment(segment).head
        if head is None:
            continue
        if head.fleet != fleet:
            msg = f"{segment.path}: holds rows of fleet {head.fleet!r}, not {fleet!r}; give each stream a folder of its own"
            raise InvalidInputError(msg)
        if found and head.log != found:
            msg = f"{segment.path}: is of another log than the files before it; keep logs apart"
            raise InvalidInputError(msg)
        found = head.log
    return found


def _ending(segments: list[Segment]) -> tuple[int, int]:
    """Return the last number of a log, and the bytes that were cut off behind it."""
    last, torn = 0, 0
    for at, segment in enumerate(segments):
        found, tail = read_segment(segment).tail()
        last = max(last, found, segment.first - 1)
        if not tail.torn:
            continue
        if at + 1 < len(segments):
            msg = f"{segment.path}: damaged at byte {tail.end}, with {tail.frames} whole entries of this file behind; restore the file, or move it away to go on without its entries"
            raise CorruptBlockError(msg)
        torn = tail.torn
        _cut(segment, tail.end, torn, tail.frames)
    return last, torn


def _cut(segment: Segment, end: int, torn: int, later: int) -> None:
    kept = ""
    with translated(segment.path):
        if later:
            # Unsynced pages reach the disk in any order, so this may be a torn tail; or rot.
            copy = segment.path.with_suffix(".torn")
            copy.write_bytes(segment.path.read_bytes()[end:])
            kept = f", which hold {later} whole entries and are kept as {copy.name}"
        with segment.path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
    _log.warning(
        "%s: torn at byte %d; cut off %d bytes that were never acknowledged%s",
        segment.path, end, torn, kept,
    )  # fmt: skip


def _entries(segment: Segment, after: int, until: int) -> Iterator[LogEntry]:
    found = read_segment(segment)
    if found.head is None:
        return
    for one in found.entries():
        if one.sequence > until:
            return
        if one.sequence > after:
            where = f"{segment.path} at entry {one.sequence}"
            yield LogEntry(one.sequence, *read_entry(one.payload, found.head.schema, where))
