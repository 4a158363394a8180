"""Readings of two channels as messages of every payload format, one or many a message."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import cbor2
import fastavro
import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from pipeline.connectors.payloads import Message, descriptor_set_of
from pipeline.connectors.payloads.sparkplug_schema import payload_class

__all__ = ["FORMATS", "MAPPING", "Reading", "made_readings", "messages_of", "options_of"]

_START: Final = 1_700_000_000_000
_DEVICES: Final = 1000
_CHANNELS: Final = {"temperature": {"dtype": "float64"}, "humidity": {"dtype": "float64"}}
MAPPING: Final[dict[str, Any]] = {
    "topic": "plants/{site}/{device}/telemetry",
    "device": "device",
    "time": {"columns": "time", "unit": "ms"},
    "channels": _CHANNELS,
}
"""How all formats but three become rows."""


class Reading(NamedTuple):
    """One row to be."""

    time: int
    temperature: float
    humidity: float


def made_readings(count: int) -> list[Reading]:
    """Return readings a millisecond apart, with one and two decimals."""
    return [
        Reading(_START + at, round(20 + at % 97 / 10, 1), round(40 + at % 1009 / 100, 2))
        for at in range(count)
    ]


def _json(readings: Sequence[Reading]) -> bytes:
    documents = [reading._asdict() for reading in readings]
    return json.dumps(documents[0] if len(documents) == 1 else documents).encode()


def _msgpack(readings: Sequence[Reading]) -> bytes:
    documents = [reading._asdict() for reading in readings]
    return msgspec.msgpack.encode(documents[0] if len(documents) == 1 else documents)


def _cbor(readings: Sequence[Reading]) -> bytes:
    documents = [reading._asdict() for reading in readings]
    return cbor2.dumps(documents[0] if len(documents) == 1 else documents)


def _csv(readings: Sequence[Reading]) -> bytes:
    return "\n".join(",".join(map(str, reading)) for reading in readings).encode()


def _lines(readings: Sequence[Reading]) -> bytes:
    lines = [f"climate temperature={t!r},humidity={h!r} {at}" for at, t, h in readings]
    return "\n".join(lines).encode()


def _pack(readings: Sequence[Reading], labels: Sequence[Any]) -> list[dict[Any, Any]]:
    base, time, name, value = labels
    records: list[dict[Any, Any]] = []
    for reading in readings:
        at = reading.time / 1000
        records.append({time: at, name: "temperature", value: reading.temperature})
        records.append({time: at, name: "humidity", value: reading.humidity})
    records[0][base] = "urn:dev:x:"
    return records


def _senml_json(readings: Sequence[Reading]) -> bytes:
    return json.dumps(_pack(readings, ("bn", "t", "n", "v"))).encode()


def _senml_cbor(readings: Sequence[Reading]) -> bytes:
    return cbor2.dumps(_pack(readings, (-2, 6, 0, 2)))


_RECORD: Final = {
    "type": "record",
    "name": "Reading",
    "fields": [{"name": "time", "type": "long"}, *({"name": name, "type": "double"} for name in _CHANNELS)],
}  # fmt: skip
_AVRO: Final = fastavro.parse_schema({"type": "array", "items": _RECORD})


def _avro(readings: Sequence[Reading]) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, _AVRO, [reading._asdict() for reading in readings])
    return b"\0\0\0\0\1" + stream.getvalue()


def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="reading.proto", package="demo", syntax="proto3")
    message = file.message_type.add(name="Reading")
    for number, (name, kind) in enumerate((("time", 3), ("temperature", 1), ("humidity", 1)), 1):
        message.field.add(name=name, number=number, type=kind, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("demo.Reading"))


_PROTOBUF: Final = _message_class()
_SPARKPLUG: Final = payload_class("sparkplug_b")


def _protobuf(readings: Sequence[Reading]) -> bytes:
    parts = [_PROTOBUF(**reading._asdict()).SerializeToString() for reading in readings]
    return b"".join(bytes([len(part)]) + part for part in parts)


def _sparkplug(readings: Sequence[Reading], seq: int) -> bytes:
    payload = _SPARKPLUG(seq=seq)
    for at, temperature, humidity in readings:
        payload.metrics.add(alias=1, timestamp=at, double_value=temperature)
        payload.metrics.add(alias=2, timestamp=at, double_value=humidity)
    return bytes(payload.SerializeToString())


def _births() -> list[Message]:
    """Return births that tell aliases, but no values."""
    birth = _SPARKPLUG(seq=0)
    for alias, name in enumerate(_CHANNELS, 1):
        birth.metrics.add(name=name, alias=alias, datatype=10, is_null=True)
    payload = bytes(birth.SerializeToString())
    nodes = range(_DEVICES)
    return [Message(f"spBv1.0/plant/NBIRTH/device-{node}", payload, 0) for node in nodes]


def _sparkplug_messages(readings: Sequence[Reading], each: int) -> list[Message]:
    told = _births()
    for number, at in enumerate(range(0, len(readings), each)):
        payload = _sparkplug(readings[at : at + each], (1 + number // _DEVICES) % 256)
        told.append(Message(f"spBv1.0/plant/NDATA/device-{number % _DEVICES}", payload, 0))
    return told


_WRITERS: Final[dict[str, Callable[[Sequence[Reading]], bytes]]] = {
    "json": _json,
    "msgpack": _msgpack,
    "cbor": _cbor,
    "csv": _csv,
    "line_protocol": _lines,
    "avro": _avro,
    "protobuf": _protobuf,
    "senml_json": _senml_json,
    "senml_cbor": _senml_cbor,
}
FORMATS: Final = (*_WRITERS, "sparkplug_b")
"""The names of the formats."""


def options_of(name: str) -> dict[str, Any]:
    """Return the declaration of a format."""
    topic = {"topic": MAPPING["topic"]}
    packs = {**topic, "device": "device", "channels": _CHANNELS}
    particular: dict[str, dict[str, Any]] = {
        "csv": {"columns": Reading._fields},
        "line_protocol": {
            **topic,
            "mapping": {"device": "device", "channels": _CHANNELS, "precision": "ms"},
        },
        "avro": {"registered": {1: {"type": "array", "items": _RECORD}}},
        "protobuf": {
            "message": "demo.Reading",
            "descriptor_set": descriptor_set_of(_PROTOBUF),
            "framing": "delimited",
        },
        "senml_json": {"mapping": packs},
        "senml_cbor": {"mapping": packs},
        "sparkplug_b": {"mapping": {"device": "node", "channels": _CHANNELS}},
    }
    return {"mapping": MAPPING} | particular.get(name, {})


def messages_of(name: str, readings: Sequence[Reading], each: int) -> list[Message]:
    """Return readings as messages with `each` of them."""
    if name == "sparkplug_b":
        return _sparkplug_messages(readings, each)
    write = _WRITERS[name]
    topics = [f"plants/ghent/device-{device}/telemetry" for device in range(_DEVICES)]
    return [
        Message(topics[at // each % _DEVICES], write(readings[at : at + each]), 0)
        for at in range(0, len(readings), each)
    ]
