"""CF attributes of statistics: what a variable is called, its units, and its cell method."""

from __future__ import annotations

from typing import Final

from pipeline.schema.channels import Channel
from pipeline.summaries.asked import Statistic

__all__ = ["statistic_attributes"]

_CELL_METHODS: Final = {
    "min": "minimum",
    "max": "maximum",
    "sum": "sum",
    "mean": "mean",
    "std": "standard_deviation",
    "var": "variance",
    "first": "point",
    "last": "point",
    "range": "range",
    "median": "median",
    "increase": "sum (comment: of increments, a reset counts from zero)",
    "rate": "mean (comment: increase per second)",
    "time_weighted_mean": "mean (comment: over time, straight between readings)",
    "time_weighted_mean_previous": "mean (comment: over time, each reading until the next)",
    "time_in_state": "sum (comment: of time, each reading until the next)",
}
_UNITS: Final = {
    "count": "1",
    "missing": "1",
    "distinct": "1",
    "histogram": "1",
    "time_in_state": "s",
}


def statistic_attributes(channel: Channel, statistic: Statistic) -> dict[str, str]:
    """Return the attributes of a variable that holds a statistic of a channel by time.

    References
    ----------
    CF conventions 1.11, section 7.3 (cell methods).
    """
    label = statistic.label.replace("_", " ")
    attributes = {"long_name": f"{label} of {channel.description or channel.name}"}
    units = _units(channel, statistic.kind)
    if units:
        attributes["units"] = units
    if statistic.kind in _CELL_METHODS:
        attributes["cell_methods"] = f"time: {_CELL_METHODS[statistic.kind]}"
    return attributes


def _units(channel: Channel, kind: str) -> str:
    if kind in _UNITS:
        return _UNITS[kind]
    if kind == "rate":
        return f"{channel.units} s-1".strip()
    return f"({channel.units})2" if channel.units and kind == "var" else channel.units
