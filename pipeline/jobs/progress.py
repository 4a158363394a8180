"""Telling how far a job is: one line that changes on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import shutil
from typing import Protocol, TextIO

__all__ = ["LogLines", "Progress", "TerminalLine", "progress_for"]

_log = logging.getLogger(__name__)
_ERASE_LINE = "\r\x1b[2K"


class Progress(Protocol):
    """Where progress is told."""

    def show(self, text: str, *, milestone: bool = False) -> None:
        """Tell the state of affairs; milestones, such as commits, are worth a line in a log."""
        ...

    def clear(self) -> None:
        """Make room for other output."""
        ...


class TerminalLine:
    """The last line of a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, text: str, *, milestone: bool = False) -> None:  # noqa: ARG002
        """Put `text` in place of the line before, cut to the terminal's width."""
        width = shutil.get_terminal_size().columns
        self._stream.write(f"{_ERASE_LINE}{text[: width - 1]}")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line away."""
        self._stream.write(_ERASE_LINE)
        self._stream.flush()


class LogLines:
    """The log ``pipeline.jobs.progress``, level INFO."""

    def show(self, text: str, *, milestone: bool = False) -> None:
        """Log milestones."""
        if milestone:
            _log.info("%s", text)

    def clear(self) -> None:
        """Do nothing: log lines stay."""


def progress_for(stream: TextIO) -> Progress:
    """Return a changing line if `stream` is a terminal, log lines otherwise."""
    return TerminalLine(stream) if stream.isatty() else LogLines()
