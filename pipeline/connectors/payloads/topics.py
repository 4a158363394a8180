"""Topic templates: which levels of a topic are names, and what a subscription has to ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError

__all__ = ["TopicTemplate", "TopicTexts"]

_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_REMEMBERED: Final = 200_000  # topics; some 40 MB at worst


@dataclass(frozen=True, slots=True, eq=False)
class TopicTexts:
    """What the topics of messages say.

    Parameters
    ----------
    texts
        Dictionaries of texts by name, shape (messages,); null where the template does not match.
    strangers
        ``int64``: numbers of the messages whose topic the template does not match.
    """

    texts: dict[str, pa.Array]
    strangers: NDArray[np.int64]

    def unknown(self, template: str) -> dict[int, str]:
        """Return the reason why messages of strange topics are rejected, by number."""
        reason = f"the topic does not match {template!r}"
        return dict.fromkeys(self.strangers.tolist(), reason)


@dataclass(frozen=True)
class TopicTemplate:
    """Topics that differ in named parts.

    Parameters
    ----------
    template
        A topic, such as ``plants/{site}/{device}/telemetry`` or ``shellies/shellyht-{id}/+/#``.
        A name in braces is a part of one level, ``+`` any level, and ``#`` at the end any
        further levels. Empty for any topic.

    Raises
    ------
    InvalidInputError
        If braces do not pair up, a name occurs twice, or a wildcard is not a level of its own.

    Examples
    --------
    >>> template = TopicTemplate("plants/{site}/{device}/telemetry")
    >>> template.match("plants/ghent/press-4/telemetry")
    ('ghent', 'press-4')
    >>> template.filter
    'plants/+/+/telemetry'

    References
    ----------
    MQTT Version 5.0, OASIS Standard, section 4.7, Topic Names and Topic Filters.
    """

    template: str = ""
    _known: dict[str, tuple[str, ...] | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        problem = _problem(self.template)
        if problem:
            raise InvalidInputError(f"topic template {self.template!r}: {problem}")

    @property
    def names(self) -> tuple[str, ...]:
        """The names in braces."""
        return tuple(_PLACE.findall(self.template))

    @property
    def filter(self) -> str:
        """The MQTT topic filter to subscribe to; ``#`` for the empty template."""
        levels = self.template.split("/")
        return "/".join("+" if "{" in level else level for level in levels) or "#"

    def match(self, topic: str) -> tuple[str, ...] | None:
        """Return the texts of the names, or None for a topic of another kind."""
        try:
            return self._known[topic]
        except KeyError:
            pass
        found = re.fullmatch(_expression(self.template), topic, re.DOTALL)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[topic] = None if found is None else found.groups()
        return self._known[topic]

    def read(self, topics: Sequence[str]) -> TopicTexts:
        """Match the topics of messages; each distinct one is looked at once."""
        if not self.template:
            return TopicTexts({}, np.zeros(0, np.int64))
        number = {topic: code for code, topic in enumerate(dict.fromkeys(topics))}
        codes = np.fromiter(map(number.__getitem__, topics), np.int32, len(topics))
        matches = [self.match(topic) for topic in number]
        strange = np.array([match is None for match in matches], bool)
        indices = pa.array(codes)
        texts = {}
        for place, name in enumerate(self.names):
            told = pa.array([match[place] if match else None for match in matches], pa.string())
            # Topics that differ elsewhere tell the same text: the dictionary holds it once.
            texts[name] = told.dictionary_encode().take(indices)
        return TopicTexts(texts, np.flatnonzero(strange[codes]))


def _problem(template: str) -> str:
    bare = _PLACE.sub("", template)
    levels = template.split("/")
    names = _PLACE.findall(template)
    if "{" in bare or "}" in bare:
        return "names in braces are letters, digits and underscores, as in {device}"
    if len(set(names)) < len(names):
        return "a name occurs twice"
    if re.search(r"\}\{", template):
        return "two names without a text between them cannot be told apart"
    if any(("+" in level and level != "+") or ("#" in level and level != "#") for level in levels):
        return "+ and # have to be levels of their own"
    if "#" in levels[:-1]:
        return "# has to be the last level"
    return ""


def _expression(template: str) -> str:
    levels = template.split("/")
    tail = ""
    if levels[-1] == "#":
        levels.pop()
        tail = ".*" if not levels else "(?:/.*)?"  # a/# matches a as well
    return "/".join(map(_level, levels)) + tail


def _level(level: str) -> str:
    if level == "+":
        return "[^/]*"
    pieces = _PLACE.split(level)  # literals at even places, names at odd ones
    return "".join("([^/]+)" if at % 2 else re.escape(text) for at, text in enumerate(pieces))
