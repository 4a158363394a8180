"""The declaration: which parts of a message make the device, the time and each channel.

A *field* of a message is named by

- a name of the topic template, such as ``site`` of ``plants/{site}/{device}/telemetry``;
- ``header/NAME``, ``message/topic``, ``message/key`` or ``message/received``;
- ``root/PATH``, a member of the document around the records;
- anything else is the path of a member of the record, such as ``payload.temp-C`` or
  ``samples.0.value``; ``.`` is the record itself, for payloads that are a bare value.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.connectors.mapping import (
    ChannelMapping,
    DeviceMapping,
    RowMapping,
    TimeMapping,
    named,
)
from pipeline.connectors.payloads.topics import TopicTemplate

__all__ = ["RECEIVED", "PayloadMapping", "PayloadTime"]

RECEIVED: Final = "message/received"
"""The field that holds the receive time."""

_OF_MESSAGE: Final = ("message/topic", "message/key", RECEIVED)


class PayloadTime(TimeMapping):
    """Where a row's time comes from, and how it is written.

    Parameters
    ----------
    columns, unit, pattern, timezone, subsecond
        As of `pipeline.connectors.mapping.TimeMapping`.
    missing
        What becomes of a record without a time: ``"reject"`` it, or take the time at which its
        message was ``"received"``.
    """

    missing: Literal["reject", "received"] = "reject"

    @property
    def may_be_received(self) -> bool:
        """Whether the receive time may become the time of a row."""
        return self.missing == "received" or RECEIVED in self.columns

    @classmethod
    def of(cls, given: Any) -> Any:
        """Return a mapping for the short form: a field of ISO 8601 texts, or the receive time."""
        if given == RECEIVED:
            return {"columns": given, "unit": "us"}
        return super().of(given)


class PayloadMapping(BaseModel):
    """How messages become rows: one row a record, or one value a record in the long form.

    Parameters
    ----------
    device
        A `DeviceMapping`, or a field, or a template over fields such as ``"{site}-{device}"``.
    time
        A `PayloadTime`, or a field of ISO 8601 texts, or ``message/received``.
    channels
        A `ChannelMapping` per channel, in the order of the fleet's schema. Its `column` is a
        field; in the long form it is the text by which records name the channel.
    topic
        A `TopicTemplate`; messages of other topics are rejected. Empty for any topic.
    records
        Path of the array of records within a document. By default a document is a record, and
        a document that is an array holds records.
    channel, value
        The long form: the field that names the channel, and the field that holds its value.
        Records of one device and time become one row.
    tags
        Fields that become tags of the device, by the tag's name; or a list of fields.
    where
        Texts that fields have to have; other records are ignored.
    other_fields
        What becomes of records that have none of the channels: ``"reject"`` tells of a misspelt
        field; ``"ignore"`` suits topics that carry more than is archived.

    Raises
    ------
    pydantic.ValidationError
        If a key is unknown or a value is wrong; the message names it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Annotated[DeviceMapping, BeforeValidator(DeviceMapping.of)]
    time: Annotated[PayloadTime, BeforeValidator(PayloadTime.of)]
    channels: Annotated[dict[str, ChannelMapping], Field(min_length=1)]
    topic: str = ""
    records: str = ""
    channel: str = ""
    value: str = ""
    tags: Annotated[dict[str, str], BeforeValidator(named)] = Field(default_factory=dict)
    where: dict[str, str] = Field(default_factory=dict)
    other_fields: Literal["reject", "ignore"] = "reject"

    @model_validator(mode="after")
    def _check(self) -> PayloadMapping:
        self.arrow_schema()
        TopicTemplate(self.topic)
        if bool(self.channel) != bool(self.value):
            msg = "channel and value go together: the field that names a channel, and its value's"
            raise ValueError(msg)
        wrong = [name for name in self.fields if _is_unknown(name)]
        if wrong:
            msg = f"fields {wrong}: of a message there are {', '.join(_OF_MESSAGE)}"
            raise ValueError(msg)
        if RECEIVED in self.time.columns and (len(self.time.columns) > 1 or self.time.unit != "us"):
            msg = f"time {RECEIVED!r} stands alone and takes no unit but us; write time: {RECEIVED}"
            raise ValueError(msg)
        return self

    @property
    def is_long(self) -> bool:
        """Whether a record holds the value of one channel."""
        return bool(self.channel)

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that is needed, once."""
        found = [*self.device.columns, *self.time.columns, *self.tags.values(), *self.where]
        if self.is_long:
            found += [self.channel, self.value]
        else:
            found += [rule.column or name for name, rule in self.channels.items()]
        return tuple(dict.fromkeys(found))

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the rows: device, time, and the channels with metadata."""
        rows = RowMapping.model_validate(
            {"device": self.device, "time": {"columns": "time"}, "channels": self.channels}
        )
        return rows.arrow_schema()


def _is_unknown(name: str) -> bool:
    return name.startswith("message/") and name not in _OF_MESSAGE
