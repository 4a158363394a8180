"""Quantile sketches of cells of a rollup, made of readings and of sketches of shorter periods."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.rollups.sketch_kinds import SketchKind
from pipeline.summaries.merging import runs_of

__all__ = ["SketchCells"]


class SketchCells:
    """One sketch for each cell that has a reading.

    Parameters
    ----------
    kind
        Of the sketches.
    size
        Number of cells.
    """

    def __init__(self, kind: SketchKind, size: int) -> None:
        self._kind = kind
        self._size = size
        self._sketches: dict[int, Any] = {}

    def add(self, cells: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Count readings, whose cells come in runs."""
        starts = runs_of(cells)
        for cell, part in zip(cells[starts].tolist(), np.split(values, starts[1:]), strict=False):
            self.merge(cell, self._kind.of(part))

    def merge(self, cell: int, sketch: Any) -> None:
        """Add a sketch to that of a cell."""
        held = self._sketches.get(cell)
        self._sketches[cell] = sketch if held is None else self._kind.merge(held, sketch)

    def texts(self) -> NDArray[np.object_]:
        """Return the sketches as base64 texts, shape (cells,); empty where there is none."""
        found = np.full(self._size, "", dtype=object)
        for cell, sketch in self._sketches.items():
            found[cell] = b64encode(self._kind.to_bytes(sketch)).decode("ascii")
        return found
