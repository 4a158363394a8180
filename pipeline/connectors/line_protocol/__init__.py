"""InfluxDB line protocol: files as sources of rows, and payloads of live streams.

References
----------
InfluxData, Line protocol,
https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from __future__ import annotations

from pipeline.connectors.line_protocol.intake import NumberedRows, read_lines, read_numbered
from pipeline.connectors.line_protocol.rules import LineMapping
from pipeline.connectors.line_protocol.source import LineProtocolFragment, LineProtocolSource

__all__ = [
    "LineMapping",
    "LineProtocolFragment",
    "LineProtocolSource",
    "NumberedRows",
    "read_lines",
    "read_numbered",
]
