"""Lines to fields, whole columns at a time."""

from __future__ import annotations

import csv
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["match_fields", "split_fields", "split_line"]

_MARK: Final = "\x1f"  # the ASCII unit separator, in place of the separator of quoted lines


def split_fields(
    lines: pa.Array, separator: str, quote: str, expected: int
) -> tuple[pa.Array, NDArray[np.int64], dict[int, str]]:
    """Split lines at their separators.

    Parameters
    ----------
    lines
        ``string``, shape (lines,), none null.
    separator
        A text, or ``"whitespace"``.
    quote
        Quote character, or empty; it has a meaning for separators of one character only.
    expected
        How many fields a line has to have.

    Returns
    -------
    fields
        Lists of `expected` texts, one per good line.
    good
        ``int64``: the numbers of the good lines.
    reasons
        Why, by line number, for the other lines.
    """
    reasons: dict[int, str] = {}
    if separator == "whitespace":
        lists = pc.ascii_split_whitespace(pc.ascii_trim_whitespace(lines))
    else:
        quoted = _quoted_lines(lines, separator, quote)
        if len(quoted):
            lines, reasons = _mark_separators(lines, quoted, separator, quote)
            separator = _MARK
        lists = pc.split_pattern(lines, separator)
    counts = np.asarray(pc.list_value_length(lists).fill_null(0))
    for row in np.flatnonzero(counts != expected):
        reasons.setdefault(
            int(row), f"the line has {counts[row]} fields where {expected} are expected"
        )
    good = np.setdiff1d(np.arange(len(counts)), list(reasons), assume_unique=True)
    return lists.take(pa.array(good)) if reasons else lists, good, reasons


def _quoted_lines(lines: pa.Array, separator: str, quote: str) -> NDArray[np.int64]:
    if not quote or len(separator) != 1:
        return np.zeros(0, np.int64)
    found = pc.match_substring(lines, quote)
    return np.flatnonzero(np.asarray(found.to_numpy(zero_copy_only=False)))


def _mark_separators(
    lines: pa.Array, quoted: NDArray[np.int64], separator: str, quote: str
) -> tuple[pa.Array, dict[int, str]]:
    """Take the lines that hold quotes apart one by one, and mark where fields end."""
    texts: list[str] = []
    reasons: dict[int, str] = {}
    for row, line in zip(quoted, lines.take(pa.array(quoted)).to_pylist(), strict=True):
        try:
            texts.append(_MARK.join(split_line(line, separator, quote)))
        except csv.Error as error:
            texts.append("")
            reasons[int(row)] = f"the line's quotes do not close properly ({error})"
    mask = np.zeros(len(lines), bool)
    mask[quoted] = True
    plain = pc.replace_substring(lines, separator, _MARK)
    return pc.replace_with_mask(plain, pa.array(mask), pa.array(texts, pa.string())), reasons


def split_line(line: str, separator: str, quote: str) -> list[str]:
    """Split one line.

    Raises
    ------
    csv.Error
        If a quote is not closed, or goes on after its end.
    """
    if separator == "whitespace":
        return line.split()
    if not quote or len(separator) != 1:
        return line.split(separator)
    reader = csv.reader(
        [line], delimiter=separator, quotechar=quote, skipinitialspace=True, strict=True
    )
    return next(reader)


def match_fields(
    lines: pa.Array, pattern: str
) -> tuple[dict[str, pa.Array], NDArray[np.int64], dict[int, str]]:
    """Take lines apart by the named groups of `pattern`; the results are like `split_fields`."""
    found = pc.extract_regex(lines, pattern)
    matched = np.asarray(found.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
    reasons = {int(row): "the line does not match the pattern" for row in np.flatnonzero(~matched)}
    columns = [column.filter(pa.array(matched)) for column in found.flatten()]
    names = [field.name for field in found.type]
    return dict(zip(names, columns, strict=True)), np.flatnonzero(matched), reasons
