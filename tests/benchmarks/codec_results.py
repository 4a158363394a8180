"""From measured columns to figures, rows and the table for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.jobs.printing import align
from tests.benchmarks.codec_columns import REAL, SYNTHETIC
from tests.benchmarks.codec_speeds import Pace, Speeds
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
    speeds
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
    speeds: Speeds | None = None

    def ratio(self, peer: str) -> float:
        """Return our bytes by a peer's."""
        return self.ours / self.peers[peer]

    @property
    def best_peer(self) -> str:
        """Key of the peer with the fewest bytes."""
        return min(self.peers, key=lambda peer: self.peers[peer])


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
    timed = {one.name: one.speeds for one in found if one.speeds}
    if not timed:
        return {}
    paces = {
        "encode": {name: speeds.encode.ratio for name, speeds in timed.items()},
        "encode_alone": {name: speeds.alone.ratio for name, speeds in timed.items()},
        "decode": {name: speeds.decode.ratio for name, speeds in timed.items()},
    }
    figures = {}
    for way, ratios in paces.items():
        text = f"our speed by pcodec level 8's, geometric mean over {len(ratios)} columns"
        figures[f"{way}_vs_pcodec8"] = Figure(geometric_mean(ratios.values()), text)
        worst = min(ratios, key=lambda name: ratios[name])
        figures[f"{way}_worst_vs_pcodec8"] = Figure(
            ratios[worst], f"the same, the slowest column: {worst}"
        )
    return figures


def row(one: Measured) -> dict[str, Any]:
    """Return all that was found for a column, for programs."""
    encode, decode = _paces(one)
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
        "encode_mb_s": encode and encode.ours,
        "decode_mb_s": decode and decode.ours,
        "pcodec8_encode_mb_s": encode and encode.theirs,
        "pcodec8_decode_mb_s": decode and decode.theirs,
        "encode_vs_pcodec8": encode and encode.ratio,
        "decode_vs_pcodec8": decode and decode.ratio,
        "stages": one.stages,
    }


def table(found: Sequence[Measured]) -> str:
    """Return a line per column, at most 140 characters long."""
    header = ("column", "rows", "B/row", *_SHORT.values(), "best", "enc", "x", "dec", "x")
    body = align(header, [_cells(one) for one in found])
    return f"{_HEADING}\n{body}"


def _cells(one: Measured) -> list[str]:
    name = one.name if len(one.name) <= _NAME_WIDTH else one.name[: _NAME_WIDTH - 2] + ".."
    ratios = [f"{one.ratio(peer):.3f}"[:5] for peer in _SHORT]
    size = f"{one.ours / one.rows:.3f}"
    speeds = [
        text
        for pace in _paces(one)
        for text in ((f"{pace.ours:,.0f}", f"{pace.ratio:.2f}") if pace else ("-", "-"))
    ]
    return [name, f"{one.rows:,}", size, *ratios, _SHORT[one.best_peer], *speeds]


def _paces(one: Measured) -> tuple[Pace | None, Pace | None]:
    return (one.speeds.encode, one.speeds.decode) if one.speeds else (None, None)


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
