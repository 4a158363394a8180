"""Sparkplug B: births, data and deaths of edge nodes and their devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final, Literal

import pyarrow as pa
from pydantic import BeforeValidator, Field

from pipeline.connectors.mapping import DeviceMapping
from pipeline.connectors.payloads.documents import DocumentDecoder
from pipeline.connectors.payloads.formats import PayloadFormat
from pipeline.connectors.payloads.members import Unreadable
from pipeline.connectors.payloads.messages import Decoded, Decoder, Message
from pipeline.connectors.payloads.rules import PayloadMapping, PayloadTime
from pipeline.connectors.payloads.sparkplug_nodes import (
    Definition,
    Event,
    Key,
    KnownMetrics,
    NodeTable,
)
from pipeline.connectors.payloads.sparkplug_schema import payload_class
from pipeline.errors import InvalidInputError

__all__ = ["SparkplugMapping", "SparkplugPayload", "rebirth_command"]

_NAMESPACE: Final = "spBv1.0"
_BIRTHS: Final = ("NBIRTH", "DBIRTH")
_DATA: Final = ("NDATA", "DDATA")
_DEATHS: Final = ("NDEATH", "DDEATH")
_COMMANDS: Final = ("NCMD", "DCMD")
_SIGNED: Final = {1: 8, 2: 16, 3: 32, 4: 64}
"""Bits by the number of the type: Int8, Int16, Int32, Int64."""
_BOOLEAN: Final = 11


class SparkplugMapping(PayloadMapping):
    """How metrics become rows; every part has a default but the channels.

    Parameters
    ----------
    device
        By default ``id``: ``group/node``, or ``group/node/device`` for metrics of a device.
        Other fields of a metric are ``group``, ``node``, ``device``, ``metric`` (its name),
        ``value``, ``type`` (a number), ``historical`` and ``time``.
    time
        By default the metric's own, or that of its message, or the receive time.
    channel, value
        By default ``metric`` names the channel, and ``value`` holds its value.
    other_fields
        By default ``"ignore"``, because births name everything that a node has.
    """

    device: Annotated[DeviceMapping, BeforeValidator(DeviceMapping.of)] = DeviceMapping(column="id")
    time: Annotated[PayloadTime, BeforeValidator(PayloadTime.of)] = PayloadTime(
        columns=("time",), unit="ms", missing="received"
    )
    channel: str = "metric"
    value: str = "value"
    other_fields: Literal["reject", "ignore"] = "ignore"


class SparkplugPayload(PayloadFormat):
    """Sparkplug B.

    Data whose sequence number or alias shows that a birth or a message was missed yields a
    `RebirthRequest` among the events; what can be understood of it is stored all the same. A
    death yields `DeviceGone`. Commands and the states of hosts are ignored.

    Parameters
    ----------
    mapping
        What metrics mean.
    ask_again_s
        Seconds after which a rebirth that did not come is asked for again.

    References
    ----------
    Eclipse Sparkplug Specification 3.0.0, https://sparkplug.eclipse.org/specification/
    """

    name: ClassVar[str] = "sparkplug_b"

    mapping: SparkplugMapping
    ask_again_s: Annotated[float, Field(gt=0)] = 10.0

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the rows: that of the mapping."""
        return self.mapping.arrow_schema()

    def topic_template(self) -> str:
        """Return the template of the topics: all of Sparkplug, unless the mapping has one."""
        return self.mapping.topic or f"{_NAMESPACE}/#"

    def may_take_receive_time(self) -> bool:
        """Return whether rows may have the time at which their message was received."""
        return self.mapping.time.may_be_received

    def decoder(self) -> Decoder:
        """Return a new decoder, for one stream; it knows of no births yet.

        Raises
        ------
        MissingDependencyError
            If protobuf is not installed.
        """
        return _SparkplugDecoder(self)


def rebirth_command(timestamp: int) -> bytes:
    """Return the payload of the command that asks an edge node for its births.

    It is published on the topic of the `RebirthRequest` with QoS 0, not retained.

    Parameters
    ----------
    timestamp
        Now: milliseconds since 1970-01-01 UTC.

    Raises
    ------
    MissingDependencyError
        If protobuf is not installed.
    """
    payload = payload_class(SparkplugPayload.name)(timestamp=timestamp)
    payload.metrics.add(
        name="Node Control/Rebirth", timestamp=timestamp, datatype=_BOOLEAN, boolean_value=True
    )
    return bytes(payload.SerializeToString())


class _SparkplugDecoder:
    def __init__(self, payload: SparkplugPayload) -> None:
        self._parse = payload_class(payload.name).FromString
        self._nodes = NodeTable(round(payload.ask_again_s * 1_000_000))
        self._events: list[Event] = []
        self._rows = DocumentDecoder(self._load, payload.mapping)

    def arrow_schema(self) -> pa.Schema:
        return self._rows.arrow_schema()

    def decode(self, messages: Sequence[Message]) -> Decoded:
        decoded = self._rows.decode(messages)
        events, self._events = tuple(self._events), []
        return replace(decoded, events=events)

    def _load(self, message: Message) -> list[Any]:
        kind, key, device = _address(message.topic)
        if not kind or kind in _COMMANDS:
            return []
        payload = self._parse(message.payload)
        seq = payload.seq if payload.HasField("seq") else None
        received = message.received
        if kind in _DEATHS:
            if device:
                self._events += self._nodes.data(key, seq, received)
            self._events += self._nodes.death(key, device, _session(payload), received)
            return []
        if kind in _BIRTHS:
            told = [_definition(metric) for metric in payload.metrics if metric.name]
            self._events += self._nodes.birth(key, device, seq, _session(payload), told, received)
        else:
            self._events += self._nodes.data(key, seq, received)
        known = self._nodes.metrics(key, device)
        base = _base(key, device)
        sent = payload.timestamp if payload.HasField("timestamp") else None
        records = [_record(metric, known, base, sent) for metric in payload.metrics]
        lost = next((record for record in records if isinstance(record, Unreadable)), None)
        if lost is not None:
            self._events += self._nodes.request(key, lost.reason, received)
        return records


def _record(
    metric: Any, known: KnownMetrics, base: dict[str, Any], sent: int | None
) -> dict[str, Any] | Unreadable:
    """Return the fields of a metric; `sent` is the time of its message in milliseconds."""
    name = metric.name
    found = known.by_name.get(name) if name else known.by_alias.get(metric.alias)
    if found is None and not name:
        return Unreadable(f"alias {metric.alias} is unknown: no birth of {base['id']!r} tells it")
    datatype = metric.datatype or (0 if found is None else found.datatype)
    return {
        **base,
        "metric": name if found is None else found.name,
        "type": datatype,
        "value": _value(metric, datatype),
        "time": metric.timestamp if metric.HasField("timestamp") else sent,
        "historical": metric.is_historical,
    }


def _address(topic: str) -> tuple[str, Key, str]:
    """Return the kind of message, the node and the device; no kind for states of hosts.

    Raises
    ------
    InvalidInputError
        If it is no topic of Sparkplug B.
    """
    levels = topic.split("/")
    if levels[0] == _NAMESPACE and levels[1:2] == ["STATE"]:
        return "", ("", ""), ""
    kind = levels[2] if len(levels) > 2 else ""
    known = (*_BIRTHS, *_DATA, *_DEATHS, *_COMMANDS)
    if levels[0] != _NAMESPACE or kind not in known or len(levels) != 4 + (kind[0] == "D"):
        msg = f"{topic!r} is no topic of Sparkplug B, such as {_NAMESPACE}/group/DDATA/node/device"
        raise InvalidInputError(msg)
    return kind, (levels[1], levels[3]), levels[4] if kind[0] == "D" else ""


def _base(key: Key, device: str) -> dict[str, Any]:
    parts = (*key, device) if device else key
    return {"id": "/".join(parts), "group": key[0], "node": key[1], "device": device or None}


def _definition(metric: Any) -> Definition:
    alias = metric.alias if metric.HasField("alias") else None
    return Definition(metric.name, metric.datatype, alias)


def _session(payload: Any) -> int | None:
    for metric in payload.metrics:
        if metric.name == "bdSeq":
            return int(metric.long_value or metric.int_value)
    return None


def _value(metric: Any, datatype: int) -> Any:
    which = metric.WhichOneof("value")
    if metric.is_null or which is None:
        return None
    value = getattr(metric, which)
    bits = _SIGNED.get(datatype)
    if bits is None or which not in ("int_value", "long_value"):
        return value
    return _signed(value, bits, 32 if which == "int_value" else 64)


def _signed(value: int, bits: int, sent: int) -> int:
    """Read two's complement, of the type's own width or extended to the width that was sent."""
    if value >= 1 << (sent - 1):
        return value - (1 << sent)
    if 1 << (bits - 1) <= value < 1 << bits:
        return value - (1 << bits)
    return value
