"""Text files in pieces: ranges of bytes that tasks read on their own, and blocks of whole lines."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.connectors.mapping.compression import is_compressed
from pipeline.connectors.mapping.files import FoundFile
from pipeline.errors import InvalidInputError

__all__ = ["TextPiece", "cut_file", "first_line", "read_blocks", "skip_mark", "text_size"]

_BOM: Final = b"\xef\xbb\xbf"
_PACKED: Final = 10  # times as small a compressed text may well be
_LONGEST_LINE: Final = 64 * 1024 * 1024


def cut_file(file: FoundFile, piece_bytes: int) -> list[tuple[int, int | None]]:
    """Return ranges ``[start, stop)`` of a file's bytes; a stop of None reads to the end.

    A compressed file is one piece, because nobody can begin in its middle.
    """
    if is_compressed(file.path) or file.size <= piece_bytes:
        return [(0, None)]
    starts = range(0, file.size, piece_bytes)
    return list(zip(starts, [*starts[1:], file.size], strict=True))


def text_size(file: FoundFile, piece: tuple[int, int | None]) -> int:
    """Return about how many bytes of text a piece has; that of a compressed file is guessed."""
    start, stop = piece
    if stop is not None:
        return stop - start
    return file.size * _PACKED if is_compressed(file.path) else file.size


@dataclass(frozen=True)
class TextPiece[Source]:
    """A fragment of a text source: the lines of a file that begin in ``[start, stop)``.

    Parameters
    ----------
    source
        The declaration.
    path
        The file.
    start, stop
        Bytes; a `stop` of None reads to the end.
    state
        What tells the file's content from a later one's.
    size
        About how many bytes of text it has, if that is known.
    """

    source: Source
    path: str
    start: int = 0
    stop: int | None = None
    state: str = ""
    size: int | None = None

    @property
    def name(self) -> str:
        """The file, and the range if it is only a part."""
        return self.path if self.stop is None else f"{self.path}#bytes={self.start}-{self.stop}"


def skip_mark(stream: io.BufferedReader) -> int:
    """Move behind the byte order mark at a file's beginning, if any, and return the position."""
    return len(stream.read(len(_BOM))) if stream.peek(len(_BOM)).startswith(_BOM) else 0


def first_line(stream: io.BufferedReader, data: int, start: int) -> int:
    """Move to the first line that begins at `start` or later, and return its position.

    Parameters
    ----------
    stream
        The file; where `start` is not beyond `data`, it has to stand at `data`.
    data
        Where the file's data begins.
    start
        Where the piece begins.
    """
    if start <= data:
        return data
    stream.seek(start - 1)
    return start - 1 + len(stream.readline())


def read_blocks(
    stream: io.BufferedReader, position: int, stop: int | None, block_bytes: int
) -> Iterator[bytes]:
    """Yield the lines that begin before `stop`, in blocks of whole lines.

    Parameters
    ----------
    stream
        Open for reading, standing at `position`, where a line begins.
    position, stop
        Bytes from the beginning of the (unpacked) file; None reads to the end.
    block_bytes
        About how much to read at once.

    Raises
    ------
    InvalidInputError
        If a line is longer than 64 MiB: the file is no text.
    """
    while stop is None or position < stop:
        data = stream.read(block_bytes if stop is None else min(block_bytes, stop - position))
        if not data.endswith(b"\n"):
            data += stream.readline(_LONGEST_LINE)
        if not data:
            return
        position += len(data)
        if len(data) - 1 - data.rfind(b"\n", 0, len(data) - 1) >= _LONGEST_LINE:
            msg = f"a line is longer than {_LONGEST_LINE} bytes; this is no text file of records"
            raise InvalidInputError(msg)
        yield data
