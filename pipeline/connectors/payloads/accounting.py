"""What became of every message and record of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.connectors.payloads.messages import Decoded, Message, RejectedMessage
from pipeline.connectors.payloads.rows import MappedRecords

__all__ = ["account"]


def account(
    messages: Sequence[Message],
    owner: NDArray[np.int64],
    mapped: MappedRecords,
    failures: Mapping[int, str],
    broken: Sequence[tuple[int, str]] = (),
    empty: int = 0,
    events: tuple[object, ...] = (),
) -> Decoded:
    """Put together what a batch yields.

    Parameters
    ----------
    messages
        The batch.
    owner
        ``int64``, shape (records,): which message each record that was mapped is from.
    mapped
        What the mapping made of them.
    failures
        Why, for messages that could not be read at all, by number.
    broken
        Message and reason of records that could not be read, so that none was mapped.
    empty
        Number of messages without records.
    events
        What the sender's protocol asks for.
    """
    bad = {number: [why] for number, why in failures.items()}
    for number, why in broken:
        bad.setdefault(number, []).append(why)
    for record in sorted(mapped.reasons):
        number = int(owner[record])
        bad.setdefault(number, []).append(mapped.reasons[record])
    held = np.bincount(owner, minlength=len(messages)) if bad else owner
    for number, _ in broken:
        held[number] += 1
    rejects = tuple(
        RejectedMessage(messages[number], _reason(bad[number], int(held[number])), len(bad[number]))
        for number in sorted(bad)
    )
    return Decoded(
        mapped.table,
        rejects,
        records=len(owner) + len(failures) + len(broken) + empty,
        merged=mapped.merged,
        ignored=mapped.ignored + empty,
        tags=mapped.tags,
        events=events,
    )


def _reason(reasons: Sequence[str], records: int) -> str:
    if records <= 1:
        return reasons[0]
    return f"{len(reasons)} of its {records} records are not stored, first: {reasons[0]}"
