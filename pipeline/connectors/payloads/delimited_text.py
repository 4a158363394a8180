"""CSV payloads: one record a line, any number of lines a message."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.connectors.payloads.accounting import account
from pipeline.connectors.payloads.formats import MappedFormat
from pipeline.connectors.payloads.lines import JoinedLines, join_lines
from pipeline.connectors.payloads.messages import Decoded, Decoder, Message
from pipeline.connectors.payloads.records import Records, TextMembers
from pipeline.connectors.payloads.rows import MappedRecords, map_records
from pipeline.connectors.payloads.topics import TopicTemplate
from pipeline.model.text_fields import split_fields, split_line
from pipeline.model.text_lines import decode_lines, find_noise

__all__ = ["CsvPayload"]


class CsvPayload(MappedFormat):
    """CSV in UTF-8; with a single column also payloads that are a bare number or word.

    Parameters
    ----------
    mapping
        Which columns make the device, the time and the channels.
    columns
        Their names, in order.
    header
        Whether every payload begins with a line that names the columns; it has to name these.
    separator
        Any text, or ``"whitespace"``.
    quote
        The quote character of texts that contain the separator; empty for none.

    References
    ----------
    RFC 4180, Common Format and MIME Type for CSV Files.
    """

    name: ClassVar[str] = "csv"

    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    header: bool = False
    separator: Annotated[str, Field(min_length=1)] = ","
    quote: Annotated[str, Field(max_length=1)] = '"'

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        repeated = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if repeated:
            msg = f"columns {repeated} occur more than once"
            raise ValueError(msg)
        names = TopicTemplate(self.mapping.topic).names
        wanted = [name for name in self.mapping.fields if name not in names and "/" not in name]
        missing = [name for name in wanted if name not in self.columns]
        if missing:
            msg = f"the mapping needs {missing}, which are not among the columns {self.columns}"
            raise ValueError(msg)
        return self

    def decoder(self) -> Decoder:
        """Return a new decoder, for one stream."""
        return _CsvDecoder(self)


class _CsvDecoder:
    def __init__(self, payload: CsvPayload) -> None:
        self._payload = payload
        self._template = TopicTemplate(payload.mapping.topic)

    def arrow_schema(self) -> pa.Schema:
        return self._payload.arrow_schema()

    def decode(self, messages: Sequence[Message]) -> Decoded:
        topics = self._template.read([message.topic for message in messages])
        joined = join_lines(messages, topics.unknown(self._payload.mapping.topic))
        mapped = self._mapped(joined, messages, topics.texts)
        return account(messages, joined.owner, mapped, joined.failures)

    def _mapped(
        self, joined: JoinedLines, messages: Sequence[Message], topics: Mapping[str, pa.Array]
    ) -> MappedRecords:
        payload = self._payload
        if not joined.data:
            return MappedRecords(payload.arrow_schema().empty_table(), {})
        lines, spoiled = decode_lines(joined.data, "utf-8")
        why = dict.fromkeys(np.flatnonzero(spoiled).tolist(), "the line is not valid utf-8")
        noise = find_noise(lines, "", "") & ~spoiled
        if payload.header:
            why |= self._read_headers(lines, joined.owner, noise)
        noise[list(why)] = False
        rows = np.flatnonzero(~noise)
        rows = np.setdiff1d(rows, list(why), assume_unique=True)
        fields, good, reasons = split_fields(
            lines.take(pa.array(rows)), payload.separator, payload.quote, len(payload.columns)
        )
        why |= {int(rows[row]): words for row, words in reasons.items()}
        texts = {name: pc.list_element(fields, at) for at, name in enumerate(payload.columns)}
        kept = rows[good]
        members = TextMembers(texts, len(kept))
        records = Records(members, messages, joined.owner[kept], topics)
        mapped = map_records(records, payload.mapping, digits=True)
        why |= {int(kept[row]): words for row, words in mapped.reasons.items()}
        ignored = mapped.ignored + int(noise.sum())
        return MappedRecords(mapped.table, why, ignored, mapped.merged, mapped.tags)

    def _read_headers(
        self, lines: pa.Array, owner: NDArray[np.int64], noise: NDArray[np.bool_]
    ) -> dict[int, str]:
        """Mark the headers as noise; return reasons for all lines below others than declared."""
        some = np.flatnonzero(~noise)
        messages, first = np.unique(owner[some], return_index=True)
        heads = some[first]
        texts = lines.take(pa.array(heads)).to_pylist()
        right = {text: self._names(text) == list(self._payload.columns) for text in set(texts)}
        why: dict[int, str] = {}
        for message, head, text in zip(messages, heads.tolist(), texts, strict=True):
            if right[text]:
                noise[head] = True
                continue
            reason = f"the header is {text!r}; expected are the columns {self._payload.columns}"
            below = np.flatnonzero((owner == message) & ~noise)
            why |= dict.fromkeys(below.tolist(), reason)
        return why

    def _names(self, text: str) -> list[str]:
        try:
            names = split_line(text, self._payload.separator, self._payload.quote)
        except csv.Error:
            return []
        return [name.strip() for name in names]
