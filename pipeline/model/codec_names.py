"""The codecs that a channel may ask for.

``auto`` suits nearly every channel: it looks at each block of values. The others are for those
who know better: two preferences, and stages that every block has to go through.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["AUTO", "CODECS"]

AUTO: Final = "auto"

CODECS: Final[Mapping[str, str]] = MappingProxyType(
    {
        AUTO: "chosen for each block by looking at its values",
        "fast": "chosen for each block among the stages that are quick to write and to read",
        "small": "chosen for each block by trying more, for a few times the work of auto",
        "bins": "predicted, then coded by adaptive bins (an ANS coder): measurements",
        "runs": "equal neighbours counted: states and set points",
        "delta-varint": "differences of variable length, then Zstandard: repeating patterns",
        "bitshuffle": "differences bit by bit, then Zstandard: repeating patterns of many bits",
        "raw": "the values as they are: nothing to gain, or somebody compresses afterwards",
    }
)
"""What each codec does, by name."""
