"""Files of line protocol as sources of rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from pipeline.connectors.line_protocol.intake import read_lines
from pipeline.connectors.line_protocol.rules import LineMapping
from pipeline.connectors.mapping import (
    TextPiece,
    cut_file,
    first_line,
    list_files,
    open_file,
    read_blocks,
    skip_mark,
    text_size,
)
from pipeline.errors import InvalidInputError
from pipeline.model.ports import Intake

__all__ = ["LineProtocolFragment", "LineProtocolSource"]

_BLOCK: Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class LineProtocolSource:
    """Files of line protocol.

    Parameters
    ----------
    path
        A file, folder, URL or glob pattern, see `pipeline.connectors.mapping.files.find_files`;
        compressed files are unpacked.
    mapping
        Which tags make the device, and which fields the channels.
    piece_bytes
        Plain files are split into pieces of about so many bytes, each read by its own task.
    storage_options
        Of an object store; see `find_files`.

    Raises
    ------
    InvalidInputError
        If `piece_bytes` is not positive.

    Examples
    --------
    In a job file::

        source:
          line_protocol:
            path: export/**/*.lp.gz
            mapping:
              measurements: [weather]
              device: "{site}-{sensor}"
              tags: [site]
              precision: ns
              channels:
                temperature: {column: temp, dtype: float64, units: degC}

    A payload of a live stream is read by `read_lines`:

    >>> from pipeline.connectors.line_protocol import LineMapping, read_lines
    >>> mapping = LineMapping(
    ...     device="host", channels={"load": {"dtype": "float64"}}, precision="s"
    ... )
    >>> read_lines(b"cpu,host=a load=0.5 1700000000", mapping).table["load"].to_pylist()
    [0.5]
    """

    path: str | os.PathLike[str]
    mapping: LineMapping
    piece_bytes: int = 256 * 1024 * 1024
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.piece_bytes < 1:
            msg = f"line protocol source {str(self.path)!r}: piece_bytes has to be positive"
            raise InvalidInputError(msg)

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables: that of the mapping."""
        return self.mapping.arrow_schema()

    def fragments(self) -> tuple[LineProtocolFragment, ...]:
        """Return the pieces of every file, in order.

        Raises
        ------
        NotFoundError
            If `path` matches no file.
        """
        return tuple(
            LineProtocolFragment(self, file.path, *piece, file.state, text_size(file, piece))
            for file in list_files(self.path, self.storage_options)
            for piece in cut_file(file, self.piece_bytes)
        )

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """Return no tags: they come with the rows."""
        return {}


class LineProtocolFragment(TextPiece[LineProtocolSource]):
    """The lines of a file that begin in ``[start, stop)``."""

    def read(self) -> Iterator[Intake]:
        """Yield the rows of about 8 MiB of text at a time.

        Raises
        ------
        InvalidInputError
            If a line is longer than 64 MiB: the file is no line protocol.
        """
        with open_file(self.path, self.source.storage_options) as stream:
            position = first_line(stream, skip_mark(stream), self.start)
            for data in read_blocks(stream, position, self.stop, _BLOCK):
                yield read_lines(data, self.source.mapping, self.path)
