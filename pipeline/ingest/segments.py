"""The files of a write-ahead log.

A log is a folder of segments, each named after the number of its first entry, so that names in
order are entries in order. The first frame of a segment tells the log's id, the fleet, and the
Arrow schema of the rows: any segment can be read alone.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from pipeline.errors import CorruptBlockError, InvalidInputError, StorageError
from pipeline.ingest.frames import MAGIC, Frame, Tail, frame, frames, tail_of

__all__ = [
    "Segment",
    "SegmentData",
    "SegmentHead",
    "create_segment",
    "list_segments",
    "read_segment",
    "sync_folder",
    "write_at",
]

_SUFFIX: Final = ".wal"
_SIZE: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """What the first frame of a segment tells.

    Parameters
    ----------
    log
        Id of the log.
    fleet
        Name of the fleet that the rows are for.
    schema
        Arrow schema of the rows.
    """

    log: str
    fleet: str
    schema: pa.Schema

    def to_frame(self) -> bytes:
        """Return the first bytes of a segment."""
        text = json.dumps({"log": self.log, "fleet": self.fleet}).encode()
        schema = self.schema.serialize().to_pybytes()
        return MAGIC + frame(0, (_SIZE.pack(len(text)), text, schema))

    @classmethod
    def of_payload(cls, payload: memoryview, where: str) -> SegmentHead:
        """Read what `to_frame` wrote.

        Raises
        ------
        CorruptBlockError
            If it is something else.
        """
        try:
            stop = _SIZE.size + _SIZE.unpack_from(payload)[0]
            told = json.loads(bytes(payload[_SIZE.size : stop]))
            schema = pa.ipc.read_schema(pa.py_buffer(bytes(payload[stop:])))
            return cls(told["log"], told["fleet"], schema)
        except (ValueError, KeyError, TypeError, struct.error, pa.ArrowException) as error:
            msg = f"{where}: the segment does not tell whose it is: {error}"
            raise CorruptBlockError(msg) from error


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a log.

    Parameters
    ----------
    path
        Where it is.
    first
        Its entries have this number or a larger one.
    """

    path: Path
    first: int


def list_segments(folder: Path) -> list[Segment]:
    """Return the segments of a folder in order.

    Raises
    ------
    InvalidInputError
        If a file's name is none of ours.
    """
    found = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        if not path.stem.isdecimal():
            msg = f"{path}: not a segment of a log; give the stream a folder of its own"
            raise InvalidInputError(msg)
        found.append(Segment(path, int(path.stem)))
    return found


def create_segment(folder: Path, head: SegmentHead, first: int, size: int) -> tuple[int, int]:
    """Create a segment of `size` bytes of zeros behind its head, durably.

    A sync of bytes inside a file that has its size took half to a twentieth of the time of one that
    makes the file longer.

    Returns
    -------
    handle, end
        A descriptor, and the offset at which the first entry goes.

    Raises
    ------
    OSError
        If there is no room; nothing is left behind.
    """
    path = folder / f"{first:020}{_SUFFIX}"
    begin = head.to_frame()
    handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(handle, 0, max(size, len(begin)))
        write_at(handle, begin, 0)
        os.fsync(handle)
        sync_folder(folder)
    except BaseException:
        os.close(handle)
        path.unlink(missing_ok=True)
        raise
    return handle, len(begin)


def write_at(handle: int, data: bytes, offset: int) -> None:
    """Write all of `data`; the system may take it in pieces."""
    view = memoryview(data)
    while len(view):
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


@dataclass(frozen=True, slots=True, eq=False)
class SegmentData:
    """A segment that was read.

    Parameters
    ----------
    head
        Whose it is; None if the segment was torn while it was created.
    data
        The whole file.
    start
        Offset of the first entry.
    """

    head: SegmentHead | None
    data: memoryview
    start: int = len(MAGIC)

    def entries(self) -> Iterator[Frame]:
        """Yield its entries up to the first that is not whole."""
        return iter(()) if self.head is None else frames(self.data, self.start, after=0)

    def tail(self) -> tuple[int, Tail]:
        """Return the number of the last whole entry (0 if there is none), and what follows it."""
        end, last = self.start, 0
        for one in self.entries():
            end, last = one.end, one.sequence
        return last, tail_of(self.data, end, last)


def read_segment(segment: Segment) -> SegmentData:
    """Read a segment.

    Raises
    ------
    CorruptBlockError
        If it is of a newer version, or no segment.
    StorageError
        If it cannot be read.
    """
    try:
        data = memoryview(segment.path.read_bytes())
    except OSError as error:
        msg = f"{segment.path}: {error.strerror}"
        raise StorageError(msg) from error
    magic = bytes(data[: len(MAGIC)])
    if magic != MAGIC and MAGIC.startswith(magic.rstrip(b"\x00")):
        return SegmentData(None, data)
    if magic[:-1] != MAGIC[:-1]:
        msg = f"{segment.path}: not a segment of a log; give the stream a folder of its own"
        raise CorruptBlockError(msg)
    if magic != MAGIC:
        msg = f"{segment.path}: a log of format {magic[-1]}; this version reads {MAGIC[-1]}"
        raise CorruptBlockError(msg)
    first = next(frames(data, len(MAGIC)), None)
    if first is None:
        return SegmentData(None, data)
    head = SegmentHead.of_payload(first.payload, str(segment.path))
    return SegmentData(head, data, first.end)


def sync_folder(folder: Path) -> None:
    """Make created and removed files of a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
