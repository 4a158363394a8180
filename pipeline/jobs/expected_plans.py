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
from pipeline.jobs.import_parts import PartInfo, categories_of
from pipeline.jobs.joining import distinct
from pipeline.jobs.known_codes import KnownCodes

__all__ = ["ExpectedPlans", "Tags", "request"]

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
        self._names = _Names()
        self._known: tuple[AppendPlan, KnownCodes] | None = None

    def add(self, infos: Sequence[PartInfo]) -> AppendPlan:
        """Return a plan for parts, which come after those added before."""
        self._waiting.extend(infos)
        if self._plan is None or not _covers(self._plan, infos):
            self._plan = self._planned()
        if self._names.add(infos):
            self._known = None
        return self._plan

    def known(self) -> tuple[AppendPlan, KnownCodes] | None:
        """Return a plan for more of the same, and the codes it has for all that parts named so far.

        None if there were no parts yet. The codes are the same object as long as they are the same.
        """
        if not self._names.devices:
            return None
        if self._plan is None:
            self._plan = self._planned()
        if self._known is None or self._known[0] is not self._plan:
            codes = KnownCodes.of(self._plan, *self._names.all())
            same = self._known is not None and self._known[1] == codes
            self._known = self._plan, self._known[1] if same and self._known else codes
        return self._known

    def _planned(self) -> AppendPlan:
        if not self._waiting:
            return plan_append(self._view, (), {}, None, self._version)
        asked = request(self._view, self._waiting, self._tags)
        return plan_append(self._view, *asked, self._version)

    def committed(self, view: FleetView, parts: int) -> None:
        """Go on from a newer state, which has so many of the parts added first."""
        self._view = view
        del self._waiting[:parts]
        self._plan = None


class _Names:
    """Devices, and texts by category channel, that parts named."""

    def __init__(self) -> None:
        self.devices: dict[str, None] = {}
        self._texts: dict[str, dict[str, None]] = {}

    def add(self, infos: Sequence[PartInfo]) -> bool:
        """Add those of parts; tell whether some are new."""
        before = self._count()
        for info in infos:
            self.devices.update(dict.fromkeys(info.devices))
            for channel, texts in info.categories.items():
                self._texts.setdefault(channel, {}).update(dict.fromkeys(texts))
        return self._count() > before

    def all(self) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
        """Return devices and texts in the order in which they came."""
        return tuple(self.devices), {name: tuple(texts) for name, texts in self._texts.items()}

    def _count(self) -> int:
        return len(self.devices) + sum(map(len, self._texts.values()))


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
