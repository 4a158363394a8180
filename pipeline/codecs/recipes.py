"""Recipes: what an encoder may try, by the name of a codec.

A recipe never changes what comes back, and no decoder has to know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pipeline.codecs.entropy import BIT_PLANES, RAW, VARINTS
from pipeline.codecs.series import BINS, RUNS
from pipeline.errors import InvalidInputError
from pipeline.model.codec_names import CODECS

__all__ = ["RECIPES", "Recipe", "find_recipe"]


@dataclass(frozen=True)
class Recipe:
    """What an encoder may try.

    Attributes
    ----------
    stage : int or None
        Id of the only entropy stage allowed; None for the best.
    predictors : int
        How many predictors are tried to the end, the most promising first.
    contexts : int
        Most contexts of the stage bins.
    computed : bool
        Whether floats may be explained by arithmetic, and values be numbered by a dictionary.
    patterns : bool or None
        Whether repeating patterns are looked for; None: where there are signs of them.
    """

    stage: int | None = None
    predictors: int = 1
    contexts: int = 8
    computed: bool = True
    patterns: bool | None = None


_RECIPES: Final = {
    "auto": Recipe(),
    "fast": Recipe(contexts=2, computed=False, patterns=False),
    "small": Recipe(predictors=3, patterns=True),
    "bins": Recipe(BINS),
    "runs": Recipe(RUNS),
    "delta-varint": Recipe(VARINTS),
    "bitshuffle": Recipe(BIT_PLANES),
    "raw": Recipe(RAW),
}

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType({name: _RECIPES[name] for name in CODECS})
"""Recipes by the name of the codec."""


def find_recipe(codec: str) -> Recipe:
    """Return the recipe of a codec.

    Raises
    ------
    InvalidInputError
        If there is no such codec.
    """
    if codec not in RECIPES:
        raise InvalidInputError(f"there is no codec {codec!r}; choose one of {', '.join(RECIPES)}")
    return RECIPES[codec]
