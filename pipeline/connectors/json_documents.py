"""JSON messages in files, one array or one document a line, as sources of rows."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from itertools import batched
from typing import Any, Final

import pyarrow as pa

from pipeline.connectors.mapping import (
    FoundFile,
    PathFields,
    RowMapping,
    TextPiece,
    cut_file,
    first_line,
    list_files,
    map_rows,
    open_file,
    text_size,
)
from pipeline.errors import InvalidInputError
from pipeline.model.ports import Intake
from pipeline.model.rejects import Rejects

__all__ = ["JsonFragment", "JsonSource", "array_elements"]

_CHUNK: Final = 1024 * 1024
_LONGEST: Final = 16 * 1024 * 1024
_DOCUMENTS: Final = 32_768  # documents a piece
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?P<closed>")?|[{}\[\],]', re.DOTALL)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class JsonSource:
    """Files of JSON documents.

    A file whose first character is ``[`` is one array of documents; any other holds one
    document a line. Every document is accounted for exactly once, like the lines of a text
    file: a row, a reject kept whole, or ignored by `where` (blank lines are ignored too).

    Parameters
    ----------
    path
        A file, folder, URL or glob pattern, see `pipeline.connectors.mapping.files.find_files`;
        compressed files are unpacked.
    mapping
        Which members make the device, the time and the channels, by dotted paths such as
        ``"payload.node-id"`` or ``"samples.0.value"``. A member that a document lacks is
        missing. Numbers are taken by their digits, so declared scales stay exact.
    where
        Texts that members have to have, by path; other documents are ignored.
    piece_bytes
        Plain files of one document a line are split into pieces of about so many bytes, each
        read by its own task.
    path_fields
        What paths tell as fields, such as ``"{site}/{device}.json"``; see `PathFields`.
    storage_options
        Of an object store; see `find_files`.

    Examples
    --------
    In a job file::

        source:
          json:
            path: messages/**/*.ndjson.zst
            where: {topic: telemetry}
            mapping:
              device: payload.node-id
              time: {columns: received, unit: ms}
              channels:
                temperature: {column: payload.temp-C, dtype: float64, units: degC}

    References
    ----------
    RFC 8259, The JavaScript Object Notation (JSON) Data Interchange Format.
    """

    path: str | os.PathLike[str]
    mapping: RowMapping
    where: Mapping[str, str] = field(default_factory=dict)
    piece_bytes: int = 256 * 1024 * 1024
    path_fields: str = ""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.piece_bytes < 1:
            msg = f"json source {str(self.path)!r}: piece_bytes has to be positive"
            raise InvalidInputError(msg)
        PathFields(self.path_fields)

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables: that of the mapping."""
        return self.mapping.arrow_schema()

    def fragments(self) -> tuple[JsonFragment, ...]:
        """Return the pieces of every file, in order; a file that is one array is one piece.

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
            JsonFragment(self, file.path, *piece, file.state, text_size(file, piece))
            for file in files
            for piece in self._pieces(file)
        )

    def _pieces(self, file: FoundFile) -> list[tuple[int, int | None]]:
        pieces = cut_file(file, self.piece_bytes)
        if len(pieces) == 1:
            return pieces
        with open_file(file.path, self.storage_options) as stream:
            return [(0, None)] if _is_array(stream) else pieces

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """Return no tags: those of the mapping come with the rows."""
        return {}


class JsonFragment(TextPiece[JsonSource]):
    """The documents of a file, or those lines of it that begin in ``[start, stop)``."""

    def read(self) -> Iterator[Intake]:
        """Yield the rows of some thousand documents at a time.

        Raises
        ------
        InvalidInputError
            If a document is longer than 16 MiB.
        """
        with open_file(self.path, self.source.storage_options) as stream:
            documents = _documents(stream, self.start, self.stop)
            for texts in batched(documents, _DOCUMENTS):
                yield self._intake(texts)

    def _intake(self, texts: Sequence[str]) -> Intake:
        mapping, where = self.source.mapping, self.source.where
        told = PathFields(self.source.path_fields).read(self.path)
        wanted = _wanted(mapping, told)
        why: dict[int, str] = {}
        rows: list[int] = []
        fields: dict[str, list[str | None]] = {name: [] for name in wanted}
        ignored = 0
        for row, text in enumerate(texts):
            found = _read_document(text, wanted, where)
            if found is None:
                ignored += 1
            elif isinstance(found, str):
                why[row] = found
            else:
                rows.append(row)
                for name, value in zip(fields, found, strict=True):
                    fields[name].append(value)
        columns = {name: pa.array(values, pa.string()) for name, values in fields.items()}
        columns |= PathFields(self.source.path_fields).columns(self.path, len(rows))
        mapped = map_rows(columns, mapping, len(rows))
        why |= {rows[row]: words for row, words in mapped.reasons.items()}
        bad = sorted(why)
        rejects = Rejects(
            tuple(texts[row] for row in bad), tuple(why[row] for row in bad), self.path
        )
        return Intake(mapped.table, rejects, ignored, mapped.tags)


def _wanted(mapping: RowMapping, told: Container[str]) -> dict[str, bool]:
    """Return the paths of the members to read, and whether each is a channel's."""
    channels = {rule.column or name for name, rule in mapping.channels.items()}
    return {path: path in channels for path in mapping.columns if path not in told}


def _read_document(
    text: str, wanted: Mapping[str, bool], where: Mapping[str, str]
) -> list[str | None] | str | None:
    """Return the texts of the wanted members; why there are none; or None for ignored."""
    if not text.strip():
        return None
    try:
        document = json.loads(text, parse_float=str, parse_int=str, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return f"the document is not valid JSON: {error}"
    if not isinstance(document, dict):
        return "the document is not a JSON object"
    if any(_text(_member(document, path)) != word for path, word in where.items()):
        return None
    members = {path: _text(_member(document, path)) for path in wanted}
    return _problem(members, wanted) or list(members.values())


def _text(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else value


def _problem(members: Mapping[str, Any], wanted: Mapping[str, bool]) -> str | None:
    nested = [path for path, value in members.items() if isinstance(value, dict | list)]
    if nested:
        return f"members {nested} hold objects or arrays, not single values"
    if not any(members[path] is not None for path, is_channel in wanted.items() if is_channel):
        channels = sorted(path for path, is_channel in wanted.items() if is_channel)
        return f"the document holds none of the members {channels}"
    if any(value is not None and _SURROGATE.search(value) for value in members.values()):
        return "the document holds a text that is not valid Unicode"
    return None


def _refuse(name: str) -> str:
    msg = f"{name} is no JSON number"
    raise ValueError(msg)


def _member(document: Any, path: str) -> Any:
    """Follow a dotted path; a key that itself has dots is found as well."""
    if isinstance(document, dict) and path in document:
        return document[path]
    head, dot, rest = path.partition(".")
    inner = None
    if isinstance(document, dict):
        inner = document.get(head) if dot else None
    elif isinstance(document, list) and head.isdecimal() and int(head) < len(document):
        inner = document[int(head)]
    return _member(inner, rest) if dot else inner


def _is_array(stream: BufferedReader) -> bool:
    return stream.peek(4096).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["


def _documents(stream: BufferedReader, start: int, stop: int | None) -> Iterator[str]:
    """Yield the text of every document, valid or not."""
    if stop is None and _is_array(stream):
        decoder = codecs.getincrementaldecoder("utf-8-sig")("backslashreplace")
        chunks = iter(lambda: stream.read(_CHUNK), b"")
        yield from array_elements(decoder.decode(chunk) for chunk in chunks)
        return
    position = first_line(stream, 0, start)
    while (stop is None or position < stop) and (line := stream.readline(_LONGEST)):
        position += len(line)
        if len(line) == _LONGEST:
            msg = f"a document is longer than {_LONGEST} bytes; split it"
            raise InvalidInputError(msg)
        yield line.decode("utf-8", "backslashreplace").lstrip("\ufeff").rstrip("\r\n")


def array_elements(chunks: Iterator[str]) -> Iterator[str]:
    """Yield the text of every element of one JSON array, and of what follows its end, if any.

    Elements are told apart by brackets and quotes alone, so one that is no valid JSON does not
    take its neighbours with it, as long as its own brackets and quotes pair up.
    """
    held, depth, begin, at = "", 0, 0, 0
    for chunk in chunks:
        held += chunk
        if len(held) > _LONGEST + _CHUNK:
            msg = f"a document is longer than {_LONGEST} characters; split it"
            raise InvalidInputError(msg)
        for token in _TOKEN.finditer(held, at):
            mark = token.group()
            if mark[0] == '"' and not token["closed"]:
                break
            depth = max(depth + (mark in "[{") - (mark in "]}"), 0)
            if mark == "[" and depth == 1:
                begin = token.end()
            elif (mark == "," and depth == 1) or (mark == "]" and depth == 0):
                yield from _element(held[begin : token.start()])
                begin = token.end()
        else:
            token = None
        at = token.start() if token else len(held)  # a text goes on in the next chunk
        held, at, begin = held[begin:], at - begin, 0
    yield from _element(held)


def _element(text: str) -> Iterator[str]:
    if text.strip():
        yield text.strip()
