r"""Where lines of line protocol are separated, whole blocks at a time.

Lines of the ordinary form are told from all others by arithmetic on the positions of their
separators; the others are left to `pipeline.connectors.line_protocol.grammar`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["SEPARATOR", "Marks", "find_marks"]

SEPARATOR: Final = 0x1F  # the ASCII unit separator
_COMMA, _EQUALS, _BLANK, _NEWLINE, _QUOTE, _BACKSLASH, _RETURN, _HASH = b',= \n"\\\r#'
_MARK: Final = np.isin(np.arange(256), [_COMMA, _EQUALS, _BLANK, _NEWLINE, _QUOTE])
_ENDING: Final = np.isin(np.arange(256), [_COMMA, _BLANK, _NEWLINE])

Bytes = NDArray[np.uint8]
Longs = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """The lines of a block.

    Parameters
    ----------
    offsets
        ``int64``, shape (lines + 1,): where each line begins; the newline belongs to it.
    text
        ``uint8``: the block, with `SEPARATOR` in place of what separates the parts of lines.
    ordinary
        Bool, shape (lines,): lines of the ordinary form, of which the following holds.
    comment
        Bool, shape (lines,): lines that begin with ``#``.
    tags, parts
        ``int64``, shape (lines,): number of tags, and of separators.
    """

    offsets: Longs
    text: Bytes
    ordinary: Bools
    comment: Bools
    tags: Longs
    parts: Longs


def find_marks(block: Bytes) -> Marks:
    """Find what separates the parts of lines.

    Parameters
    ----------
    block
        ``uint8``: whole lines, each with its newline.
    """
    marks = np.flatnonzero(_MARK[block])
    kinds = block[marks]
    offsets = np.append(0, marks[kinds == _NEWLINE] + 1)
    unusual = np.zeros(len(offsets) - 1, bool)
    for odd in (SEPARATOR, _RETURN):
        if (found := np.flatnonzero(block == odd)).size:
            unusual[_line_of(found, offsets)] = True
    backslashes = np.flatnonzero(block == _BACKSLASH)
    if backslashes.size:
        twice = backslashes[1:][np.diff(backslashes) == 1]
        unusual[_line_of(twice, offsets)] = True
        free = (block[marks - 1] != _BACKSLASH) | (kinds == _NEWLINE)
        marks, kinds = marks[free], kinds[free]
    if (kinds == _QUOTE).any():
        marks, kinds, wrong = _outside_quotes(block, marks, kinds)
        unusual |= wrong
    return _checked(block, marks, kinds, offsets, unusual)


def _line_of(places: Longs, offsets: Longs) -> Longs:
    return np.searchsorted(offsets, places, side="right") - 1


def _outside_quotes(block: Bytes, marks: Longs, kinds: Bytes) -> tuple[Longs, Bytes, Bools]:
    """Return the marks outside quoted texts, and lines whose quotes are not ordinary."""
    newline = kinds == _NEWLINE
    line = np.cumsum(newline) - newline
    wrong = np.zeros(int(newline.sum()), bool)
    blanks = np.flatnonzero(kinds == _BLANK)
    first = blanks[np.diff(line[blanks], prepend=-1) != 0]
    fields_from = np.full(len(wrong), len(marks))  # quotes mean nothing before the first blank
    fields_from[line[first]] = first
    quotes = np.flatnonzero(kinds == _QUOTE)
    quotes = quotes[quotes > fields_from[line[quotes]]]
    wrong |= np.bincount(line[quotes], minlength=len(wrong)) % 2 == 1
    quotes = quotes[~wrong[line[quotes]]]
    opening, closing = marks[quotes[0::2]], marks[quotes[1::2]]
    bad = (block[opening - 1] != _EQUALS) | (block[opening - 2] == _BACKSLASH)
    bad |= ~_ENDING[block[closing + 1]]
    wrong[line[quotes[0::2][bad]]] = True
    toggles = np.zeros(len(marks), bool)
    toggles[quotes] = True
    inside = np.logical_xor.accumulate(toggles)
    kept = (~inside | newline) & (kinds != _QUOTE)
    return marks[kept], kinds[kept], wrong


def _checked(block: Bytes, marks: Longs, kinds: Bytes, offsets: Longs, unusual: Bools) -> Marks:
    """Count separators line by line, and tell which lines have the ordinary form.

    Commas and blanks alternate with equals signs; one blank ends the tags, and another one, if
    any, the fields; and nothing between two separators is empty.
    """
    lines = len(offsets) - 1
    newline = kinds == _NEWLINE
    last = np.flatnonzero(newline)
    begin = np.append(0, last[:-1] + 1)
    parts = last - begin
    line = np.cumsum(newline) - newline
    number = np.arange(len(marks)) - begin[line]
    bad = ((kinds == _EQUALS) != (number % 2 == 1)) & ~newline
    bad |= np.diff(marks, prepend=-1) == 1
    unusual[line[bad]] = True
    blank = np.flatnonzero(kinds == _BLANK)
    blank_line = line[blank]
    is_first = np.diff(blank_line, prepend=-1) != 0
    before = np.zeros(lines, np.int64)
    before[blank_line[is_first]] = number[blank[is_first]]
    blanks = np.bincount(blank_line, minlength=lines)
    ends_in_blank = (parts > 0) & (kinds[last - 1] == _BLANK)
    timed = (blanks == 2) & (parts % 2 == 1) & ends_in_blank
    plain = (blanks == 1) & (parts % 2 == 0)
    comment = block[offsets[:-1]] == _HASH
    ordinary = (timed | plain) & (parts >= before + 2) & ~unusual & ~comment
    text = block.copy()
    text[marks[~newline]] = SEPARATOR
    return Marks(offsets, text, ordinary, comment, before // 2, parts)
