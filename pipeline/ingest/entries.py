"""What one frame of a log says: the rows of one write, and what came along with them.

A payload is ::

    version    uint8    1
    reserved   3 bytes  0
    note       uint32   bytes of the note
    note       JSON     rejected rows, tags, positions and where rows begin; empty without these
    padding             zeros to a multiple of 8
    rows       bytes    an Arrow IPC record batch message, of the schema that the segment names

so that a write becomes durable as a whole or not at all.

References
----------
Apache Arrow columnar format 1.0, "Serialization and Interprocess Communication (IPC)".
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from pipeline.errors import CorruptBlockError
from pipeline.model.rejects import Rejects

__all__ = ["NO_NOTE", "Note", "message_of", "read_entry", "write_entry"]

_VERSION: Final = 1
_HEAD: Final = struct.Struct("<B3xI")
_PLAIN: Final = _HEAD.pack(_VERSION, 0)


@dataclass(frozen=True, slots=True)
class Note:
    """What a write brings besides rows.

    Parameters
    ----------
    rejects
        Rows for quarantine.
    tags
        Tag values to set, by device id.
    positions
        Positions of sources that become durable together with the rows.
    expects
        Positions of sources at which the rows begin; what the archive has from another reader of
        the source is not stored again.
    """

    rejects: Rejects = field(default_factory=Rejects)
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    positions: Mapping[str, Any] = field(default_factory=dict)
    expects: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(len(self.rejects) or self.tags or self.positions or self.expects)


NO_NOTE: Final = Note()
"""What nearly all writes bring."""


def message_of(rows: pa.RecordBatch) -> bytes:
    """Return rows as an Arrow record batch message."""
    message: bytes = rows.serialize().to_pybytes()
    return message


def write_entry(message: bytes, note: Note) -> tuple[bytes, ...]:
    """Return the payload of a frame in pieces.

    Parameters
    ----------
    message
        The rows, as `message_of` gives them.
    note
        What comes along.

    Raises
    ------
    TypeError
        If tags or positions are not JSON values.
    """
    if not note:
        return _PLAIN, message
    text = json.dumps(_document(note), separators=(",", ":")).encode()
    padding = bytes(-(_HEAD.size + len(text)) % 8)
    return _HEAD.pack(_VERSION, len(text)), text, padding, message


def read_entry(
    payload: memoryview, schema: pa.Schema, where: str = ""
) -> tuple[pa.RecordBatch, Note]:
    """Return the rows and the note of a payload; the rows share its memory.

    Raises
    ------
    CorruptBlockError
        If it is of a newer version, or cannot be read as what it has to be.
    """
    version, size = _HEAD.unpack_from(payload)
    if version != _VERSION:
        msg = f"{where}: entry of version {version}; this is written by a newer version of iot-archive"
        raise CorruptBlockError(msg)
    stop = _HEAD.size + size
    try:
        note = _note(json.loads(bytes(payload[_HEAD.size : stop]))) if size else Note()
        rows = pa.ipc.read_record_batch(pa.py_buffer(payload[stop + -stop % 8 :]), schema)
        rows.validate()
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        msg = f"{where}: entry cannot be read: {error}"
        raise CorruptBlockError(msg) from error
    return rows, note


def _document(note: Note) -> dict[str, Any]:
    rejects = note.rejects
    quarantine = {
        "records": rejects.records,
        "reasons": rejects.reasons,
        "source": rejects.source,
    }
    found = {
        "rejects": quarantine if len(rejects) else None,
        "tags": {device: dict(values) for device, values in note.tags.items()},
        "positions": dict(note.positions),
        "expects": dict(note.expects),
    }
    return {name: value for name, value in found.items() if value}


def _note(document: Mapping[str, Any]) -> Note:
    rejects = Rejects()
    if "rejects" in document:
        told = document["rejects"]
        rejects = Rejects(tuple(told["records"]), tuple(told["reasons"]), told["source"])
    parts = (document.get(name, {}) for name in ("tags", "positions", "expects"))
    return Note(rejects, *parts)
