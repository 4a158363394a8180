"""The records of a batch of messages, as columns of fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.connectors.payloads.members import member_column
from pipeline.connectors.payloads.messages import Message
from pipeline.connectors.payloads.rules import RECEIVED
from pipeline.connectors.payloads.values import Values

__all__ = ["DocumentMembers", "Members", "Records", "TextMembers"]


class Members(Protocol):
    """What the payloads of messages hold, one entry a record."""

    def column(self, path: str) -> Values:
        """Return the member at a path of every record."""
        ...

    def root_column(self, path: str) -> Values:
        """Return the member at a path of the document around every record."""
        ...

    def take(self, rows: NDArray[np.int64]) -> Members:
        """Return some of the records."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DocumentMembers:
    """Records that are documents, or parts of them.

    Parameters
    ----------
    records
        Trees of dicts and lists.
    roots
        The document around each.
    """

    records: Sequence[Any]
    roots: Sequence[Any]

    def column(self, path: str) -> Values:
        """Return the member at a path of every record; None where there is none."""
        return member_column(self.records, path)

    def root_column(self, path: str) -> Values:
        """Return the member at a path of the document around every record."""
        return member_column(self.roots, path)

    def take(self, rows: NDArray[np.int64]) -> DocumentMembers:
        """Return some of the records."""
        some = rows.tolist()
        return DocumentMembers([self.records[at] for at in some], [self.roots[at] for at in some])


@dataclass(frozen=True, slots=True, eq=False)
class TextMembers:
    """Records whose fields are columns of texts already.

    Parameters
    ----------
    columns
        ``string`` by name, shape (records,).
    rows
        Number of records.
    """

    columns: Mapping[str, pa.Array]
    rows: int

    def column(self, path: str) -> Values:
        """Return the texts of a field; null if there is no such."""
        found = self.columns.get(path)
        return pa.nulls(self.rows, pa.string()) if found is None else found

    def root_column(self, path: str) -> Values:
        """Return the same: there is no document around a line."""
        return self.column(path)

    def take(self, rows: NDArray[np.int64]) -> TextMembers:
        """Return some of the records."""
        some = pa.array(rows)
        return TextMembers(
            {name: texts.take(some) for name, texts in self.columns.items()}, len(rows)
        )


@dataclass(frozen=True, eq=False)
class Records:
    """The records of some messages.

    Parameters
    ----------
    members
        What the payloads say.
    messages
        The messages.
    owner
        ``int64``, shape (records,): which message each record is from, ascending.
    topic_texts
        Dictionaries of texts by name of the topic template, shape (messages,).
    """

    members: Members
    messages: Sequence[Message]
    owner: NDArray[np.int64]
    topic_texts: Mapping[str, pa.Array]

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def received(self) -> NDArray[np.int64]:
        """Receive times, ``int64`` microseconds since 1970-01-01 UTC, shape (records,)."""
        told = np.array([message.received for message in self.messages], np.int64)
        return told if self._one_each else told[self.owner]

    def take(self, rows: NDArray[np.int64]) -> Records:
        """Return some of the records."""
        return Records(self.members.take(rows), self.messages, self.owner[rows], self.topic_texts)

    @cached_property
    def _one_each(self) -> bool:
        return np.array_equal(self.owner, np.arange(len(self.messages)))

    def field(self, name: str) -> Values:
        """Return a field of every record, see `pipeline.connectors.payloads.rules`."""
        if name in self.topic_texts:
            return self._spread(self.topic_texts[name])
        place, _, rest = name.partition("/")
        if name == RECEIVED:
            return pa.array(self.received)
        if place == "message" and rest in ("topic", "key"):
            return self._spread(self._of_messages(rest))
        if place == "header":
            return self._spread(self._header(rest))
        if place == "root":
            return self.members.root_column(rest)
        return self.members.column(name)

    def _spread(self, texts: pa.Array) -> pa.Array:
        return texts if self._one_each else texts.take(pa.array(self.owner))

    def _of_messages(self, name: str) -> pa.Array:
        return pa.array([_text(getattr(message, name)) for message in self.messages], pa.string())

    def _header(self, name: str) -> pa.Array:
        found = [_text(dict(message.headers).get(name)) for message in self.messages]
        return pa.array(found, pa.string())


def _text(value: str | bytes | None) -> str | None:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
