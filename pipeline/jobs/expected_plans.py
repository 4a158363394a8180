"""What commits will most likely be planned, so that parts are encoded before theirs begins.

Codes are given to devices and texts in the order in which parts arrive, here as well as when the
commit is made. They differ only if another writer comes between.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.archive.appending import AppendPlan, plan_append
from pipeline.archive.fleet_view import FleetView
from pipeline.jobs.import_tasks import PartInfo
from pipeline.jobs.joining import distinct

__all__ = ["ExpectedPlans", "Tags", "categories_of", "request"]

Tags = Mapping[str, Mapping[str, str]]
"""Tag values by tag name, by device id."""


class ExpectedPlans:
    """Plans for parts that wait for their commit.

    Parameters
    ----------
    view
        The newest state of the fleet.
    tags
        Tag values to set when a device is registered, by its id.
    version
        Version of the schema that parts have; None for the newest.
    """

    def __init__(self, view: FleetView, tags: Tags, version: int | None = None) -> None:
        self._view = view
        self._tags = tags
        self._version = version
        self._waiting: list[PartInfo] = []
        self._plan: AppendPlan | None = None

    def add(self, infos: Sequence[PartInfo]) -> AppendPlan:
        """Return a plan for parts, which come after those added before."""
        self._waiting.extend(infos)
        if self._plan is None or not _covers(self._plan, infos):
            asked = request(self._view, self._waiting, self._tags)
            self._plan = plan_append(self._view, *asked, self._version)
        return self._plan

    def committed(self, view: FleetView, parts: int) -> None:
        """Go on from a newer state, which has so many of the parts added first."""
        self._view = view
        del self._waiting[:parts]
        self._plan = None


def _covers(plan: AppendPlan, infos: Sequence[PartInfo]) -> bool:
    """Tell whether a plan has a code for everything that parts name."""
    if (plan.device_codes(distinct([info.devices for info in infos])) < 0).any():
        return False
    texts = {
        name: frozenset(plan.meta.categories.get(array, ())) for name, array in plan.arrays.items()
    }
    return all(
        texts.get(name, frozenset()).issuperset(wanted)
        for name, wanted in categories_of(infos).items()
    )


def request(
    view: FleetView, infos: Sequence[PartInfo], tags: Tags
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]], dict[str, Any]]:
    """Return devices, category texts and tags that parts ask an append for.

    Tags are set for new devices only; what the source or an earlier part told comes first.
    """
    devices = distinct([info.devices for info in infos])
    wanted: dict[str, Any] = {}
    if tags or any(info.tags for info in infos):
        wanted = _tags_of(view.registry.unknown(devices), tags, infos)
    return devices, categories_of(infos), wanted


def _tags_of(devices: Iterable[str], tags: Tags, infos: Sequence[PartInfo]) -> dict[str, Any]:
    told = ChainMap(dict(tags), *(dict(info.tags) for info in infos))
    return {name: told[name] for name in devices if name in told}


def categories_of(infos: Sequence[PartInfo]) -> dict[str, tuple[str, ...]]:
    """Return the texts of each category channel, in the order of the joined rows."""
    return {
        name: distinct([info.categories[name] for info in infos]) for name in infos[0].categories
    }
