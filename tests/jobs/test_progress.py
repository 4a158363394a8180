"""Telling how far a job is."""

from __future__ import annotations

import io
import logging

import pytest

from pipeline.jobs.progress import LogLines, TerminalLine, progress_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_line_that_changes() -> None:
    screen = Terminal()
    progress = progress_for(screen)
    assert isinstance(progress, TerminalLine)
    progress.show("one")
    progress.show("two", milestone=True)
    progress.clear()
    assert screen.getvalue() == "\r\x1b[2Kone\r\x1b[2Ktwo\r\x1b[2K"


def test_a_line_is_never_longer_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    screen = Terminal()
    progress_for(screen).show("a" * 100)
    assert screen.getvalue() == "\r\x1b[2K" + "a" * 19


def test_elsewhere_milestones_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    progress = progress_for(io.StringIO())
    assert isinstance(progress, LogLines)
    with caplog.at_level(logging.INFO, "pipeline"):
        progress.show("on the way")
        progress.show("committed", milestone=True)
        progress.clear()
    assert [record.getMessage() for record in caplog.records] == ["committed"]
