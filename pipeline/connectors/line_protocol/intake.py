"""Bytes of line protocol to rows: of a file's block, or of one payload of a live stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.connectors.line_protocol.columns import Columns, LineColumns, read_columns
from pipeline.connectors.line_protocol.rules import LineMapping
from pipeline.connectors.line_protocol.values import read_field, read_integers
from pipeline.connectors.mapping import device_tags, text_devices
from pipeline.model.ports import Intake
from pipeline.model.rejects import Rejects
from pipeline.model.text_lines import decode_lines
from pipeline.model.time_columns import parse_times

__all__ = ["NumberedRows", "read_lines", "read_numbered"]

_NAMES = pa.dictionary(pa.int32(), pa.string())
_UTC = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True, eq=False)
class NumberedRows:
    """The rows of some lines, and what became of the others.

    Parameters
    ----------
    table
        The rows, in the order of their lines.
    reasons
        Why, for lines that could not be read, by number.
    ignored
        Number of lines that are no data, or that the mapping ignores.
    tags
        Tags of devices that the rows told, by device id.
    """

    table: pa.Table
    reasons: dict[int, str]
    ignored: int
    tags: Mapping[str, Mapping[str, str]]


def read_lines(
    data: bytes, mapping: LineMapping, source: str = "", arrived: int | None = None
) -> Intake:
    """Read lines as rows.

    Every line is accounted for exactly once: a row, a reject kept whole with its reason, or
    ignored (blank lines, comments, and what the mapping ignores).

    Parameters
    ----------
    data
        Whole lines.
    mapping
        What they mean.
    source
        Where they are from, for the rejects.
    arrived
        Microseconds since 1970-01-01 UTC: the time of rows whose lines have none. By default
        such lines are rejected.
    """
    found = read_numbered(data, mapping, arrived)
    rejects = Rejects()
    if found.reasons:
        bad = sorted(found.reasons)
        lines, _ = decode_lines(data, "utf-8")
        records = tuple(lines.take(pa.array(bad)).to_pylist())
        rejects = Rejects(records, tuple(found.reasons[row] for row in bad), source)
    return Intake(found.table, rejects, found.ignored, found.tags)


def read_numbered(
    data: bytes,
    mapping: LineMapping,
    arrived: int | NDArray[np.int64] | None = None,
    spare: Mapping[str, pa.Array] = MappingProxyType({}),
) -> NumberedRows:
    """Read lines as rows, and tell of the others by their numbers, which count from 0.

    Parameters
    ----------
    data
        Whole lines.
    mapping
        What they mean.
    arrived
        Microseconds since 1970-01-01 UTC, one or for each line: the time of rows whose lines
        have none. By default such lines are rejected.
    spare
        Texts by key, shape (lines,): what stands in for tags that a line does not have.
    """
    plain, why = _sound(data)
    found = read_columns(plain, mapping)
    ignored = found.ignored - len(why)  # lines that are not valid stand there as blank ones
    table, tags, reasons = _rows(found, mapping, arrived, spare)
    nothing = [row for row, words in reasons.items() if words == _NOTHING]
    if nothing and mapping.other_fields == "ignore":
        ignored += len(nothing)
        reasons = {row: words for row, words in reasons.items() if words != _NOTHING}
    elif nothing:
        message = f"the line has none of the fields {sorted(mapping.field_keys)}"
        reasons |= dict.fromkeys(nothing, message)
    return NumberedRows(table, why | found.reasons | reasons, ignored, tags)


_NOTHING = "nothing"


def _sound(data: bytes) -> tuple[bytes, dict[int, str]]:
    """Return lines of valid UTF-8 that end in newlines, blank ones in place of others."""
    why: dict[int, str] = {}
    try:
        data.decode()
    except UnicodeDecodeError:
        lines, spoiled = decode_lines(data, "utf-8")
        why = {int(row): "the line is not valid utf-8" for row in np.flatnonzero(spoiled)}
        kept = pc.if_else(pa.array(spoiled), "", lines).to_pylist()
        data = "".join(f"{line}\n" for line in kept).encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    return data if data.endswith(b"\n") or not data else data + b"\n", why


def _rows(
    found: LineColumns,
    mapping: LineMapping,
    arrived: int | NDArray[np.int64] | None,
    spare: Mapping[str, pa.Array],
) -> tuple[pa.Table, Mapping[str, Mapping[str, str]], dict[int, str]]:
    """Return the rows, tags of devices, and reasons by number of the line."""
    schema = mapping.arrow_schema()
    if not found.columns:
        return schema.empty_table(), {}, {}
    rows, joined = _joined(found.columns, mapping)
    count = len(rows)
    tags = {key: _filled(joined.tags[key], spare.get(key), rows) for key in mapping.tag_keys}
    device = text_devices(tags, mapping.device, count)
    parts = [_missing_devices(device, tags, mapping)]
    told = arrived[rows] if isinstance(arrived, np.ndarray) else arrived
    time, reasons = _times(joined.time, mapping, told)
    parts.append(reasons)
    arrays = [device, time]
    for name, rule in mapping.channels.items():
        values, words = read_field(joined.fields[rule.column or name], rule)
        arrays.append(values)
        parts.append({row: f"channel {name!r} {why}" for row, why in words.items()})
    absent = np.all([_nulls(joined.fields[key]) for key in mapping.field_keys], axis=0)
    parts.insert(0, dict.fromkeys(np.flatnonzero(absent).tolist(), _NOTHING))
    first = {row: why for part in reversed(parts) for row, why in part.items()}
    table = pa.table(arrays, schema=schema)
    noted = {key: tags[key] for key in mapping.tags}
    if first:
        keep = np.ones(count, bool)
        keep[list(first)] = False
        mask = pa.array(keep)
        table, device = table.filter(mask), device.filter(mask)
        noted = {key: column.filter(mask) for key, column in noted.items()}
    return table, device_tags(device, noted), {int(rows[row]): why for row, why in first.items()}


def _joined(parts: list[Columns], mapping: LineMapping) -> tuple[NDArray[np.int64], Columns]:
    """Join the groups of lines in the order of the lines."""
    rows = np.concatenate([part.rows for part in parts])
    order = None if len(parts) == 1 else pa.array(np.argsort(rows))

    def join(columns: list[pa.Array | None], kind: pa.DataType) -> pa.Array:
        filled = [
            pa.nulls(len(part.rows), kind) if column is None else column
            for part, column in zip(parts, columns, strict=True)
        ]
        if len(filled) == 1:
            return filled[0]
        chunks = pa.chunked_array(filled, kind)
        if pa.types.is_dictionary(kind):
            chunks = chunks.unify_dictionaries()
        return chunks.combine_chunks().take(order)

    tags = {key: join([part.tags.get(key) for part in parts], _NAMES) for key in mapping.tag_keys}
    fields = {
        key: join([part.fields.get(key) for part in parts], pa.string())
        for key in mapping.field_keys
    }
    time = join([part.time for part in parts], pa.string())
    return np.sort(rows), Columns(rows, tags, fields, time)


def _filled(tags: pa.Array, spare: pa.Array | None, rows: NDArray[np.int64]) -> pa.Array:
    """Put spare texts where lines do not have the tag."""
    if spare is None or not tags.null_count:
        return tags
    texts = spare.cast(pa.string()).take(pa.array(rows))
    return pc.coalesce(tags.cast(pa.string()), texts).dictionary_encode()


def _missing_devices(
    device: pa.Array, tags: Mapping[str, pa.Array], mapping: LineMapping
) -> dict[int, str]:
    reasons = {}
    for row in np.flatnonzero(_nulls(device)).tolist():
        missing = [key for key in mapping.device.columns if not tags[key][row].is_valid]
        reasons[row] = f"device is missing: the line has no tag {', '.join(map(repr, missing))}"
    return reasons


def _times(
    texts: pa.Array, mapping: LineMapping, arrived: int | NDArray[np.int64] | None
) -> tuple[pa.Array, dict[int, str]]:
    numbers, bad = read_integers(texts)
    none = _nulls(texts)
    parsed = parse_times(pa.array(numbers, mask=none | bad), mapping.time_format())
    reasons = dict(parsed.reasons)
    time = parsed.time
    for row in np.flatnonzero(bad).tolist():
        reasons[row] = f"time {texts[row].as_py()!r} is not a whole number of 64 bits"
    if none.any():
        for row in np.flatnonzero(none).tolist():
            reasons[row] = "time is missing"
            if arrived is not None:
                del reasons[row]
        if arrived is not None:
            time = np.where(none, arrived, time)
    return pa.array(time.astype(np.int64, copy=False)).cast(_UTC), reasons


def _nulls(array: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=bool)
