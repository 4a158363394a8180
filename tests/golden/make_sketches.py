"""Writes the golden quantile sketches: ``python -m tests.golden.make_sketches``.

Only what is missing is added; bytes that are there are never written again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.summaries.quantile_sketch import QuantileSketch
from pipeline.summaries.sketch_format import sketch_to_bytes

__all__ = ["FOLDER", "add_missing", "sketch_cases"]

FOLDER = Path(__file__).parent / "sketches"


def sketch_cases() -> dict[str, QuantileSketch]:
    """Return the sketches by name."""
    steps = np.arange(1000)
    wide = QuantileSketch(0.02).insert(np.full(70_000, 3.5))
    return {
        "empty": QuantileSketch(),
        "sensor": QuantileSketch(0.01).insert(np.round(20 + 5 * np.sin(steps / 50), 1)),
        "both-signs": QuantileSketch(0.05).insert((steps - 500) / 7),
        "specials": QuantileSketch().insert(np.array([0.0, -0.0, np.inf, -np.inf, 5e-324, 1e308])),
        "collapsed": QuantileSketch(0.1, 8).insert(np.logspace(-3, 6, 100)),
        "wide-counts": wide,
    }


def add_missing(folder: Path) -> list[str]:
    """Write the cases that a folder lacks, and return their names."""
    added = []
    for name, sketch in sketch_cases().items():
        path = folder / f"{name}.sketch"
        if not path.exists():
            path.write_bytes(sketch_to_bytes(sketch))
            added.append(name)
    return added


if __name__ == "__main__":
    print("added:", ", ".join(add_missing(FOLDER)) or "nothing")
