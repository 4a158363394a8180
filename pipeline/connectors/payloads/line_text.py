"""InfluxDB line protocol as payloads, such as Telegraf publishes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import field_validator

from pipeline.connectors.line_protocol import LineMapping, read_numbered
from pipeline.connectors.payloads.accounting import account
from pipeline.connectors.payloads.formats import PayloadFormat
from pipeline.connectors.payloads.lines import join_lines
from pipeline.connectors.payloads.messages import Decoded, Decoder, Message
from pipeline.connectors.payloads.rows import MappedRecords
from pipeline.connectors.payloads.topics import TopicTemplate

__all__ = ["LineProtocolPayload"]


class LineProtocolPayload(PayloadFormat):
    """Line protocol, any number of lines a message.

    Parameters
    ----------
    mapping
        Which tags make the device, and which fields the channels.
    topic
        A `TopicTemplate`; its names stand in for tags that a line does not have.
    missing_time
        What becomes of a line without a time: ``"reject"`` it, or take the time at which its
        message was ``"received"``.

    References
    ----------
    InfluxData, Line protocol,
    https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
    """

    name: ClassVar[str] = "line_protocol"

    mapping: LineMapping
    topic: str = ""
    missing_time: Literal["reject", "received"] = "reject"

    @field_validator("topic")
    @classmethod
    def _check_topic(cls, topic: str) -> str:
        return TopicTemplate(topic).template

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the rows: that of the mapping."""
        return self.mapping.arrow_schema()

    def topic_template(self) -> str:
        """Return the template of the topics; empty for any."""
        return self.topic

    def may_take_receive_time(self) -> bool:
        """Return whether rows may have the time at which their message was received."""
        return self.missing_time == "received"

    def decoder(self) -> Decoder:
        """Return a new decoder, for one stream."""
        return _LineDecoder(self)


class _LineDecoder:
    def __init__(self, payload: LineProtocolPayload) -> None:
        self._payload = payload
        self._template = TopicTemplate(payload.topic)

    def arrow_schema(self) -> pa.Schema:
        return self._payload.arrow_schema()

    def decode(self, messages: Sequence[Message]) -> Decoded:
        topics = self._template.read([message.topic for message in messages])
        lines = join_lines(messages, topics.unknown(self._payload.topic))
        arrived = None
        if self._payload.missing_time == "received":
            arrived = np.array([message.received for message in messages], np.int64)[lines.owner]
        spare = {name: texts.take(pa.array(lines.owner)) for name, texts in topics.texts.items()}
        found = read_numbered(lines.data, self._payload.mapping, arrived, spare)
        mapped = MappedRecords(found.table, found.reasons, found.ignored, tags=found.tags)
        return account(messages, lines.owner, mapped, lines.failures)
