"""What can be saved of a block, whatever the index says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.chunk_io import chunk_key, get_many, get_sizes
from pipeline.archive.damaged import DamagedChunk
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.layout import INDEX_FIELDS
from pipeline.codecs.block import decode_block, encode_block
from pipeline.errors import ArchiveError
from pipeline.model.dtypes import fill_value, storage_dtype
from pipeline.partitioning.device_blocks import LANDING_BLOCK, device_range

__all__ = ["Examined", "examine"]

Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """A block after a look at its chunks.

    Parameters
    ----------
    place
        Window, device block and slot.
    entry
        What the index has to say of it, in the order of `INDEX_FIELDS`; None if nothing of it
        can be used.
    written
        Chunks to write: columns that are lost, as all missing.
    removed
        Keys of chunks to remove.
    damaged
        What goes to quarantine.
    """

    place: Place
    entry: NDArray[np.int64] | None
    written: Mapping[str, bytes] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    damaged: tuple[DamagedChunk, ...] = ()


def examine(
    view: FleetView, place: Place, known: NDArray[np.int64] | None, sequence: int
) -> Examined:
    """Read all columns of a block and tell what can be saved.

    Rows are kept if device and time of each can be read, are in order and where they belong; of
    channels that cannot be read, the values are lost, and the rows are kept without them.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    place
        Window, device block and slot.
    known
        The block's index entry, if there is one.
    sequence
        The block's place among all others, if nothing tells it.
    """
    view = view.stored(_version(view, place, known))
    names = ("device_index", "time", *view.meta.schema.names)
    keys = {name: chunk_key(view.meta.layout.raw_path(name), place) for name in names}
    found = {name: _read(view, name, key) for name, key in keys.items()}
    codes, time = found["device_index"], found["time"]
    wrong = _why_not(view, place, codes, time)
    # A chunk whose file is gone is still named in the store.
    there = tuple(keys[name] for name, one in found.items() if one.data is not None or one.reason)
    if wrong:
        damaged = tuple(
            DamagedChunk(keys[name], one.reason or wrong, one.data or b"")
            for name, one in found.items()
            if one.data is not None or one.reason
        )
        return Examined(place, None, removed=there, damaged=damaged)
    rows = len(time.values)
    written, lost = {}, []
    for name in view.meta.schema.names:
        one = found[name]
        reason = one.reason or _mismatch(one, rows)
        if reason or one.data is None:
            lost.append(DamagedChunk(keys[name], reason or "the chunk is gone", one.data or b""))
            written[keys[name]] = _all_missing(rows, _dtype(view, name))
    sizes = {key: len(data) for key, data in written.items()}
    sizes |= {
        keys[name]: len(one.data)
        for name, one in found.items()
        if one.data is not None and keys[name] not in sizes
    }
    entry = _entry(view, codes.values, time.values, sum(sizes.values()), known, sequence)
    return Examined(place, entry, written, (), tuple(lost))


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    data: bytes | None
    values: NDArray[Any]
    reason: str = ""


def _read(view: FleetView, name: str, key: str) -> _Column:
    nothing = np.zeros(0, _dtype(view, name))
    try:
        stored = get_many(view.store, [key])[0]
    except ArchiveError as error:
        return _Column(None, nothing, str(error))
    if stored is None:
        return _Column(None, nothing)
    try:
        values = decode_block(stored, where=key).values
    except ArchiveError as error:
        return _Column(stored.tobytes(), nothing, str(error))
    if values.dtype != nothing.dtype:
        return _Column(stored.tobytes(), nothing, f"{key}: holds values of {values.dtype}")
    return _Column(stored.tobytes(), values)


def _why_not(view: FleetView, place: Place, codes: _Column, time: _Column) -> str:
    """Return why the rows cannot be used; empty if they can."""
    for name, one in (("device_index", codes), ("time", time)):
        if one.reason or one.data is None:
            return one.reason or f"{name} of the block is gone"
    window, number, _ = place
    length, scheme = view.meta.scheme.window_length, view.meta.scheme
    if len(codes.values) != len(time.values) or not len(time.values):
        return "device_index and time of the block differ in length"
    same = codes.values[1:] == codes.values[:-1]
    order = (codes.values[1:] > codes.values[:-1]) | (same & (time.values[1:] >= time.values[:-1]))
    if not order.all():
        return "the rows of the block are not in order"
    if time.values.min() < length.start(window) or time.values.max() >= length.start(window + 1):
        return "rows of the block lie outside of its window"
    first, last = device_range(number, scheme.devices_per_block)
    first, last = (0, view.registry.positions) if number == LANDING_BLOCK else (first, last)
    if codes.values[0] < first or codes.values[-1] >= min(last, view.registry.positions):
        return "rows of the block are of devices that do not belong to it"
    return ""


def _mismatch(one: _Column, rows: int) -> str:
    if one.data is None or len(one.values) == rows:
        return ""
    return f"the chunk has {len(one.values)} rows, the block {rows}"


def _version(view: FleetView, place: Place, known: NDArray[np.int64] | None) -> int:
    """Return the version of the schema that a block has: as the index says, or as its chunks tell."""
    history = view.meta.history
    told = 0 if known is None else int(known[INDEX_FIELDS.index("schema_version")])
    if history.is_plain or told in history.numbers:
        return told if told in history.numbers else history.newest
    keys = {name: chunk_key(view.meta.layout.raw_path(name), place) for name in history.stored}
    sizes = get_sizes(view.store, list(keys.values()))
    there = {name for name, size in zip(keys, sizes, strict=True) if size}
    # Versions with the same arrays say the same of them.
    fitting = [one.number for one in history if set(one.arrays.values()) == there]
    return fitting[-1] if fitting else history.newest


def _all_missing(rows: int, dtype: np.dtype[Any]) -> bytes:
    return encode_block(np.full(rows, fill_value(dtype), dtype), np.zeros(rows, np.bool_))


def _entry(
    view: FleetView,
    codes: NDArray[Any],
    time: NDArray[Any],
    size: int,
    known: NDArray[np.int64] | None,
    sequence: int,
) -> NDArray[np.int64]:
    told = dict(zip(INDEX_FIELDS, [] if known is None else known.tolist(), strict=False))
    version = int(told.get("schema_version", 0))
    fields = {
        "rows": len(time),
        "time_min": int(time.min()),
        "time_max": int(time.max()),
        "device_min": int(codes[0]),
        "device_max": int(codes[-1]),
        "schema_version": version
        if 0 < version <= view.meta.schema.version
        else view.meta.schema.version,
        "sequence": int(told.get("sequence", sequence)),
        "level": int(told.get("level", 0)),
        "bytes": size,
    }
    return np.array([fields[name] for name in INDEX_FIELDS], np.int64)


def _dtype(view: FleetView, name: str) -> np.dtype[Any]:
    kinds: Sequence[tuple[str, type]] = (("device_index", np.int32), ("time", np.int64))
    known = dict(kinds)
    if name in known:
        return np.dtype(known[name])
    return storage_dtype(view.meta.schema[name].dtype)
