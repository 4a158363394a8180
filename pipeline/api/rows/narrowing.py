"""From a filter to the devices, times and values that have to be read for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.api.rows.filters import (
    Compare,
    Every,
    Filter,
    Literal,
    Missing,
    Moment,
    OneOf,
    Present,
    Some,
)
from pipeline.archive.fleet_view import KEYS, FleetView
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.conditions import Condition, Conditions
from pipeline.partitioning.intervals import Intervals
from pipeline.partitioning.pruning import Selection

__all__ = ["narrowed"]

_DEVICE, _TIME = (dtype for _, dtype in KEYS)
_EXACT: Final = {"float32": 2**24, "float64": 2**53}
"""Whole numbers up to these are floats, whichever of both sides an engine converts."""


@dataclass(frozen=True, slots=True)
class _Allowed:
    """Values a column may have in wanted rows, as they are stored; devices as codes."""

    values: Intervals
    dtype: np.dtype[Any]
    missing: bool = False

    def both(self, other: _Allowed) -> _Allowed:
        values = self.values.both(other.values)
        return _Allowed(values, self.dtype, self.missing and other.missing)

    def either(self, other: _Allowed) -> _Allowed:
        values = Intervals.union([self.values, other.values], self.dtype)
        return _Allowed(values, self.dtype, self.missing or other.missing)


type _Limits = dict[str, _Allowed]
"""By column, what it may have; columns that may have anything are left out."""


def narrowed(view: FleetView, selection: Selection, wanted: Filter) -> Selection:
    """Return a selection that still has all rows that satisfy a filter, and often few others.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    selection
        What is asked for so far.
    wanted
        The filter; its columns are ``device``, ``time`` and channels.
    """
    limits = _limits(view, wanted)
    if limits is None:
        return _with(selection, codes=np.zeros(0, np.int64))
    start, stop, codes = selection.start, selection.stop, selection.codes
    conditions = list(selection.conditions.parts)
    for column, allowed in limits.items():
        if column == "time":
            bounds = allowed.values.bounds
            start, stop = max(start, int(bounds[0][0])), min(stop, int(bounds[-1][1]) + 1)
        elif column == "device":
            some = _codes(allowed.values)
            codes = some if codes is None else np.intersect1d(codes, some, assume_unique=True)
        else:
            conditions.append(Condition(column, allowed.values, allowed.missing))
    if start >= stop:
        return _with(selection, codes=np.zeros(0, np.int64))
    return Selection.of(start, stop, codes, Conditions(tuple(conditions)))


def _with(selection: Selection, codes: NDArray[np.int64]) -> Selection:
    return Selection(selection.start, selection.stop, codes, selection.conditions)


def _codes(values: Intervals) -> NDArray[np.int64]:
    runs = [np.arange(low, high + 1, dtype=np.int64) for low, high in values.bounds]
    return np.concatenate(runs) if runs else np.zeros(0, np.int64)


def _limits(view: FleetView, wanted: Filter) -> _Limits | None:
    """Return what columns may have, None if no row can satisfy the filter."""
    match wanted:
        case Every(parts):
            return _all(_limits(view, part) for part in parts)
        case Some(parts):
            return _any(_limits(view, part) for part in parts)
        case Compare(column) | OneOf(column) | Missing(column) | Present(column):
            allowed = _allowed(view, column, wanted)
            if allowed is None:
                return {}
            return {column: allowed} if allowed.values.bounds or allowed.missing else None
    return {}


def _all(several: Iterable[_Limits | None]) -> _Limits | None:
    found: _Limits = {}
    for limits in several:
        if limits is None:
            return None
        for column, allowed in limits.items():
            both = allowed.both(found[column]) if column in found else allowed
            if not both.values.bounds and not both.missing:
                return None
            found[column] = both
    return found


def _any(several: Iterable[_Limits | None]) -> _Limits | None:
    found = [limits for limits in several if limits is not None]
    if not found:
        return None
    shared = [column for column in found[0] if all(column in limits for limits in found)]
    return {
        column: reduce(_Allowed.either, (limits[column] for limits in found)) for column in shared
    }


def _allowed(
    view: FleetView, column: str, wanted: Compare | OneOf | Missing | Present
) -> _Allowed | None:
    """Return what one condition allows, None if it cannot be told."""
    name = _dtype_name(view, column)
    if name is None:
        return None
    dtype = {"device": _DEVICE, "time": _TIME}.get(name) or storage_dtype(name)
    match wanted:
        case Missing():
            return _Allowed(Intervals(), dtype, missing=name not in ("device", "time"))
        case Present():
            every = Intervals.comparing(">=", Decimal("-inf"), dtype)
            return None if dtype.kind == "f" else _Allowed(every, dtype)
        case Compare(_, operator, value, nan):
            values = _matching(view, column, name, operator, value)
            return None if values is None else _Allowed(values, dtype, nan and dtype.kind == "f")
        case OneOf(_, several, missing):
            parts = [_matching(view, column, name, "==", value) for value in several]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            return _Allowed(Intervals.union(known, dtype), dtype, missing)


def _dtype_name(view: FleetView, column: str) -> str | None:
    if column in ("device", "time"):
        return column
    names = view.meta.schema.names
    return view.meta.schema[column].dtype if column in names else None


def _matching(
    view: FleetView, column: str, name: str, operator: str, value: Literal
) -> Intervals | None:
    """Return the stored values that compare as told, None where an engine may see it otherwise."""
    match name, value:
        case ("device", str()):
            (code,) = view.registry.find([value]).tolist()
            return _equal(operator, code if code >= 0 else None, _DEVICE)
        case ("category", str()):
            texts = view.meta.texts(column)
            state = texts.index(value) if value in texts else None
            return _equal(operator, state, storage_dtype("category"))
        case ("time", Moment(microseconds)):
            return Intervals.comparing(operator, microseconds, _TIME)
        case ("bool", bool()):
            return _equal(operator, int(value), storage_dtype("bool"))
        case ("device" | "category" | "time" | "bool", _) | (_, str() | bool() | Moment()):
            return None
    return _numbers(storage_dtype(name), operator, value)


def _equal(operator: str, number: int | None, dtype: np.dtype[Any]) -> Intervals | None:
    if operator != "==":
        return None
    return Intervals() if number is None else Intervals.comparing("==", Decimal(number), dtype)


def _numbers(dtype: np.dtype[Any], operator: str, value: Any) -> Intervals | None:
    is_float = isinstance(value, float)
    if dtype.kind != "f":
        # Engines compare whole numbers with floats as floats, and large ones are rounded then.
        return None if is_float else Intervals.comparing(operator, Decimal(value), dtype)
    if value != value or (not is_float and abs(value) > _EXACT[dtype.name]):
        return None
    return Intervals.comparing(operator, Decimal(value), dtype)
