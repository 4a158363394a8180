"""Columns of texts to typed rows, by a declared mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.connectors.mapping.rules import ChannelMapping, DeviceMapping, RowMapping, TimeMapping
from pipeline.model.number_texts import NumberStyle, parse_numbers
from pipeline.model.time_columns import parse_times

__all__ = ["MappedRows", "device_tags", "map_rows", "read_channel", "text_devices"]


@dataclass(frozen=True, slots=True, eq=False)
class MappedRows:
    """What a mapping made of some rows.

    Parameters
    ----------
    table
        The rows that could be read, in order, with the mapping's Arrow schema.
    reasons
        Why, for the other rows, by row number of the input.
    tags
        What the rows that could be read tell of their devices.
    """

    table: pa.Table
    reasons: dict[int, str]
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def map_rows(
    columns: Mapping[str, pa.Array], mapping: RowMapping, rows: int, decimal: str = "."
) -> MappedRows:
    """Read columns of texts as device, time and channels.

    Parameters
    ----------
    columns
        Texts, shape (rows,), at least those of ``mapping.columns``; null or empty is missing,
        and blanks around a text do not count.
    mapping
        What the columns mean.
    rows
        Number of rows.
    decimal
        The decimal mark of the numbers.
    """
    texts = {name: _cleaned(columns[name]) for name in mapping.columns}
    device = text_devices(texts, mapping.device, rows)
    missing = np.asarray(device.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    found = [{int(row): "device is missing" for row in np.flatnonzero(missing)}]
    time, reasons = _read_times(texts, mapping.time)
    found.append(reasons)
    arrays = [device, time]
    for name, rule in mapping.channels.items():
        array, why = read_channel(texts[rule.column or name], rule, decimal)
        found.append({row: f"channel {name!r} {words}" for row, words in why.items()})
        arrays.append(array)
    first = {row: why for part in reversed(found) for row, why in part.items()}
    table = pa.table(arrays, schema=mapping.arrow_schema())
    told = {tag: texts[name] for tag, name in mapping.tags.items()}
    if first:
        keep = np.ones(rows, bool)
        keep[list(first)] = False
        mask = pa.array(keep)
        table, device = table.filter(mask), device.filter(mask)
        told = {tag: column.filter(mask) for tag, column in told.items()}
    return MappedRows(table, first, device_tags(device, told))


def _cleaned(texts: pa.Array) -> pa.Array:
    trimmed = pc.ascii_trim_whitespace(texts)
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def text_devices(columns: Mapping[str, pa.Array], rule: DeviceMapping, rows: int) -> pa.Array:
    """Return the device ids of rows as a dictionary of texts, null where a field is missing."""
    if rule.constant:
        codes = pa.array(np.zeros(rows, np.int32))
        return pa.DictionaryArray.from_arrays(codes, pa.array([rule.constant]))
    if rule.column:
        column = columns[rule.column]
        encoded = column.type.equals(pa.dictionary(pa.int32(), pa.string()))
        return column if encoded else column.cast(pa.string()).dictionary_encode()
    pieces: list[pa.Array | pa.Scalar] = []
    for literal, name in rule.parts():
        pieces.append(pa.scalar(literal, pa.string()))
        if name:
            pieces.append(columns[name].cast(pa.string()))
    joined = pc.binary_join_element_wise(*pieces, pa.scalar("", pa.string()))
    return joined.dictionary_encode()


def device_tags(device: pa.Array, columns: Mapping[str, pa.Array]) -> dict[str, dict[str, str]]:
    """Return the tags of each device, as its first row tells that has a value.

    Parameters
    ----------
    device
        Dictionary of ids, shape (rows,).
    columns
        Texts, or what can be cast to them, by the tag's name; shape (rows,). Null and empty are
        no value.
    """
    found: dict[str, dict[str, str]] = {}
    ids = device.dictionary.to_pylist()
    codes = np.asarray(device.indices.fill_null(len(ids)))
    for name, column in columns.items():
        texts = column.cast(pa.string())
        told = pc.fill_null(pc.not_equal(texts, ""), False)
        rows = np.flatnonzero(told.to_numpy(zero_copy_only=False))[::-1]
        first = np.full(len(ids) + 1, -1)
        first[codes[rows]] = rows  # backwards, so the first row is written last
        some = np.flatnonzero(first[:-1] >= 0)
        values = texts.take(pa.array(first[some])).to_pylist()
        for code, value in zip(some, values, strict=True):
            found.setdefault(ids[code], {})[name] = value
    return found


def _read_times(
    texts: Mapping[str, pa.Array], rule: TimeMapping
) -> tuple[pa.Array, dict[int, str]]:
    joined = texts[rule.columns[0]]
    if len(rule.columns) > 1:
        joined = pc.binary_join_element_wise(*(texts[name] for name in rule.columns), " ")
    parsed = parse_times(joined, rule.format())
    time = pa.array(parsed.time.astype(np.int64, copy=False))
    return time.cast(pa.timestamp("us", tz="UTC")), parsed.reasons


def read_channel(
    texts: pa.Array, rule: ChannelMapping, decimal: str = "."
) -> tuple[pa.Array, dict[int, str]]:
    """Read texts as the values of a channel.

    Parameters
    ----------
    texts
        ``string``, shape (rows,); null is missing.
    rule
        How the values are written.
    decimal
        The decimal mark of numbers.

    Returns
    -------
    values
        Of the channel's Arrow type, shape (rows,); null where missing or bad.
    reasons
        Why, by row number; the words follow the channel's name.
    """
    if rule.missing:
        known = pc.is_in(texts, value_set=pa.array(rule.missing, texts.type))
        texts = pc.if_else(known, None, texts)
    if rule.dtype == "category":
        return texts.cast(pa.string()).dictionary_encode(), {}
    style = NumberStyle(decimal, rule.base, rule.scale)
    values, reasons = parse_numbers(texts, rule.dtype, style)
    return pc.if_else(texts.is_valid(), pa.array(values), None), reasons
