"""Messages as brokers hand them over, and what decoding a batch of them yields."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from pipeline.model.rejects import Rejects
from pipeline.model.timestamps import format_time

__all__ = ["Decoded", "Decoder", "Message", "RejectedMessage"]


class Message(NamedTuple):
    """One message of a broker; a named tuple, because thousands are made a second.

    Parameters
    ----------
    topic
        Where it was published.
    payload
        Its bytes, as they came.
    received
        When it arrived: microseconds since 1970-01-01 UTC.
    key
        Of brokers that have keys.
    headers
        Pairs of names and values (MQTT 5 user properties, Kafka headers); of a name that
        occurs several times the last one counts.
    """

    topic: str
    payload: bytes
    received: int
    key: bytes | None = None
    headers: tuple[tuple[str, str | bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """A message that could not be stored, or not all of it, whole.

    Parameters
    ----------
    message
        As it came.
    reason
        Why, in words a person can act on.
    records
        How many of its records are not among the rows; 1 if it could not be read at all.
    """

    message: Message
    reason: str
    records: int = 1

    def document(self) -> str:
        """Return the message as a JSON object, for the quarantine.

        The payload is a text if it is valid UTF-8, and base64 in the member
        ``payload_base64`` otherwise; so are key and header values.
        """
        told: dict[str, Any] = {
            "topic": self.message.topic,
            "received": format_time(self.message.received),
            **_written("payload", self.message.payload),
        }
        if self.message.key is not None:
            told |= _written("key", self.message.key)
        if self.message.headers:
            pairs = self.message.headers
            told["headers"] = [{"name": name, **_written("value", value)} for name, value in pairs]
        return json.dumps(told, ensure_ascii=False)


def _written(name: str, value: str | bytes) -> dict[str, str]:
    if isinstance(value, str):
        return {name: value}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The rows of a batch of messages, and what became of everything else.

    Every record is accounted for exactly once:
    ``records == table.num_rows + merged + ignored + rejected``.

    Parameters
    ----------
    table
        Columns ``device`` (dictionary of texts), ``time`` (``timestamp[us, tz=UTC]``) and the
        channels in their own types, in the order of the messages: ready for ``Fleet.append``.
    rejects
        Messages that are not stored, or not wholly, in order.
    records
        How many the messages held; one that cannot be read, or is empty, counts as one.
    merged
        Records of the long form that joined the row of an earlier one.
    ignored
        Records that are declared not to be data.
    tags
        Tags of devices that the messages told, by device id.
    events
        What the sender's protocol asks for, such as `pipeline.connectors.payloads.sparkplug`
        rebirth requests.
    """

    table: pa.Table
    rejects: tuple[RejectedMessage, ...] = ()
    records: int = 0
    merged: int = 0
    ignored: int = 0
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    events: tuple[Any, ...] = ()

    @property
    def rejected(self) -> int:
        """Number of records that are not among the rows because they could not be."""
        return sum(reject.records for reject in self.rejects)

    def quarantine(self, source: str = "") -> Rejects:
        """Return the rejected messages as JSON objects with their reasons, to be stored."""
        documents = tuple(reject.document() for reject in self.rejects)
        return Rejects(documents, tuple(reject.reason for reject in self.rejects), source)


class Decoder(Protocol):
    """Turns messages of one format into rows. May hold state, so each stream has its own."""

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables."""
        ...

    def decode(self, messages: Sequence[Message]) -> Decoded:
        """Decode messages, thousands at a time; what is in them never raises."""
        ...
