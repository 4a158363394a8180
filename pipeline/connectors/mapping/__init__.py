"""Declared mappings from the fields of a source to device, time and channels."""

from __future__ import annotations

from pipeline.connectors.mapping.files import file_size, find_files, open_file
from pipeline.connectors.mapping.rows import MappedRows, map_rows, text_devices
from pipeline.connectors.mapping.rules import (
    ChannelMapping,
    DeviceMapping,
    RowMapping,
    TimeMapping,
)

__all__ = [
    "ChannelMapping",
    "DeviceMapping",
    "MappedRows",
    "RowMapping",
    "TimeMapping",
    "file_size",
    "find_files",
    "map_rows",
    "open_file",
    "text_devices",
]
