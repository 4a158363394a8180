"""One fleet of a repository: its views and its appends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from pipeline.archive.appending import (
    AppendPlan,
    AppendResult,
    StalePlanError,
    commit_prepared,
    plan_append,
)
from pipeline.archive.device_changes import Tags
from pipeline.archive.device_registry import DeviceRegistry
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.preparing import Memories, Prepared, prepare
from pipeline.archive.transactions import Repository
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects

__all__ = ["FleetStore", "prepare_planned"]


class FleetStore:
    """Reads and appends one fleet.

    Parameters
    ----------
    repository
        The archive's repository.
    name
        The fleet's name.
    """

    def __init__(self, repository: Repository, name: str) -> None:
        self.repository = repository
        self.name = name
        self._registry: DeviceRegistry | None = None
        self._memories: Memories = {}

    def view(self, at: str | datetime | None = None) -> FleetView:
        """Return the fleet at the newest snapshot, at one by id, or as of a time."""
        snapshot = self.repository.snapshot(at)
        known = self._registry if at is None else None
        view = FleetView.load(snapshot.store, snapshot.id, self.name, known)
        if at is None:
            self._registry = view.registry
        return view

    def append(
        self,
        batch: RecordBatch,
        rejects: Rejects | None = None,
        *,
        tags: Tags | None = None,
        positions: Mapping[str, Any] | None = None,
        view: FleetView | None = None,
    ) -> AppendResult:
        """Store a validated batch and rejected rows in one commit.

        Parameters
        ----------
        batch
            Rows whose columns are the channels of the fleet's schema.
        rejects
            Rows for quarantine.
        tags
            Tag values to set, by device id.
        positions
            Positions of sources that the commit makes durable together with the rows.
        view
            The newest view known, to save reading it again.

        Raises
        ------
        DuplicateRowsError
            If the fleet refuses duplicates and there are some.
        ConflictError, StorageError
            If the commit is not possible; nothing of the batch is stored then.
        """
        return self.append_prepared(
            batch.devices,
            {name: column.categories or () for name, column in batch.columns.items() if column.categories is not None},
            lambda plan: [prepare_planned(batch, plan, self._memories)],
            [] if rejects is None else [rejects],
            tags=tags,
            positions=positions,
            view=view,
        )  # fmt: skip

    def append_prepared(
        self,
        devices: Sequence[str],
        categories: Mapping[str, Sequence[str]],
        prepare_all: Callable[[AppendPlan], Sequence[Prepared]],
        rejects: Sequence[Rejects],
        *,
        tags: Tags | None = None,
        positions: Mapping[str, Any] | None = None,
        view: FleetView | None = None,
    ) -> AppendResult:
        """Store batches that are prepared elsewhere, once the codes of their devices are known.

        Parameters
        ----------
        devices, categories
            Device ids and category texts that occur in the batches.
        prepare_all
            Encodes the batches under a plan; called again if another writer took its codes.
        rejects, tags, positions, view
            As for `append`.
        """
        received = datetime.now(UTC)
        while True:
            plan = plan_append(view or self.view(), devices, categories, tags)
            prepared = prepare_all(plan)
            try:
                snapshot, result = self.repository.commit(
                    lambda store: commit_prepared(store, plan, prepared, rejects, received),  # noqa: B023
                    f"append to {self.name}",
                    lambda result: self._metadata(result, positions or {}),
                )
            except StalePlanError:
                view = None
                continue
            self._registry = plan.devices.stored()
            return replace(result, snapshot=snapshot)

    def _metadata(self, result: AppendResult, positions: Mapping[str, Any]) -> dict[str, Any]:
        counts = {name: value for name, value in asdict(result).items() if name != "snapshot"}
        return {"fleet": self.name, "kind": "append", **counts, "positions": dict(positions)}


def prepare_planned(
    batch: RecordBatch, plan: AppendPlan, memories: Memories | None = None
) -> Prepared:
    """Prepare a batch with the codes of a plan; see `pipeline.archive.preparing.prepare`."""
    texts = {
        name: column.categories
        for name, column in batch.columns.items()
        if column.categories is not None
    }
    codes = plan.device_codes(batch.devices)
    return prepare(batch, plan.meta, codes, plan.category_codes(texts), memories)
