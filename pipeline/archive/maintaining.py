"""Everything that keeps an archive small and fast, in the order in which it has to be done.

Positions that only the history knows are written down first; then rows and statistics are dropped
whose time is over, blocks are merged, and at last what no state that is kept needs is deleted.
Every part may be killed and run again, and readers and writers go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from zarr.abc.store import Store

from pipeline.archive.compaction import CompactionResult
from pipeline.archive.expiry import DEFAULT_SAFETY, Forgotten, check_ages, forget
from pipeline.archive.fleet_meta import fleet_names
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.leftover_grids import drop_leftovers
from pipeline.archive.positions import adopt_positions, fold_positions
from pipeline.archive.thinning import Thinned, apply_retention
from pipeline.archive.transactions import Commit, Repository
from pipeline.model.timestamps import to_microseconds

__all__ = ["FleetMaintenance", "MaintenanceResult", "keep_positions", "maintain"]


@dataclass(frozen=True, slots=True)
class FleetMaintenance:
    """What maintenance did for one fleet.

    Parameters
    ----------
    thinned
        What its retention dropped.
    compacted
        What was merged; None if that was not asked for.
    """

    thinned: Thinned
    compacted: CompactionResult | None


@dataclass(frozen=True, slots=True)
class MaintenanceResult:
    """What maintenance did.

    Parameters
    ----------
    fleets
        By fleet, what was dropped and merged.
    forgotten
        Snapshots expired and objects deleted, of the whole archive.
    """

    fleets: dict[str, FleetMaintenance]
    forgotten: Forgotten

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return asdict(self)


def maintain(
    repository: Repository,
    fleets: Iterable[str],
    clock: Callable[[], datetime],
    history: timedelta,
    safety: timedelta = DEFAULT_SAFETY,
    *,
    alone: bool = False,
    compact: Callable[[FleetStore], CompactionResult] | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> MaintenanceResult:
    """Maintain an archive.

    Parameters
    ----------
    repository
        The archive.
    fleets
        Names of the fleets whose retention is applied and whose blocks are merged.
    clock
        Tells the present, with a timezone: what was merged just now is younger than the states
        that are forgotten.
    history, safety, alone
        As for `pipeline.archive.expiry.forget`.
    compact
        Merges a fleet's blocks; None leaves them alone.
    told
        Called with what is being done.

    Raises
    ------
    InvalidInputError
        If an age is not allowed.
    ArchiveError
        If a part fails; what was done stays, and running it again goes on.
    """
    check_ages(history, safety, alone)
    done = {}
    for name in fleets:
        told(f"retention of {name}")
        thinned = apply_retention(repository, name, to_microseconds(clock()))
        compacted = None
        if compact is not None:
            told(f"compaction of {name}")
            compacted = compact(FleetStore(repository, name))
        done[name] = FleetMaintenance(thinned, compacted)
    told("expiry")
    keep_positions(repository)
    for name in fleet_names(repository.snapshot().store):
        drop_leftovers(repository, name, clock() - safety)
    return MaintenanceResult(done, forget(repository, clock(), history, safety, alone=alone))


def keep_positions(repository: Repository) -> None:
    """See to it that no fleet's positions are in the history alone, nor in too many pieces."""
    for name in fleet_names(repository.snapshot().store):
        repository.commit(
            lambda store: _keep_positions(store, name, repository.history()),  # noqa: B023
            f"positions of {name}",
            lambda _: {"fleet": name, "kind": "positions"},  # noqa: B023
        )


def _keep_positions(store: Store, fleet: str, history: Iterable[Commit]) -> None:
    adopt_positions(store, fleet, history)
    fold_positions(store, fleet)
