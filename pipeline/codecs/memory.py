"""What the blocks of a column before tell an encoder about the next one.

Consecutive blocks of a column nearly always suit the same stages. An encoder that remembers them
tries these first and looks further only if they do worse than they did, or after some blocks.
What comes back never depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pipeline.codecs.lanes import LanePredictor
from pipeline.codecs.lanes_bins import LOOK, Known

__all__ = ["Memory", "SeriesPlan", "next_part", "parts_of"]


class SeriesPlan(NamedTuple):
    """How a block's numbers were stored.

    Attributes
    ----------
    entropy : int
        Id of the entropy stage.
    predictor : LanePredictor
        Of bins; of others its id is the order of the differences.
    bits : float
        Bits per row.
    known : Known
        Of bins.
    width : int
        Of codes and bit planes.
    predictors : tuple
        Predictors that were looked at, by the bits per row that they promised.
    stages : tuple
        Names of the entropy stages that were tried, and what they took in bytes.
    uses : int
        Blocks since all stages were looked at.
    """

    entropy: int
    predictor: LanePredictor
    bits: float
    known: Known = LOOK
    width: int = 0
    predictors: tuple[tuple[LanePredictor, float], ...] = ()
    stages: tuple[tuple[str, int], ...] = ()
    uses: int = 0

    def used(self, bits: float) -> SeriesPlan:
        """Return the plan after one more block, which took so many bits a row."""
        return self._replace(bits=bits, uses=self.uses + 1)


class Memory:
    """Of one column; give the same one to `pipeline.codecs.block.encode_block` for each block.

    Threads may share it: what it holds is replaced as a whole, and any of it will do.
    """

    __slots__ = ("parts", "series", "transform")

    def __init__(self) -> None:
        self.series: SeriesPlan | None = None
        self.transform: Any = None
        self.parts: dict[str, SeriesPlan] = {}


@dataclass(slots=True)
class _Place:
    """Where in a block nested streams are being written, and how many were.

    Attributes
    ----------
    memory : Memory
    section : str
    written : int
    """

    memory: Memory
    section: str
    written: int = 0


_PLACE: Final[ContextVar[_Place | None]] = ContextVar("place", default=None)


@contextmanager
def parts_of(memory: Memory | None, section: str) -> Iterator[None]:
    """Let nested streams that are written meanwhile be remembered as parts of a section.

    Masks, corrections and entries are written far below what knows of the blocks before.
    """
    before = _PLACE.set(_Place(memory, section) if memory is not None else None)
    try:
        yield
    finally:
        _PLACE.reset(before)


def next_part() -> tuple[Memory | None, str]:
    """Return the memory of the nested stream that is written next, and its key there."""
    place = _PLACE.get()
    if place is None:
        return None, ""
    place.written += 1
    return place.memory, f"{place.section} {place.written}"
