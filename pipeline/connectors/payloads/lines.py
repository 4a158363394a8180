"""Payloads of lines, joined into one text: a thousand short payloads are read as one block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.connectors.payloads.messages import Message

__all__ = ["JoinedLines", "join_lines"]


@dataclass(frozen=True, slots=True, eq=False)
class JoinedLines:
    """The lines of messages.

    Parameters
    ----------
    data
        Whole lines that end in newlines.
    owner
        ``int64``, shape (lines,): which message each is from, ascending.
    failures
        Why, for messages without any line, by number.
    """

    data: bytes
    owner: NDArray[np.int64]
    failures: dict[int, str]


def join_lines(messages: Sequence[Message], strange: Mapping[int, str]) -> JoinedLines:
    """Join the payloads of messages; a line never runs on into the next payload.

    Parameters
    ----------
    messages
        Any number.
    strange
        Messages not to be read, and why.
    """
    failures = dict(strange)
    pieces: list[bytes] = []
    numbers: list[int] = []
    for number, message in enumerate(messages):
        if number in failures:
            continue
        if not message.payload:
            failures[number] = "the payload is empty"
            continue
        numbers.append(number)
        ends = message.payload.endswith(b"\n")
        pieces.append(message.payload if ends else message.payload + b"\n")
    counts = [piece.count(b"\n") for piece in pieces]
    return JoinedLines(b"".join(pieces), np.repeat(np.array(numbers, np.int64), counts), failures)
