"""What users write in ``sel``: device ids and times, made plain.

Slices of labels include both ends, as everywhere in xarray and pandas; elsewhere in this package
time ranges are half-open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.timestamps import to_microseconds

__all__ = ["Times", "device_labels", "time_labels"]

_PARTIAL: Final = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?)?)?")


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """Times that were asked for.

    Parameters
    ----------
    start, stop
        Half-open range in microseconds since 1970-01-01 UTC that holds them; None for an open end.
    moments
        ``int64``, ascending: the single times wanted, none of which may be missing; None for all of
        the range.
    may_be_empty
        Whether it is no error if there is no row: a range was asked for, not a time.
    """

    start: int | None
    stop: int | None
    moments: NDArray[np.int64] | None = None
    may_be_empty: bool = True


def time_labels(label: Any) -> Times:
    """Return the times that a label for ``time`` means.

    Parameters
    ----------
    label
        A slice, whose ends are included; one time; or a list or array of times. A text that names
        a year, month, day, hour, minute or second (``"2026-03"``) means all of it, at the end of
        a slice too. Without an offset times are taken as UTC.

    Raises
    ------
    InvalidInputError
        If it is no time, or a slice with a step.

    Examples
    --------
    >>> time_labels(slice("1970-01-01", "1970-01-01T00:00"))
    Times(start=0, stop=60000000, moments=None, may_be_empty=True)
    """
    if isinstance(label, slice):
        if label.step is not None:
            msg = f"time={label!r}: a slice of times has no step; resample, or take every nth row with isel"
            raise InvalidInputError(msg)
        start = None if label.start is None else _span(label.start)[0]
        stop = None if label.stop is None else _span(label.stop)[1]
        return Times(start, stop if start is None or stop is None else max(start, stop))
    if _is_scalar(label):
        return Times(*_span(label), may_be_empty=False)
    moments = np.unique(np.array([to_microseconds(one) for one in _listed(label)], np.int64))
    if not len(moments):
        return Times(0, 0, moments)
    return Times(int(moments[0]), int(moments[-1]) + 1, moments, may_be_empty=False)


def device_labels(label: Any) -> str | list[str]:
    """Return the device id, or ids, that a label for ``device`` means.

    Raises
    ------
    InvalidInputError
        If it is a slice, or names a device twice.
    """
    if isinstance(label, slice):
        if label == slice(None):
            msg = "device=slice(None) is every device; leave it out"
        else:
            msg = f"device={label!r}: devices have no order; give their ids as a list"
        raise InvalidInputError(msg)
    if isinstance(label, str):
        return label
    if _is_scalar(label):
        return _text(np.asarray(label)[()])
    wanted = [_text(one) for one in _listed(label)]
    if len(set(wanted)) < len(wanted):
        twice = next(one for at, one in enumerate(wanted) if one in wanted[:at])
        msg = f"device {twice!r} is asked for twice; give each device once"
        raise InvalidInputError(msg)
    return wanted


def _span(value: Any) -> tuple[int, int]:
    """Return the half-open range that a time, or a text that names a period, stands for."""
    if not isinstance(value, str):
        scalar = np.asarray(value)[()] if hasattr(value, "dtype") else value
        moment = to_microseconds(str(scalar) if isinstance(scalar, np.str_) else scalar)
        return moment, moment + 1
    if not _PARTIAL.fullmatch(value):
        moment = to_microseconds(value)
        return moment, moment + 1
    try:
        period = np.datetime64(value.replace(" ", "T"))
    except ValueError as error:
        msg = f"{value!r} is not a time: {error}"
        raise InvalidInputError(msg) from error
    start = np.array([period])
    edges = np.concatenate([start, start + np.ones(1, start.dtype.str.replace("M8", "m8"))])
    first, last = edges.astype("M8[us]").astype(np.int64).tolist()
    return first, last


def _is_scalar(label: Any) -> bool:
    return isinstance(label, str | bytes) or np.ndim(label) == 0


def _listed(label: Any) -> list[Any]:
    if np.ndim(label) != 1:
        msg = f"labels have to be one or a list, and not an array of {np.ndim(label)} dimensions"
        raise InvalidInputError(msg)
    return list(np.asarray(label)) if hasattr(label, "dtype") else list(label)


def _text(one: Any) -> str:
    if not isinstance(one, str):
        msg = f"no device {one!r}: ids are texts"
        raise KeyError(msg)
    return str(one)
