"""Records of one value each: the channel is named by a field, and rows are put together.

Values of one device and time belong in one row, because a fleet that keeps the last of two rows
of a device and time would otherwise keep one value and forget the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.connectors.payloads.rules import PayloadMapping
from pipeline.connectors.payloads.values import Reasons, Values, read_texts, read_values

__all__ = ["Readings", "read_long", "to_rows"]

Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """The values of records, by channel.

    Parameters
    ----------
    channels
        Arrays of the channels' types, by name; shape (records,), or in the long form one entry
        for each of the channel's own records.
    places
        In the long form the numbers of the records that each channel's values are from,
        ascending; None in the wide form.
    reasons
        Why, for records whose value could not be read.
    without
        Records that hold none of the channels.
    """

    channels: Mapping[str, pa.Array]
    places: Mapping[str, Longs] | None
    reasons: Reasons
    without: list[int]


def read_long(fields: Mapping[str, Values], mapping: PayloadMapping, rows: int) -> Readings:
    """Read one value a record, for the channel that the record names."""
    names, bad = read_texts(fields[mapping.channel])
    reasons = {row: f"channel field {mapping.channel!r} {why}" for row, why in bad.items()}
    names = names if pa.types.is_dictionary(names.type) else names.dictionary_encode()
    known = {text: code for code, text in enumerate(names.dictionary.to_pylist())}
    codes = np.asarray(names.indices.fill_null(-1))
    values = fields[mapping.value]
    channels, places = {}, {}
    without = np.ones(rows, bool)
    for name, rule in mapping.channels.items():
        found = np.flatnonzero(codes == known.get(rule.column or name, -2))
        array, why = read_values(_some(values, found), rule)
        channels[name], places[name] = array, found
        reasons |= {int(found[row]): f"channel {name!r} {words}" for row, words in why.items()}
        without[found] = np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    without[list(reasons)] = False
    return Readings(channels, places, reasons, np.flatnonzero(without).tolist())


def _some(values: Values, rows: Longs) -> Values:
    if isinstance(values, pa.Array):
        return values.take(pa.array(rows))
    return [values[row] for row in rows.tolist()]


def to_rows(
    device: pa.Array,
    time: pa.Array,
    readings: Readings,
    keep: NDArray[np.bool_],
    mapping: PayloadMapping,
) -> tuple[pa.Table, int]:
    """Make rows of records.

    Parameters
    ----------
    device
        Dictionary of ids, shape (records,).
    time
        ``timestamp[us, tz=UTC]``, shape (records,).
    readings
        The values.
    keep
        Bool, shape (records,): the records to store.
    mapping
        Whose schema the table has.

    Returns
    -------
    table
        In the order of the first record of each row.
    merged
        How many records joined the row of an earlier one.
    """
    schema = mapping.arrow_schema()
    mask = None if keep.all() else pa.array(keep)
    if readings.places is None:
        table = pa.table([device, time, *readings.channels.values()], schema=schema)
        return (table if mask is None else table.filter(mask)), 0
    row_of, first = _together(device, time, readings.places, keep)
    arrays = [device.take(pa.array(first)), time.take(pa.array(first))]
    for name, array in readings.channels.items():
        places = readings.places[name]
        kept = np.flatnonzero(keep[places])
        at = np.full(len(first), -1)
        at[row_of[places[kept]]] = kept
        arrays.append(array.take(pa.array(at, mask=at < 0)))
    return pa.table(arrays, schema=schema), int(keep.sum()) - len(first)


def _together(
    device: pa.Array, time: pa.Array, places: Mapping[str, Longs], keep: NDArray[np.bool_]
) -> tuple[Longs, Longs]:
    """Return which row each record belongs to, and the first record of each row.

    A channel that occurs again at the same device and time begins another row: which of the two
    counts is for the fleet to say.
    """
    kept = np.flatnonzero(keep)
    channel = np.zeros(len(keep), np.int64)
    for number, rows in enumerate(places.values()):
        channel[rows] = number
    keys = [np.asarray(device.indices.fill_null(-1))[kept], np.asarray(time.cast(pa.int64()))[kept]]
    _, again = _ranked([*keys, channel[kept]])
    groups, _ = _ranked([*keys, again])
    first = np.full(groups.max(initial=-1) + 1, len(keep))
    np.minimum.at(first, groups, kept)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    row_of = np.full(len(keep), -1)
    row_of[kept] = rank[groups]
    return row_of, first[order]


def _ranked(keys: list[NDArray[np.int64]]) -> tuple[Longs, Longs]:
    """Return for each entry the number of its group, and how many of the group are before it."""
    count = len(keys[0])
    order = np.lexsort(keys[::-1])  # stable, so a group stays in its order
    fresh = np.zeros(count, bool)
    fresh[:1] = True
    for key in keys:
        ordered = key[order]
        fresh[1:] |= ordered[1:] != ordered[:-1]
    number = np.cumsum(fresh) - 1
    starts = np.flatnonzero(fresh)
    groups, ranks = np.empty(count, np.int64), np.empty(count, np.int64)
    groups[order] = number
    ranks[order] = np.arange(count) - starts[number]
    return groups, ranks
