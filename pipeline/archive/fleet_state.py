"""The counters of a fleet that commits move."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zarr.abc.store import Store

from pipeline.archive.layout import STATE_FIELDS, FleetLayout

__all__ = ["FleetState"]


@dataclass(frozen=True, slots=True)
class FleetState:
    """Counters that every commit may move: see the layout's ``state``."""

    devices: int = 0
    device_revision: int = 0
    sequence: int = 0
    quarantined: int = 0
    indexed: int = 0

    @classmethod
    def load(cls, store: Store, layout: FleetLayout) -> FleetState:
        """Read the counters."""
        values = layout.state.load(store, [(0,)])[(0,)]
        return cls(*(int(value) for value in values[: len(STATE_FIELDS)]))

    def save(self, store: Store, layout: FleetLayout) -> None:
        """Write the counters."""
        values = layout.state.blank()
        values[: len(STATE_FIELDS)] = [getattr(self, name) for name in STATE_FIELDS]
        layout.state.write(store, {(0,): values})

    def moved(self, **changes: int) -> FleetState:
        """Return the counters with some of them increased by `changes`."""
        return replace(self, **{name: getattr(self, name) + by for name, by in changes.items()})
