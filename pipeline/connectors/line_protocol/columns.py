"""Blocks of line protocol to columns of texts.

Lines of the ordinary form with equally many tags and fields are a table once their separators
are one and the same byte, so Arrow's reader of delimited texts splits them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from pipeline.connectors.line_protocol.grammar import (
    Line,
    parse_line,
    unescape_measurement,
    unescape_name,
)
from pipeline.connectors.line_protocol.marks import SEPARATOR, Marks, find_marks
from pipeline.connectors.line_protocol.rules import LineMapping
from pipeline.model.arrow_arrays import flat

__all__ = ["Columns", "LineColumns", "read_columns"]

_FEW: Final = 16  # so many lines are taken apart one by one as fast as together
_NAMES: Final = pa.dictionary(pa.int32(), pa.string())
Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Lines that have the same tags and fields, as far as they are wanted.

    Parameters
    ----------
    rows
        ``int64``, shape (rows,): their numbers.
    tags
        Dictionaries of texts by key, shape (rows,); a key that is not there is missing.
    fields
        ``string`` by key, shape (rows,): values as they are written.
    time
        ``string``, shape (rows,); null where there is none.
    """

    rows: Longs
    tags: dict[str, pa.Array]
    fields: dict[str, pa.Array]
    time: pa.Array


@dataclass(slots=True, eq=False)
class LineColumns:
    """What became of the lines of a block.

    Parameters
    ----------
    columns
        Lines that could be taken apart and are wanted.
    reasons
        Why, for lines that could not, by number.
    ignored
        Number of comments, blank lines and lines of other measurements.
    """

    columns: list[Columns] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)
    ignored: int = 0


def read_columns(data: bytes, mapping: LineMapping) -> LineColumns:
    """Take lines apart.

    Parameters
    ----------
    data
        UTF-8, whole lines that end in newlines.
    mapping
        Which tags and fields are wanted, of which measurements.
    """
    found = LineColumns()
    block = np.frombuffer(data, np.uint8)
    marks = find_marks(block)
    found.ignored = int(marks.comment.sum())
    single = np.flatnonzero(~marks.ordinary & ~marks.comment)
    odd = [single]
    for rows in _shapes(marks):
        odd += _read_shape(marks, rows, mapping, found)
    _read_singly(data, marks.offsets, np.sort(np.concatenate(odd)), mapping, found)
    return found


def _shapes(marks: Marks) -> Iterator[Longs]:
    """Yield the numbers of ordinary lines that have equally many tags and parts."""
    rows = np.flatnonzero(marks.ordinary)
    shape = marks.parts[rows] * (1 << 32) + marks.tags[rows]
    distinct, which = np.unique(shape, return_inverse=True)
    if len(distinct) == 1:
        yield rows
        return
    for number in range(len(distinct)):
        yield rows[which == number]


def _read_shape(
    marks: Marks, rows: Longs, mapping: LineMapping, found: LineColumns
) -> Iterator[Longs]:
    """Read lines of one shape, and yield those that have to be read one by one."""
    if len(rows) < _FEW:
        yield rows
        return
    shape = _Shape(int(marks.tags[rows[0]]), int(marks.parts[rows[0]]))
    keys = shape.key_places
    table = _split(marks, rows, shape, keys)
    codes = [flat(table.column(at)) for at in range(len(keys))]
    several = [np.asarray(column.indices) for column in codes if len(column.dictionary) > 1]
    groups = [(np.arange(len(rows)), rows)]
    if several:
        _, which = np.unique(np.stack(several), axis=1, return_inverse=True)
        order = np.argsort(which, kind="stable")
        starts = np.flatnonzero(np.diff(which[order], prepend=-1))
        groups = [(part, rows[part]) for part in np.split(order, starts[1:])]
    for part, group in groups:
        names = [column[part[0]].as_py() for column in codes]
        if len(group) < _FEW or not _read_group(marks, group, shape, names, mapping, found):
            yield group


@dataclass(frozen=True, slots=True)
class _Shape:
    """How many tags lines have, and how many separators."""

    tags: int
    parts: int

    @property
    def has_time(self) -> bool:
        return self.parts % 2 == 1

    @property
    def key_places(self) -> list[int]:
        """Where the measurement stands, and the keys of tags and fields."""
        tags = [1 + 2 * at for at in range(self.tags)]
        fields = range(1 + 2 * self.tags, self.parts + 1 - self.has_time, 2)
        return [0, *tags, *fields]


def _read_group(
    marks: Marks,
    rows: Longs,
    shape: _Shape,
    names: Sequence[str],
    mapping: LineMapping,
    found: LineColumns,
) -> bool:
    """Read lines that have the same keys in the same places; False if a key is there twice."""
    tags = [unescape_name(name) for name in names[1 : 1 + shape.tags]]
    fields = [unescape_name(name) for name in names[1 + shape.tags :]]
    if len(set(tags)) < len(tags) or len(set(fields)) < len(fields):
        return False
    measurement = unescape_measurement(names[0])
    if mapping.measurements and measurement not in mapping.measurements:
        found.ignored += len(rows)
        return True
    places = shape.key_places[1:]
    tag_places = {key: at + 1 for key, at in zip(tags, places, strict=False)}
    field_places = {key: at + 1 for key, at in zip(fields, places[shape.tags :], strict=True)}
    wanted_tags = [key for key in mapping.tag_keys if key in tag_places]
    wanted = [key for key in mapping.field_keys if key in field_places]
    taken = [tag_places[key] for key in wanted_tags] + [field_places[key] for key in wanted]
    table = _split(marks, rows, shape, [*taken, *([shape.parts] if shape.has_time else [])])
    arrays = [flat(column) for column in table.columns]
    time = arrays.pop() if shape.has_time else pa.nulls(len(rows), pa.string())
    values = dict(zip(wanted_tags, map(_unescaped, arrays), strict=False))
    if "measurement" in mapping.tag_keys and "measurement" not in tag_places:
        values["measurement"] = _constant(measurement, len(rows))
    texts = dict(zip(wanted, arrays[len(wanted_tags) :], strict=True))
    found.columns.append(Columns(rows, values, texts, time))
    return True


def _split(marks: Marks, rows: Longs, shape: _Shape, places: Sequence[int]) -> pa.Table:
    """Return some parts of lines of one shape: names as dictionaries, values as texts."""
    if not places:
        return pa.table({})  # no columns would mean all of them to the reader
    names = {*shape.key_places, *(2 + 2 * at for at in range(shape.tags))}
    columns = [str(at) for at in range(shape.parts + 1)]
    types = {column: _NAMES if int(column) in names else pa.string() for column in columns}
    data = _gather(marks, rows)
    return pacsv.read_csv(
        pa.BufferReader(data),
        pacsv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=columns),
        pacsv.ParseOptions(
            delimiter=chr(SEPARATOR), quote_char=False, double_quote=False, escape_char=False
        ),
        pacsv.ConvertOptions(
            check_utf8=False,  # it was checked as a whole
            column_types=types,
            include_columns=[str(at) for at in places],
        ),
    )


def _gather(marks: Marks, rows: Longs) -> pa.Buffer:
    """Return the text of some lines, one behind the other."""
    offsets = pa.py_buffer(marks.offsets.astype(np.int32))
    text = pa.py_buffer(marks.text)
    count = len(marks.offsets) - 1
    if len(rows) == count:
        return text
    lines = pa.Array.from_buffers(pa.binary(), count, [None, offsets, text]).take(pa.array(rows))
    _, ends, data = lines.buffers()
    return data.slice(0, int(np.frombuffer(ends, np.int32)[len(lines)]))


def _unescaped(texts: pa.Array) -> pa.Array:
    names = texts.dictionary.to_pylist()
    plain = [unescape_name(name) for name in names]
    if plain == names:
        return texts
    return pa.DictionaryArray.from_arrays(texts.indices, pa.array(plain, pa.string()))


def _constant(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def _read_singly(
    data: bytes, offsets: Longs, rows: Longs, mapping: LineMapping, found: LineColumns
) -> None:
    lines: list[Line] = []
    kept: list[int] = []
    for row in rows.tolist():
        line = parse_line(data[offsets[row] : offsets[row + 1]].decode())
        if isinstance(line, str):
            found.reasons[row] = line
        elif line is None or (
            mapping.measurements and line.measurement not in mapping.measurements
        ):
            found.ignored += 1
        else:
            lines.append(line)
            kept.append(row)
    if not lines:
        return
    tags = {
        key: pa.array([_tag(line, key) for line in lines], pa.string()).dictionary_encode()
        for key in mapping.tag_keys
    }
    fields = {
        key: pa.array([line.fields.get(key) for line in lines], pa.string())
        for key in mapping.field_keys
    }
    time = pa.array([line.time for line in lines], pa.string())
    found.columns.append(Columns(np.array(kept), tags, fields, time))


def _tag(line: Line, key: str) -> str | None:
    return line.tags.get(key, line.measurement if key == "measurement" else None)
