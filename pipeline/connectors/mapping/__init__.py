"""What connectors share: declared mappings to device, time and channels, and reading of files."""

from __future__ import annotations

from pipeline.connectors.mapping.files import (
    FoundFile,
    find_files,
    list_files,
    open_file,
    open_packed,
)
from pipeline.connectors.mapping.path_fields import PathFields
from pipeline.connectors.mapping.rows import (
    MappedRows,
    device_tags,
    map_rows,
    read_channel,
    text_devices,
)
from pipeline.connectors.mapping.rules import (
    ChannelMapping,
    DeviceMapping,
    RowMapping,
    TimeMapping,
    named,
)
from pipeline.connectors.mapping.text_pieces import (
    TextPiece,
    cut_file,
    first_line,
    read_blocks,
    skip_mark,
    text_size,
)

__all__ = [
    "ChannelMapping",
    "DeviceMapping",
    "FoundFile",
    "MappedRows",
    "PathFields",
    "RowMapping",
    "TextPiece",
    "TimeMapping",
    "cut_file",
    "device_tags",
    "find_files",
    "first_line",
    "list_files",
    "map_rows",
    "named",
    "open_file",
    "open_packed",
    "read_blocks",
    "read_channel",
    "skip_mark",
    "text_devices",
    "text_size",
]
