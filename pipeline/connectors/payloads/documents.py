"""Payloads that are documents (trees of objects and arrays) to rows, whatever the format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.connectors.payloads.accounting import account
from pipeline.connectors.payloads.members import Unreadable, follow
from pipeline.connectors.payloads.messages import Decoded, Message
from pipeline.connectors.payloads.records import DocumentMembers, Records
from pipeline.connectors.payloads.rows import map_records
from pipeline.connectors.payloads.rules import PayloadMapping
from pipeline.connectors.payloads.topics import TopicTemplate

__all__ = ["DocumentDecoder", "Documents", "read_documents"]


@dataclass(slots=True, eq=False)
class Documents:
    """The records of payloads.

    Parameters
    ----------
    records, roots
        Trees, and the document around each.
    owner
        Which message each record is from, ascending.
    failures
        Why, for messages that cannot be read, by number.
    broken
        Message and reason of records that cannot be read beside others that can.
    empty
        Number of messages that hold no records.
    """

    records: list[Any] = field(default_factory=list)
    roots: list[Any] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    broken: list[tuple[int, str]] = field(default_factory=list)
    empty: int = 0


def read_documents(
    messages: Sequence[Message],
    load: Callable[[Message], Any],
    path: str,
    strange: dict[int, str],
) -> Documents:
    """Read payloads and find the records in them.

    Parameters
    ----------
    messages
        Any number.
    load
        Reads a payload; may raise anything for what it cannot read.
    path
        Of the array of records in a document; empty if documents are records, or arrays of them.
    strange
        Messages not to be read, and why.
    """
    failures = dict(strange)
    documents: list[Any] = []
    keep = documents.append
    for number, message in enumerate(messages):
        if strange and number in strange:
            continue
        try:
            keep(load(message))
        except Exception as error:  # libraries raise all kinds for bytes of strangers
            failures[number] = str(error) or type(error).__name__
    numbers = list(range(len(messages)))
    if failures:
        numbers = [number for number in numbers if number not in failures]
    if not path and set(map(type, documents)) <= {dict}:
        return Documents(documents, documents, numbers, failures)
    found = Documents(failures=failures)
    for number, document in zip(numbers, documents, strict=True):
        _add(found, number, document, path)
    return found


def _add(found: Documents, number: int, document: Any, path: str) -> None:
    if not path and type(document) is list and set(map(type, document)) == {dict}:
        found.records += document
        found.roots += document
        found.owner += [number] * len(document)
        return
    roots = document if isinstance(document, list) else [document]
    before = len(found.records) + len(found.broken)
    for root in roots:
        if isinstance(root, Unreadable):
            found.broken.append((number, root.reason))
            continue
        inner = follow(root, path) if path else root
        if path and inner is None:
            found.broken.append((number, f"there is no array of records at {path!r}"))
            continue
        records = inner if path and isinstance(inner, list) else [inner]
        found.records += records
        found.roots += [root] * len(records)
        found.owner += [number] * len(records)
    found.empty += len(found.records) + len(found.broken) == before


class DocumentDecoder:
    """Decodes payloads that are documents.

    Parameters
    ----------
    load
        Reads one payload as a tree of dicts and lists; raises for what it cannot read.
    mapping
        What the documents mean.
    digits
        As of `pipeline.connectors.payloads.times.read_times`.
    """

    def __init__(
        self, load: Callable[[Message], Any], mapping: PayloadMapping, *, digits: bool = False
    ) -> None:
        self._load = load
        self._mapping = mapping
        self._digits = digits
        self._template = TopicTemplate(mapping.topic)

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables: that of the mapping."""
        return self._mapping.arrow_schema()

    def decode(self, messages: Sequence[Message]) -> Decoded:
        """Decode messages, thousands at a time; what is in them never raises."""
        topics = self._template.read([message.topic for message in messages])
        strange = topics.unknown(self._mapping.topic)
        documents = read_documents(messages, self._load, self._mapping.records, strange)
        owner = np.asarray(documents.owner, np.int64)
        members = DocumentMembers(documents.records, documents.roots)
        records = Records(members, messages, owner, topics.texts)
        mapped = map_records(records, self._mapping, digits=self._digits)
        return account(
            messages, owner, mapped, documents.failures, documents.broken, documents.empty
        )
