"""A compressed, queryable archive for IoT time series.

>>> import pipeline
>>> archive = pipeline.Archive.create("memory://")
>>> rooms = archive.create_fleet("rooms", pipeline.Schema([pipeline.Channel("temperature", "float64")]))

Names are imported on first use, so that the codecs, which plain Zarr loads through this
package's entry points, do not pay for the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.analytics.approximate.budget import Budget
    from pipeline.api.archive import Archive
    from pipeline.api.caching import set_cache_size
    from pipeline.api.fleet import Fleet
    from pipeline.jobs.running import run
    from pipeline.partitioning.scheme import Partitioning
    from pipeline.schema.channels import Channel, Schema
    from pipeline.summaries.asked import histogram

__all__ = [
    "Archive",
    "Budget",
    "Channel",
    "Fleet",
    "Partitioning",
    "Schema",
    "histogram",
    "run",
    "set_cache_size",
]

_HOMES = {
    "Archive": "pipeline.api.archive",
    "Budget": "pipeline.analytics.approximate.budget",
    "Channel": "pipeline.schema.channels",
    "Fleet": "pipeline.api.fleet",
    "Partitioning": "pipeline.partitioning.scheme",
    "Schema": "pipeline.schema.channels",
    "histogram": "pipeline.summaries.asked",
    "run": "pipeline.jobs.running",
    "set_cache_size": "pipeline.api.caching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module 'pipeline' has no attribute {name!r}; it offers {', '.join(__all__)}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
