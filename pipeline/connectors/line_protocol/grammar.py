r"""One line of line protocol, taken apart exactly, or the reason why it cannot be.

A line is ``measurement[,tag=value...] field=value[,field=value...] [time]``. Commas, blanks and
equals signs that follow a backslash do not separate; a text in quotes may hold all of them, and
``\"`` and ``\\``. A line ends at its newline, also within quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Line", "parse_line", "unescape_measurement", "unescape_name", "unescape_text"]

_FIELD: Final = re.compile(
    r"(?P<key>(?:[^,= ]|(?<=\\)[,= ])+)="
    r'(?P<value>"(?:[^"\\]|\\.)*"|(?:[^",= ]|(?<=\\)[",= ])+)'
)
_NAME: Final = re.compile(r"\\([,= ])")
_MEASUREMENT: Final = re.compile(r"\\([, ])")
_TEXT: Final = re.compile(r'\\(["\\])')


@dataclass(frozen=True, slots=True)
class Line:
    """The parts of a line.

    Parameters
    ----------
    measurement
        Its name.
    tags
        Values by key.
    fields
        Values by key, as they are written: ``21.5``, ``7i``, ``7u``, ``true``, ``"text"``.
    time
        What stands at the end, a whole number if all is well; None if nothing does.
    """

    measurement: str
    tags: dict[str, str]
    fields: dict[str, str]
    time: str | None


def unescape_name(text: str) -> str:
    """Return a tag's or field's key, or a tag's value, without its backslashes."""
    return _NAME.sub(r"\1", text)


def unescape_measurement(text: str) -> str:
    """Return a measurement's name without its backslashes."""
    return _MEASUREMENT.sub(r"\1", text)


def unescape_text(quoted: str) -> str:
    """Return the text of a field's value that is written in quotes."""
    return _TEXT.sub(r"\1", quoted[1:-1])


def parse_line(text: str) -> Line | str | None:
    """Return a line's parts; the reason why it has none; or None for blank lines and comments."""
    text = text.strip(" \t\r\n")
    if not text or text[0] == "#":
        return None
    series, *rest = re.split(r"(?<!\\) +", text, maxsplit=1)
    if not rest:
        return "the line has no fields: a blank has to follow the measurement and its tags"
    measurement, *pairs = re.split(r"(?<!\\),", series)
    if not measurement:
        return "the line has no measurement before its first comma"
    tags = _tags(pairs)
    if isinstance(tags, str):
        return tags
    found = _fields(rest[0])
    if isinstance(found, str):
        return found
    fields, tail = found
    return Line(unescape_measurement(measurement), tags, fields, tail.strip(" ") or None)


def _tags(pairs: list[str]) -> dict[str, str] | str:
    tags: dict[str, str] = {}
    for pair in pairs:
        parts = re.split(r"(?<!\\)=", pair)
        if len(parts) != 2 or not all(parts):
            return f"the tag {pair!r} is not a key and a value with an equals sign between them"
        key, value = map(unescape_name, parts)
        if key in tags:
            return f"the tag {key!r} is given twice"
        tags[key] = value
    return tags


def _fields(text: str) -> tuple[dict[str, str], str] | str:
    """Return the fields and what follows them."""
    fields: dict[str, str] = {}
    at = 0
    while True:
        match = _FIELD.match(text, at)
        if match is None:
            return f"no field, such as name=21.5, stands at {text[at:]!r}"
        key = unescape_name(match["key"])
        if key in fields:
            return f"the field {key!r} is given twice"
        fields[key] = match["value"]
        at = match.end()
        if at == len(text) or text[at] == " ":
            return fields, text[at:]
        if text[at] != ",":
            return f"the value of field {key!r} is followed by {text[at:]!r}"
        at += 1
