"""Records to rows, by a declared mapping: one row a record, or one value a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.connectors.mapping import device_tags, text_devices
from pipeline.connectors.payloads.long_form import Readings, read_long, to_rows
from pipeline.connectors.payloads.records import Records
from pipeline.connectors.payloads.rules import PayloadMapping
from pipeline.connectors.payloads.times import read_times
from pipeline.connectors.payloads.values import Reasons, Values, read_texts, read_values

__all__ = ["MappedRecords", "map_records"]

Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class MappedRecords:
    """What a mapping made of some records.

    Parameters
    ----------
    table
        The rows, in order, with the mapping's Arrow schema.
    reasons
        Why, for records that could not be read, by number.
    ignored
        How many records are declared not to be data.
    merged
        How many joined the row of an earlier one.
    tags
        Tags of devices that the rows told.
    """

    table: pa.Table
    reasons: Reasons
    ignored: int = 0
    merged: int = 0
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def map_records(records: Records, mapping: PayloadMapping, *, digits: bool) -> MappedRecords:
    """Read records as device, time and channels.

    Parameters
    ----------
    records
        Any number.
    mapping
        What their fields mean.
    digits
        As of `pipeline.connectors.payloads.times.read_times`.
    """
    chosen = _chosen(records, mapping)
    if chosen is not None:
        mapped = map_records(
            records.take(chosen), mapping.model_copy(update={"where": {}}), digits=digits
        )
        reasons = {int(chosen[row]): why for row, why in mapped.reasons.items()}
        ignored = mapped.ignored + len(records) - len(chosen)
        return MappedRecords(mapped.table, reasons, ignored, mapped.merged, mapped.tags)
    if not len(records):
        return MappedRecords(mapping.arrow_schema().empty_table(), {})
    fields = {name: records.field(name) for name in mapping.fields}
    device, devices = _devices(fields, mapping, len(records))
    received = records.received if mapping.time.missing == "received" else None
    time, times = read_times(fields, mapping.time, received, digits=digits)
    read = read_long if mapping.is_long else _read_wide
    readings = read(fields, mapping, len(records))
    reasons = readings.reasons | times | devices  # the first of these that is wrong is told
    idle = _ignored(readings.without, reasons, mapping)
    keep = np.ones(len(records), bool)
    keep[[*reasons, *idle]] = False
    table, merged = to_rows(device, time, readings, keep, mapping)
    tags = _tags(device, fields, keep, mapping)
    return MappedRecords(table, reasons, len(idle), merged, tags)


def _chosen(records: Records, mapping: PayloadMapping) -> Longs | None:
    """Return the records that `where` leaves over; None if it says nothing."""
    if not mapping.where:
        return None
    keep = np.ones(len(records), bool)
    for name, word in mapping.where.items():
        texts, _ = read_texts(records.field(name))
        same = pc.equal(texts.cast(pa.string()), word).fill_null(False)
        keep &= np.asarray(same.to_numpy(zero_copy_only=False), dtype=bool)
    return np.flatnonzero(keep)


def _devices(
    fields: Mapping[str, Values], mapping: PayloadMapping, rows: int
) -> tuple[pa.Array, Reasons]:
    rule = mapping.device
    texts: dict[str, pa.Array] = {}
    reasons: Reasons = {}
    for name in rule.columns:
        texts[name], why = read_texts(fields[name])
        reasons |= {row: f"device field {name!r} {words}" for row, words in why.items()}
    device = text_devices(texts, rule, rows)
    if device.null_count or device.dictionary.null_count:
        missing = np.flatnonzero(device.is_null().to_numpy(zero_copy_only=False)).tolist()
        named = ", ".join(map(repr, rule.columns))
        reasons = dict.fromkeys(missing, f"device is missing: no {named}") | reasons
    return device, reasons


def _read_wide(fields: Mapping[str, Values], mapping: PayloadMapping, rows: int) -> Readings:
    channels = {}
    reasons: Reasons = {}
    for name, rule in mapping.channels.items():
        channels[name], why = read_values(fields[rule.column or name], rule)
        reasons |= {row: f"channel {name!r} {words}" for row, words in why.items()}
    absent = np.ones(rows, bool)
    for name, rule in mapping.channels.items():
        if not absent.any():
            break
        absent &= _missing(fields[rule.column or name])
    return Readings(channels, None, reasons, np.flatnonzero(absent).tolist())


def _missing(values: Values) -> NDArray[np.bool_]:
    if isinstance(values, pa.Array):
        empty = values.is_null() if not pa.types.is_string(values.type) else _blank(values)
        return np.asarray(empty.to_numpy(zero_copy_only=False), dtype=bool)
    if None not in values:
        return np.zeros(len(values), bool)
    return np.array([value is None for value in values], bool)


def _blank(texts: pa.Array) -> pa.Array:
    return pc.equal(pc.ascii_trim_whitespace(texts), "").fill_null(True)


def _ignored(without: list[int], reasons: Reasons, mapping: PayloadMapping) -> list[int]:
    """Return the records without channels that are ignored; the others get a reason."""
    if mapping.other_fields == "ignore":
        for row in without:
            reasons.pop(row, None)
        return without
    names = sorted(rule.column or name for name, rule in mapping.channels.items())
    where = f"{mapping.channel!r} names" if mapping.is_long else "the record holds"
    reasons |= dict.fromkeys(without, f"{where} none of the channels {names}, or has no value")
    return []


def _tags(
    device: pa.Array, fields: Mapping[str, Values], keep: NDArray[np.bool_], mapping: PayloadMapping
) -> dict[str, dict[str, str]]:
    if not mapping.tags:
        return {}
    mask = pa.array(keep)
    told = {tag: read_texts(fields[name])[0].filter(mask) for tag, name in mapping.tags.items()}
    return device_tags(device.filter(mask), told)
