"""What a benchmark is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["Benchmark", "Figure", "Outcome", "Size", "WrongResultError"]


class WrongResultError(Exception):
    """What was measured did not do its work, so its times mean nothing."""


class Size(Enum):
    """How much a benchmark does; tiny only shows that it runs, and few know what large is."""

    LARGE = "large"
    FULL = "full"
    QUICK = "quick"
    TINY = "tiny"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, and what it means, unit included."""

    value: float
    meaning: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a benchmark found.

    Parameters
    ----------
    figures
        The results, by a key that stays the same for ever.
    rows
        Single runs, all with the same keys.
    notes
        What a reader has to know about how it was measured.
    table
        The rows as text for people, where a column for each key would not fit on a line.
    """

    figures: Mapping[str, Figure]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()
    table: str = ""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A program that measures something.

    Parameters
    ----------
    name
        For the command line.
    description
        One line for people.
    run
        Measures; is given the size and a function that shows progress.
    has_large
        Whether it can be run at `Size.LARGE`.
    """

    name: str
    description: str
    run: Callable[[Size, Callable[[str], None]], Outcome]
    has_large: bool = False
