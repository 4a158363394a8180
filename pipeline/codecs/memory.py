"""What the blocks of a column before tell an encoder about the next one.

Consecutive blocks of a column nearly always suit the same stages. An encoder that remembers them
tries these first and looks further only if they do worse than they did, or after some blocks.
What comes back never depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.codecs.lanes import LanePredictor

__all__ = ["Memory", "SeriesPlan"]


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """How a block's numbers were stored.

    Attributes
    ----------
    entropy : int
        Id of the entropy stage.
    predictor : LanePredictor
        Of bins; of runs its id is the order of the differences.
    bits : float
        Bits per row.
    contexts : int
        Of bins: 1, or most that may be looked for.
    paired : bool
        Of bins: whether two rows shared one.
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
    contexts: int = 8
    paired: bool = False
    predictors: tuple[tuple[LanePredictor, float], ...] = ()
    stages: tuple[tuple[str, int], ...] = ()
    uses: int = 0


class Memory:
    """Of one column; give the same one to `pipeline.codecs.block.encode_block` for each block.

    Threads may share it: what it holds is replaced as a whole, and any of it will do.
    """

    __slots__ = ("series", "transform")

    def __init__(self) -> None:
        self.series: SeriesPlan | None = None
        self.transform: Any = None
