"""The flags in a block's header of version 2 (`pipeline.codecs.frame_v2`)."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALIGNED",
    "ASCENDING",
    "CONSTANT",
    "EVEN",
    "M2",
    "MISSING",
    "PAYLOAD",
    "POSSIBLE",
    "RAW",
    "REAL",
    "SCALE",
    "SUM",
]

MISSING, CONSTANT, PAYLOAD, RAW, SUM, M2, SCALE, ALIGNED, ASCENDING, EVEN = (
    1 << bit for bit in range(10)
)


def _possible(flags: int) -> bool:
    """Whether an encoder may have set these flags, whatever the dtype."""
    if flags & CONSTANT:
        return not flags & ~(CONSTANT | RAW | SCALE)
    if not flags & PAYLOAD:
        return not flags
    if flags & RAW and flags & (SCALE | ASCENDING):
        return False
    if flags & ALIGNED and not flags & SCALE:
        return False
    return bool(flags & SUM) or not flags & EVEN


POSSIBLE: Final = frozenset(flags for flags in range(1024) if _possible(flags))
"""All values that the flags may have together."""

REAL: Final = frozenset(flags for flags in POSSIBLE if not flags & (SCALE | EVEN))
"""Those of a column of floats."""
