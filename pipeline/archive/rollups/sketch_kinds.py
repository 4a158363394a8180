"""Quantile sketches behind one face, whichever library makes them: insert, merge, to and from bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptBlockError, MissingDependencyError
from pipeline.summaries.quantile_sketch import QuantileSketch
from pipeline.summaries.sketch_format import sketch_from_bytes, sketch_to_bytes

__all__ = ["SKETCH_ATTRIBUTES", "SketchKind", "sketch_kind"]

_KLL_K: Final = 200
"""About 1.3 % of rank, with a confidence of 99 %."""


SKETCH_ATTRIBUTES: Final = {
    "sketch": {"sketch": "counts of geometric buckets, relative error 0.01", "encoding": "base64"},
    "kll": {"sketch": f"Apache DataSketches KLL of doubles, k = {_KLL_K}", "encoding": "base64"},
}
"""By kind, what tells readers of an array what its texts are."""


@dataclass(frozen=True, slots=True)
class SketchKind:
    """What can be done with sketches of one kind.

    Parameters
    ----------
    of
        Returns the sketch of readings: numbers without NaN, shape (readings,).
    merge
        Returns the sketch of the readings of two.
    to_bytes, from_bytes
        Their bytes; the latter is also told what an error calls them.
    """

    of: Callable[[NDArray[Any]], Any]
    merge: Callable[[Any, Any], Any]
    to_bytes: Callable[[Any], bytes]
    from_bytes: Callable[[bytes, str], Any]


def sketch_kind(name: str) -> SketchKind:
    """Return a kind of sketch by its name: ``sketch`` or ``kll``.

    Raises
    ------
    MissingDependencyError
        If its library is not installed.
    """
    return _RELATIVE if name == "sketch" else _kll()


_RELATIVE: Final = SketchKind(
    lambda values: QuantileSketch().insert(values),
    lambda one, two: one.merge(two),
    sketch_to_bytes,
    sketch_from_bytes,
)


def _kll() -> SketchKind:
    try:
        library = import_module("datasketches")
    except ImportError as error:
        msg = "sketches of kind 'kll' need the library datasketches; install iot-archive[sketches]"
        raise MissingDependencyError(msg) from error
    kind = library.kll_doubles_sketch

    def of(values: NDArray[Any]) -> Any:
        sketch = kind(_KLL_K)
        sketch.update(np.asarray(values, np.float64))
        return sketch

    def merge(one: Any, two: Any) -> Any:
        merged = kind(_KLL_K)
        merged.merge(one)
        merged.merge(two)
        return merged

    def from_bytes(data: bytes, where: str) -> Any:
        try:
            return kind.deserialize(data)
        except (RuntimeError, ValueError) as error:
            msg = f"{where}: {len(data)} bytes are no KLL sketch: {error}"
            raise CorruptBlockError(msg) from error

    return SketchKind(of, merge, lambda sketch: bytes(sketch.serialize()), from_bytes)
