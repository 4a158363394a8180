"""How stored columns look to xarray: dtypes, missing values, attributes.

==================  ==================  ====================================================
channel             variable            missing
==================  ==================  ====================================================
float32, float64    the same            NaN
integers to 32 bit  float64             NaN
bool                float64, 0 and 1    NaN
category            object, its texts   None
int64, uint64       the same            the fill value, where ``<channel>_missing`` is True
==================  ==================  ====================================================

The dtype follows from the schema alone, never from the values: it has to be known before any
is read, and a program must not break on the first day with a gap. NaN and None are what xarray
itself takes as missing, so that ``mean``, ``count`` or ``dropna`` do what they say, and float64
holds integers of 32 bits exactly. It does not hold those of 64 bits: they keep their dtype, and
a variable of bools, named in ``ancillary_variables``, tells the missing rows, for any integer
may be a real value. No ``_FillValue`` is declared, which would mask real values that equal it.

References
----------
CF conventions 1.11, sections 3.4 (ancillary data) and 3.5 (flags).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.fleet_meta import FleetMeta
from pipeline.model.batches import Column
from pipeline.model.dtypes import fill_value, storage_dtype
from pipeline.schema.channels import Channel

__all__ = [
    "DEVICE_ATTRIBUTES",
    "TIME_ATTRIBUTES",
    "Aspect",
    "ColumnView",
    "channel_attributes",
    "column_view",
    "has_missing_variable",
    "missing_attributes",
]

TIME_ATTRIBUTES: Final = {"standard_name": "time", "axis": "T"}
DEVICE_ATTRIBUTES: Final = {"cf_role": "timeseries_id"}

_TIME: Final = np.dtype("M8[us]")
_FLOAT: Final = np.dtype(np.float64)


class Aspect(Enum):
    """What of a stored column a variable shows."""

    VALUES = "values"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, eq=False)
class ColumnView:
    """A stored column as a variable.

    Parameters
    ----------
    stored
        Dtype of the raw array.
    dtype
        Dtype of the variable.
    convert
        Makes values of `dtype` from what is stored.
    """

    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    convert: Callable[[Column], NDArray[Any]]


def column_view(meta: FleetMeta, column: str, aspect: Aspect = Aspect.VALUES) -> ColumnView:
    """Return the view of a raw column: ``time``, ``device_index`` or a channel.

    Raises
    ------
    NotFoundError
        If it is none of these.
    """
    if column == "time":
        return ColumnView(np.dtype(np.int64), _TIME, lambda found: found.values.view(_TIME))
    if column == "device_index":
        return ColumnView(np.dtype(np.int32), np.dtype(np.int32), lambda found: found.values)
    channel = meta.schema[column]
    stored = storage_dtype(channel.dtype)
    if aspect is Aspect.MISSING:
        return ColumnView(stored, np.dtype(bool), _missing)
    if channel.dtype == "category":
        texts = np.array([*meta.texts(column), None], dtype=object)
        return ColumnView(stored, texts.dtype, lambda found: texts[_filled(found, -1)])
    if stored.kind == "f":
        return ColumnView(stored, stored, lambda found: _filled(found, np.nan))
    if has_missing_variable(channel):
        return ColumnView(stored, stored, lambda found: _filled(found, fill_value(stored)))
    return ColumnView(stored, _FLOAT, _as_floats)


def has_missing_variable(channel: Channel) -> bool:
    """Tell whether a channel's dtype has no room for a mark at missing rows."""
    return channel.dtype in ("int64", "uint64")


def channel_attributes(channel: Channel) -> dict[str, Any]:
    """Return the CF attributes of a channel's variable."""
    attributes: dict[str, Any] = {"long_name": channel.description or channel.name}
    if channel.units:
        attributes["units"] = channel.units
    if channel.dtype == "bool":
        attributes |= {"flag_values": [0.0, 1.0], "flag_meanings": "false true"}
    return attributes


def missing_attributes(channel: Channel) -> dict[str, Any]:
    """Return the CF attributes of the variable that tells a channel's missing rows."""
    return {
        "long_name": f"{channel.name} has no value in this row",
        "standard_name": "status_flag",
        "flag_values": np.array([0, 1], np.int8),
        "flag_meanings": "present missing",
    }


def _missing(found: Column) -> NDArray[np.bool_]:
    return np.zeros(len(found), bool) if found.valid is None else ~found.valid


def _filled(found: Column, mark: Any) -> NDArray[Any]:
    """Return the values with `mark` at missing rows, in their own dtype."""
    if found.valid is None:
        return found.values
    return np.where(found.valid, found.values, found.values.dtype.type(mark))


def _as_floats(found: Column) -> NDArray[np.float64]:
    return _filled(Column(found.values.astype(np.float64), found.valid), np.nan)
