"""Payloads: how many readings a second each format yields on one core."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow.compute as pc

from pipeline.connectors.payloads import Decoded, Message, payload_format
from pipeline.jobs.printing import align
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError
from tests.benchmarks.payload_messages import (
    FORMATS,
    Reading,
    made_readings,
    messages_of,
    options_of,
)

__all__ = ["check_rows", "run"]

_BATCH: Final = 4096  # readings decoded in one call, about what a consumer polls at once


@dataclass(frozen=True, slots=True)
class _Scale:
    readings: int
    turns: int


_SCALES: Final = {
    Size.FULL: _Scale(200_000, 5),
    Size.QUICK: _Scale(50_000, 3),
    Size.TINY: _Scale(500, 1),
}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Decode the same readings in every format; `show` is told about progress."""
    scale = _SCALES[size]
    readings = made_readings(scale.readings)
    rows: list[dict[str, Any]] = []
    figures: dict[str, Figure] = {}
    for name in FORMATS:
        row: dict[str, Any] = {"format": name}
        for each in (1, 100):
            messages = messages_of(name, readings, each)
            row[f"bytes_{each}"] = sum(len(m.payload) for m in messages) / len(readings)
            row[f"per_s_{each}"] = _readings_per_s(name, messages, readings, each, scale.turns)
            meaning = f"readings per second and core, {each} a message"
            figures[f"{name}_{each}_per_s"] = Figure(row[f"per_s_{each}"], meaning)
        rows.append(row)
        show(f"{name}: {row['per_s_1']:,.0f} and {row['per_s_100']:,.0f} readings/s")
    return Outcome(figures, rows, _NOTES, _table(rows))


def _readings_per_s(
    name: str, messages: Sequence[Message], readings: Sequence[Reading], each: int, turns: int
) -> float:
    """Return the best of some turns: whatever else the machine does only ever slows it."""
    declared = payload_format(name, options_of(name))
    step = max(1, _BATCH // each)
    best = math.inf
    for _ in range(turns):
        decoder = declared.decoder()
        began = time.process_time()
        parts = [decoder.decode(messages[at : at + step]) for at in range(0, len(messages), step)]
        best = min(best, time.process_time() - began)
        check_rows(name, parts, readings)
    return len(readings) / best


def check_rows(name: str, parts: Sequence[Decoded], readings: Sequence[Reading]) -> None:
    """Check that every reading became a row.

    Raises
    ------
    WrongResultError
        If one did not.
    """
    rejects = [reject.reason for part in parts for reject in part.rejects]
    events = [event for part in parts for event in part.events]
    if rejects or events:
        msg = f"{name}: {len(rejects)} messages are rejected, first: {[*rejects, *events][0]}"
        raise WrongResultError(msg)
    rows = sum(part.table.num_rows for part in parts)
    found = math.fsum(pc.sum(part.table["humidity"]).as_py() or 0.0 for part in parts)
    wanted = math.fsum(reading.humidity for reading in readings)
    if rows != len(readings) or not math.isclose(found, wanted, rel_tol=1e-9):
        msg = f"{name}: {rows} rows with a sum of {found} come of {len(readings)} with {wanted}"
        raise WrongResultError(msg)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    heading = ("format", "readings/s, 1 a message", "bytes", "readings/s, 100 a message", "bytes")
    lines = [
        [
            row["format"],
            *(
                text
                for each in (1, 100)
                for text in (f"{row[f'per_s_{each}']:,.0f}", f"{row[f'bytes_{each}']:.1f}")
            ),
        ]
        for row in rows
    ]
    return align(heading, lines)


_NOTES: Final = (
    "A reading is a row of two channels of 1000 devices, from bytes to an Arrow table.",
    "Seconds are of processor time, the best of the turns; bytes are those of a payload a reading.",
)
