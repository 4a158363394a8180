"""Payload formats of live messages: batches of messages to tables of rows.

Brokers hand over `Message` after `Message`; a decoder turns thousands of them at a time into
columns. What cannot be decoded comes back whole, with the reason.
"""

from __future__ import annotations

from pipeline.connectors.payloads.cbor import CborPayload
from pipeline.connectors.payloads.formats import PayloadFormat
from pipeline.connectors.payloads.json_text import JsonPayload
from pipeline.connectors.payloads.messages import Decoded, Decoder, Message, RejectedMessage
from pipeline.connectors.payloads.msgpack import MessagePackPayload
from pipeline.connectors.payloads.registry import PAYLOAD_FORMATS, payload_format
from pipeline.connectors.payloads.rules import PayloadMapping, PayloadTime
from pipeline.connectors.payloads.topics import TopicTemplate

__all__ = [
    "PAYLOAD_FORMATS",
    "CborPayload",
    "Decoded",
    "Decoder",
    "JsonPayload",
    "Message",
    "MessagePackPayload",
    "PayloadFormat",
    "PayloadMapping",
    "PayloadTime",
    "RejectedMessage",
    "TopicTemplate",
    "payload_format",
]
