"""From measured columns to figures, rows and the table for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.jobs.printing import align
from tests.benchmarks.codec_columns import REAL, SYNTHETIC
from tests.benchmarks.codec_speeds import Speed
from tests.benchmarks.outcome import Figure

__all__ = ["Measured", "geometric_mean", "row", "size_figures", "speed_figures", "table"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found for a column.

    Parameters
    ----------
    name, group, dtype, rows, raw_bytes
        Of the column; rows and bytes of the blocks that were measured.
    ours
        Bytes of all blocks.
    peers
        The same of each peer, by its key.
    stages
        How the column is stored, in short.
    speed, pcodec_speed
        Of us and pcodec level 8; None without a full block.
    """

    name: str
    group: str
    dtype: str
    rows: int
    raw_bytes: int
    ours: int
    peers: Mapping[str, int]
    stages: str
    speed: Speed | None = None
    pcodec_speed: Speed | None = None

    def ratio(self, peer: str) -> float:
        """Return our bytes by a peer's."""
        return self.ours / self.peers[peer]

    @property
    def best_peer(self) -> str:
        """Key of the peer with the fewest bytes."""
        return min(self.peers, key=lambda peer: self.peers[peer])

    @property
    def speedups(self) -> tuple[float, float] | None:
        """How many times faster than pcodec we encode and decode."""
        if self.speed is None or self.pcodec_speed is None:
            return None
        return (
            self.speed.encode / self.pcodec_speed.encode,
            self.speed.decode / self.pcodec_speed.decode,
        )


def geometric_mean(ratios: Iterable[float]) -> float:
    """Return the geometric mean of one or more positive numbers."""
    logarithms = [math.log(ratio) for ratio in ratios]
    return math.exp(math.fsum(logarithms) / len(logarithms))


def size_figures(found: Sequence[Measured]) -> dict[str, Figure]:
    """Return the figures of sizes; those of a group without columns are left out."""
    figures = {}
    for peer, of in (("pcodec8", "pcodec level 8"), ("pcodec12", "pcodec level 12")):
        for group in (REAL, SYNTHETIC):
            if ratios := [one.ratio(peer) for one in found if one.group == group]:
                text = f"our bytes by {of}'s, geometric mean over {len(ratios)} {group} columns"
                figures[f"size_vs_{peer}_{group}"] = Figure(geometric_mean(ratios), text)
    figures["worst_vs_pcodec8"] = _worst(found, lambda one: "pcodec8", "pcodec level 8's")
    for peer, of in _OTHERS.items():
        mean = geometric_mean(one.ratio(peer) for one in found)
        figures[f"size_vs_{peer}"] = Figure(mean, f"our bytes by those of {of}, all columns")
    figures["worst_vs_best_peer"] = _worst(
        found, lambda one: one.best_peer, "those of its smallest peer"
    )
    return figures


def speed_figures(found: Sequence[Measured]) -> dict[str, Figure]:
    """Return the figures of speeds, over the columns with a full block."""
    figures = {}
    for at, way in enumerate(("encode", "decode")):
        speedups = {one.name: one.speedups[at] for one in found if one.speedups}
        if not speedups:
            continue
        worst = min(speedups, key=lambda name: speedups[name])
        mean = geometric_mean(speedups.values())
        text = f"our speed by pcodec level 8's, geometric mean over {len(speedups)} columns"
        figures[f"{way}_vs_pcodec8"] = Figure(mean, text)
        figures[f"{way}_worst_vs_pcodec8"] = Figure(
            speedups[worst], f"the same, the slowest column: {worst}"
        )
    return figures


def row(one: Measured) -> dict[str, Any]:
    """Return all that was found for a column, for programs."""
    encode, decode = one.speedups or (None, None)
    return {
        "column": one.name,
        "group": one.group,
        "dtype": one.dtype,
        "rows": one.rows,
        "raw_bytes": one.raw_bytes,
        "ours": one.ours,
        **one.peers,
        "vs_pcodec8": one.ratio("pcodec8"),
        "best_peer": one.best_peer,
        "vs_best_peer": one.ratio(one.best_peer),
        "encode_mb_s": one.speed and one.speed.encode,
        "decode_mb_s": one.speed and one.speed.decode,
        "pcodec8_encode_mb_s": one.pcodec_speed and one.pcodec_speed.encode,
        "pcodec8_decode_mb_s": one.pcodec_speed and one.pcodec_speed.decode,
        "encode_vs_pcodec8": encode,
        "decode_vs_pcodec8": decode,
        "stages": one.stages,
    }


def table(found: Sequence[Measured]) -> str:
    """Return a line per column, at most 140 characters long."""
    header = ("column", "rows", "B/row", *_SHORT.values(), "best", "enc", "x", "dec", "x")
    body = align(header, [_cells(one) for one in found])
    return f"{_HEADING}\n{body}"


def _cells(one: Measured) -> list[str]:
    speeds = ["-"] * 4
    if one.speed and one.speedups:
        speeds = [
            f"{one.speed.encode:,.0f}",
            f"{one.speedups[0]:.2f}",
            f"{one.speed.decode:,.0f}",
            f"{one.speedups[1]:.2f}",
        ]
    name = one.name if len(one.name) <= _NAME_WIDTH else one.name[: _NAME_WIDTH - 2] + ".."
    ratios = [f"{one.ratio(peer):.3f}"[:5] for peer in _SHORT]
    size = f"{one.ours / one.rows:.3f}"
    return [name, f"{one.rows:,}", size, *ratios, _SHORT[one.best_peer], *speeds]


def _worst(found: Sequence[Measured], peer_of: Callable[[Measured], str], whose: str) -> Figure:
    worst = max(found, key=lambda one: one.ratio(peer_of(one)))
    peer = peer_of(worst)
    return Figure(
        worst.ratio(peer), f"our bytes by {whose}, the worst column: {worst.name} ({peer})"
    )


_HEADING: Final = (
    "Columns: our bytes a row; our bytes by each peer's, and the smallest peer; MB/s of encoding\n"
    "and decoding, and how many times pcodec level 8's (x)"
)
_NAME_WIDTH: Final = 28
_SHORT: Final = {
    "pcodec8": "pco8",
    "pcodec12": "pco12",
    "parquet": "parq",
    "blosc2": "blosc",
    "zstd": "zstd",
    "doubledelta": "2delta",
    "gorilla": "goril",
}
_OTHERS: Final = {
    "parquet": "Parquet with zstd",
    "blosc2": "Blosc2 bit shuffle with zstd",
    "zstd": "zstd alone",
    "doubledelta": "second differences with zstd",
    "gorilla": "the Gorilla paper's schemes",
}
