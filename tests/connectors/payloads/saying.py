"""Helpers of the payload tests: messages in short, and rows as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from pipeline.connectors.payloads import Decoded, Message, payload_format

RECEIVED = 1_700_000_000_000_000
"""Microseconds: 2023-11-14T22:13:20Z."""


def decode(name: str, options: dict[str, Any], messages: Iterable[Message]) -> Decoded:
    """Decode messages with a new decoder, and check that every record is accounted for."""
    payload = payload_format(name, options)
    decoder = payload.decoder()
    decoded = decoder.decode(list(messages))
    assert decoded.table.schema == payload.arrow_schema() == decoder.arrow_schema()
    check_sums(decoded)
    return decoded


def check_sums(decoded: Decoded) -> None:
    """Check that every record is a row, merged, ignored or rejected."""
    kept = decoded.table.num_rows + decoded.merged
    assert decoded.records == kept + decoded.ignored + decoded.rejected


def say(topic: str, payload: bytes | str, received: int = RECEIVED, **more: Any) -> Message:
    """Return a message."""
    written = payload.encode() if isinstance(payload, str) else payload
    return Message(topic, written, received, **more)


def rows_of(decoded: Decoded) -> list[dict[str, Any]]:
    """Return the rows, times as microseconds, without missing values."""
    table = decoded.table
    place = table.column_names.index("time")
    plain = table.set_column(place, "time", table["time"].cast(pa.int64()))
    return [{k: v for k, v in row.items() if v is not None} for row in plain.to_pylist()]


def reasons_of(decoded: Decoded) -> list[str]:
    """Return why messages are rejected."""
    return [reject.reason for reject in decoded.rejects]
