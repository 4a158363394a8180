"""Telling whether a variable still shows what the archive stores, and which rows of it.

A lazy variable tells by what it would read. A Dask array tells by its graph, as long as it does
nothing but take rows: its steps are followed with the rows' numbers in place of their values.
What is in memory tells nothing, and is compared with what is stored.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import xarray as xr
from dask.array import Array
from dask.local import get_sync
from numpy.typing import NDArray
from xarray.core import indexing
from xarray.core.duck_array_ops import array_equiv

from pipeline.errors import InvalidInputError
from pipeline.xarray_engine.lazy_columns import LazyColumn
from pipeline.xarray_engine.origins import RowOrigin
from pipeline.xarray_engine.presentation import Aspect, column_view
from pipeline.xarray_engine.ragged_rows import Rows

__all__ = ["check_untouched"]

_TAKES_ROWS: Final = ("getitem-", "rechunk-merge-", "rechunk-split-")
"""How Dask names layers that only take, join or cut rows."""


def check_untouched(variable: xr.Variable, name: str, origin: RowOrigin, rows: Rows) -> None:
    """Check that a variable shows some rows of a channel as they are stored.

    Parameters
    ----------
    variable
        The variable, along the rows.
    name
        Name of the channel.
    origin
        The rows that the dataset was opened on.
    rows
        Which of them the variable has to show, in their order.

    Raises
    ------
    InvalidInputError
        If it shows other rows, or other values, or that cannot be told.
    """
    shown = _shown(variable._data, name, origin)
    if isinstance(shown, _InMemory):
        if variable.ndim == 1 and _is_stored(shown.values, name, origin, rows):
            return
    elif shown is not None and _equal(shown, rows):
        return
    msg = (
        f"{name!r} is not what the archive stores for these rows: it was computed, masked or "
        "picked after opening, of which the archive knows nothing. Ask before that, or use "
        "xarray's own methods on the values"
    )
    raise InvalidInputError(msg)


class _InMemory:
    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values


def _shown(data: Any, name: str, origin: RowOrigin) -> Rows | _InMemory | None:
    """Return which rows of the origin are shown; None if something else is."""
    if isinstance(data, Array):
        return _of_graph(data, name, origin)
    while isinstance(data, indexing.MemoryCachedArray | indexing.CopyOnWriteArray):
        data = data.array
    if isinstance(data, indexing.NumpyIndexingAdapter):
        data = data.array
    if isinstance(data, np.ndarray):
        return _InMemory(data)
    if not isinstance(data, indexing.LazilyIndexedArray) or not isinstance(data.array, LazyColumn):
        return None
    column, (key,) = data.array, data.key.tuple
    is_same = column.source.is_same(origin.known)
    if not is_same or (column.column, column.aspect) != (name, Aspect.VALUES):
        return None
    if isinstance(key, slice):
        rows = range(column.shape[0])[key]
        return rows if rows.step == 1 else np.arange(rows.start, rows.stop, rows.step)
    return np.asarray(key, np.int64) if np.ndim(key) == 1 else None


def _of_graph(array: Array, name: str, origin: RowOrigin) -> Rows | _InMemory | None:
    layers = array.dask.layers
    roots = [key for key in layers if not array.dask.dependencies[key]]
    if len(roots) != 1 or array.ndim != 1:
        return None
    (root,) = roots
    readers = [key for key in layers if array.dask.dependencies[key] == {root}]
    takes = [key for key in layers if key != root and key not in readers]
    if len(readers) != 1 or not all(key.startswith(_TAKES_ROWS) for key in takes):
        return None
    graph = dict(array.dask)
    source = getattr(graph.get(root), "value", graph.get(root))
    if not isinstance(source, indexing.ImplicitToExplicitIndexingAdapter):
        return None
    shown = _shown(source.array, name, origin)
    if shown is None or isinstance(shown, _InMemory) or not takes:
        return shown
    graph[root] = np.arange(len(shown))
    keys: Any = array.__dask_keys__()
    parts: Any = get_sync(graph, keys)
    places = np.concatenate([np.zeros(0, np.int64), *parts])
    return places + shown.start if isinstance(shown, range) else shown[places]


def _is_stored(values: NDArray[Any], name: str, origin: RowOrigin, rows: Rows) -> bool:
    view, plan = origin.find()
    dtype = column_view(view.meta, name).dtype
    if values.dtype != dtype or len(values) != len(rows):
        return False
    column = LazyColumn(origin.known, name, Aspect.VALUES, len(plan), dtype)
    wanted = slice(rows.start, rows.stop) if isinstance(rows, range) else rows
    key = indexing.OuterIndexer((wanted,))
    return bool(array_equiv(column[key], values))  # type: ignore[no-untyped-call]


def _equal(one: Rows, two: Rows) -> bool:
    if len(one) != len(two):
        return False
    if isinstance(one, range) and isinstance(two, range):
        return one == two or len(one) == 0
    return bool(np.array_equal(np.asarray(one), np.asarray(two)))
