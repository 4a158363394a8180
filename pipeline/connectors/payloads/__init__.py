"""Payload formats of live messages: batches of messages to tables of rows.

Brokers hand over `Message` after `Message`; a decoder turns thousands of them at a time into
columns. What cannot be decoded comes back whole, with the reason.
"""

from __future__ import annotations

from pipeline.connectors.payloads.avro import AvroPayload
from pipeline.connectors.payloads.cbor import CborPayload
from pipeline.connectors.payloads.delimited_text import CsvPayload
from pipeline.connectors.payloads.formats import PayloadFormat
from pipeline.connectors.payloads.json_text import JsonPayload
from pipeline.connectors.payloads.line_text import LineProtocolPayload
from pipeline.connectors.payloads.messages import Decoded, Decoder, Message, RejectedMessage
from pipeline.connectors.payloads.msgpack import MessagePackPayload
from pipeline.connectors.payloads.protobuf import ProtobufPayload, descriptor_set_of
from pipeline.connectors.payloads.registry import PAYLOAD_FORMATS, payload_format
from pipeline.connectors.payloads.rules import PayloadMapping, PayloadTime
from pipeline.connectors.payloads.senml import SenmlCborPayload, SenmlJsonPayload, SenmlMapping
from pipeline.connectors.payloads.sparkplug import (
    SparkplugMapping,
    SparkplugPayload,
    rebirth_command,
)
from pipeline.connectors.payloads.sparkplug_nodes import DeviceGone, RebirthRequest
from pipeline.connectors.payloads.topics import TopicTemplate

__all__ = [
    "PAYLOAD_FORMATS",
    "AvroPayload",
    "CborPayload",
    "CsvPayload",
    "Decoded",
    "Decoder",
    "DeviceGone",
    "JsonPayload",
    "LineProtocolPayload",
    "Message",
    "MessagePackPayload",
    "PayloadFormat",
    "PayloadMapping",
    "PayloadTime",
    "ProtobufPayload",
    "RebirthRequest",
    "RejectedMessage",
    "SenmlCborPayload",
    "SenmlJsonPayload",
    "SenmlMapping",
    "SparkplugMapping",
    "SparkplugPayload",
    "TopicTemplate",
    "descriptor_set_of",
    "payload_format",
    "rebirth_command",
]
