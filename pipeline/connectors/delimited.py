"""Delimited text files (CSV and the like) and log files, as sources of rows.

Every physical line is accounted for exactly once: it becomes a row, or it is rejected whole
with a reason, or it is declared not to be data (blank, comment, header, ``ignore``). So one
line is one record; a quoted text cannot run over the end of a line.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.connectors.mapping import (
    PathFields,
    RowMapping,
    TextPiece,
    cut_file,
    first_line,
    list_files,
    map_rows,
    open_file,
    read_blocks,
    skip_mark,
    text_size,
)
from pipeline.errors import InvalidInputError
from pipeline.model.ports import Intake
from pipeline.model.rejects import Rejects
from pipeline.model.text_fields import match_fields, split_fields, split_line
from pipeline.model.text_lines import decode_lines, find_noise

__all__ = ["DelimitedFragment", "DelimitedSource"]

_BLOCK: Final = 8 * 1024 * 1024  # text read at once; some ten times that is held while it is mapped


@dataclass(frozen=True)
class DelimitedSource:
    r"""Text files of one record a line.

    Parameters
    ----------
    path
        A file, folder, URL or glob pattern, see `pipeline.connectors.mapping.files.find_files`;
        names ending ``.gz``, ``.bz2``, ``.xz``, ``.zst`` or ``.lz4`` are unpacked.
    mapping
        Which fields make the device, the time and the channels.
    separator
        Any text, or ``"whitespace"`` for runs of blanks and tabs.
    decimal
        The decimal mark of numbers.
    header
        Whether the first line that is data names the fields.
    columns
        The fields' names; needed without a header, and instead of its names if given with one.
    comment
        Lines that begin with this text are no data.
    quote
        The quote character of fields that contain the separator; empty for none. It has a
        meaning only for separators of one character.
    encoding
        Any encoding that keeps ASCII as it is; bytes that are not valid in it reject their line.
    skip_lines
        Lines at the head of every file that are no data.
    ignore
        Regular expression (RE2); lines where it is found are no data.
    pattern
        Regular expression (RE2) with named groups, for lines that are not delimited: the groups
        are the fields. A line that it does not match is rejected unless `ignore` finds it.
    piece_bytes
        Plain files are split into pieces of about so many bytes, each read by its own task.
    path_fields
        What paths tell as fields, such as ``"{site}/{device}.csv"``; see `PathFields`.
    storage_options
        Of an object store; see `find_files`.

    Raises
    ------
    InvalidInputError
        If options contradict each other or a regular expression is wrong.

    Examples
    --------
    In a job file::

        source:
          delimited:
            path: s3://plant/2024/**/*.csv.gz
            storage_options: {region: eu-north-1}
            separator: ";"
            mapping:
              device: "mote-{node}"
              time: {columns: [date, time], unit: strptime, pattern: "%d.%m.%Y %H:%M:%S"}
              channels:
                temperature: {column: temp, dtype: float64, units: degC, missing: ["-200"]}

    References
    ----------
    RFC 4180, Common Format and MIME Type for CSV Files.
    RE2 syntax, https://github.com/google/re2/wiki/Syntax
    """

    path: str | os.PathLike[str]
    mapping: RowMapping
    separator: str = ","
    decimal: str = "."
    header: bool = True
    columns: tuple[str, ...] = ()
    comment: str = ""
    quote: str = '"'
    encoding: str = "utf-8"
    skip_lines: int = 0
    ignore: str = ""
    pattern: str = ""
    piece_bytes: int = 256 * 1024 * 1024
    path_fields: str = ""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        _check_options(self)
        _check_expression(self.ignore)
        PathFields(self.path_fields)
        if self.pattern:
            _positions(self, _group_names(self.pattern), "the pattern")
        elif self.columns:
            _positions(self, self.columns, "the declared columns")

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables: that of the mapping."""
        return self.mapping.arrow_schema()

    def fragments(self) -> tuple[DelimitedFragment, ...]:
        """Return the pieces of every file, in order.

        Raises
        ------
        NotFoundError
            If `path` matches no file.
        InvalidInputError
            If the path of a file does not tell the fields that it has to.
        """
        files = list_files(self.path, self.storage_options)
        for file in files:
            PathFields(self.path_fields).read(file.path)
        return tuple(
            DelimitedFragment(self, file.path, *piece, file.state, text_size(file, piece))
            for file in files
            for piece in cut_file(file, self.piece_bytes)
        )

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """Return no tags: those of the mapping come with the rows."""
        return {}


def _check_options(source: DelimitedSource) -> None:
    problem = ""
    if not (source.header or source.columns or source.pattern):
        problem = "without a header, declare the names of the fields in columns"
    elif len(source.decimal) != 1 or source.decimal == source.separator:
        problem = f"decimal mark {source.decimal!r} has to be one character, not the separator"
    elif not source.separator or len(source.quote) > 1:
        problem = "separator may not be empty, and quote is one character or none"
    elif source.skip_lines < 0 or source.piece_bytes < 1:
        problem = "skip_lines and piece_bytes have to be positive"
    elif not _keeps_ascii(source.encoding):
        problem = (
            f"encoding {source.encoding!r} is unknown or no superset of ASCII; convert to UTF-8"
        )
    if problem:
        raise InvalidInputError(f"delimited source {str(source.path)!r}: {problem}")


def _keeps_ascii(encoding: str) -> bool:
    try:
        return "\n,0".encode(encoding) == b"\n,0"
    except LookupError:
        return False


def _group_names(pattern: str) -> tuple[str, ...]:
    try:
        found = pc.extract_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        msg = f"pattern {pattern!r} has to be an RE2 expression whose groups are named: {error}"
        raise InvalidInputError(msg) from error
    return tuple(field.name for field in found.type)


def _check_expression(expression: str) -> None:
    try:
        pc.match_substring_regex(pa.array([""]), expression)
    except pa.ArrowInvalid as error:
        msg = f"ignore {expression!r} has to be an RE2 expression: {error}"
        raise InvalidInputError(msg) from error


Fields = tuple[dict[str, pa.Array], NDArray[np.int64], dict[int, str]]


def _positions(source: DelimitedSource, names: tuple[str, ...], where: str) -> dict[str, int]:
    """Return the position of every field that the mapping needs, but for those of paths."""
    of_path = PathFields(source.path_fields).names
    needed = [name for name in source.mapping.columns if name not in of_path]
    wrong = [name for name in needed if names.count(name) != 1]
    if wrong:
        msg = f"the mapping needs each of {wrong} exactly once in {where}, which has {list(names)}"
        raise InvalidInputError(msg)
    return {name: names.index(name) for name in needed}


class DelimitedFragment(TextPiece[DelimitedSource]):
    """The lines of a file that begin in ``[start, stop)``."""

    def read(self) -> Iterator[Intake]:
        """Yield the rows of about 8 MiB of text at a time.

        Raises
        ------
        InvalidInputError
            If the header lacks a field that the mapping needs, or the file is no text.
        """
        with open_file(self.path, self.source.storage_options) as stream:
            head = _read_head(stream, self.source)
            ignored = head.lines if self.start == 0 else 0
            position = first_line(stream, head.end, self.start)
            for data in read_blocks(stream, position, self.stop, _BLOCK):
                yield self._intake(data, head.columns, ignored)
                ignored = 0
        if ignored:
            yield Intake(self.source.arrow_schema().empty_table(), ignored=ignored)

    def _intake(self, data: bytes, names: tuple[str, ...], ignored: int) -> Intake:
        source = self.source
        lines, spoiled = decode_lines(data, source.encoding)
        noise = find_noise(lines, source.comment, source.ignore) & ~spoiled
        rows = np.flatnonzero(~noise & ~spoiled)
        why = {
            int(row): f"the line is not valid {source.encoding}" for row in np.flatnonzero(spoiled)
        }
        columns, good, reasons = self._take_apart(lines.take(pa.array(rows)), names)
        columns = columns | PathFields(source.path_fields).columns(self.path, len(good))
        mapped = map_rows(columns, source.mapping, len(good), source.decimal)
        why |= {int(rows[row]): words for row, words in reasons.items()}
        why |= {int(rows[good[row]]): words for row, words in mapped.reasons.items()}
        bad = sorted(why)
        records = tuple(lines.take(pa.array(bad, pa.int64())).to_pylist())
        rejects = Rejects(records, tuple(why[row] for row in bad), self.path)
        return Intake(mapped.table, rejects, ignored + int(noise.sum()), mapped.tags)

    def _take_apart(self, lines: pa.Array, names: tuple[str, ...]) -> Fields:
        source = self.source
        if source.pattern:
            return match_fields(lines, source.pattern)
        fields, good, reasons = split_fields(lines, source.separator, source.quote, len(names))
        places = _positions(source, names, f"file {self.path!r}")
        columns = {name: pc.list_element(fields, place) for name, place in places.items()}
        return columns, good, reasons


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before a file's data: the fields' names, its lines, and the byte it ends at."""

    columns: tuple[str, ...]
    lines: int
    end: int


def _read_head(stream: BufferedReader, source: DelimitedSource) -> _Head:
    end = skip_mark(stream)
    lines = 0
    while lines < source.skip_lines and (line := stream.readline()):
        lines, end = lines + 1, end + len(line)
    columns = source.columns
    expect_header = source.header and not source.pattern
    while expect_header and (line := stream.readline()):
        lines, end = lines + 1, end + len(line)
        texts, _ = decode_lines(line, source.encoding)
        if not find_noise(texts, source.comment, source.ignore)[0]:
            columns, expect_header = columns or _header_names(texts[0].as_py(), source), False
    return _Head(columns, lines, end)


def _header_names(line: str, source: DelimitedSource) -> tuple[str, ...]:
    try:
        names = split_line(line, source.separator, source.quote)
    except csv.Error as error:
        msg = f"the header {line!r} of {str(source.path)!r} cannot be split: {error}"
        raise InvalidInputError(msg) from error
    return tuple(name.strip() for name in names)
