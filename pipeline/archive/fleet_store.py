"""One fleet of a repository: its views, its appends, and what replaces blocks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from zarr.abc.store import Store

from pipeline.archive.appending import (
    AppendPlan,
    AppendResult,
    commit_prepared,
    plan_append,
    stored_batch,
)
from pipeline.archive.device_changes import Tags
from pipeline.archive.device_registry import DeviceRegistry
from pipeline.archive.fleet_meta import load_fleet
from pipeline.archive.fleet_state import StalePlanError
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.forked_appends import BlockWriters, commit_forked
from pipeline.archive.older_rows import converted_batch
from pipeline.archive.preparing import Memories, Prepared, prepare
from pipeline.archive.remembering import RememberingStore
from pipeline.archive.retention import Retention
from pipeline.archive.rewriting import Rewrite, RewriteResult, commit_rewrites
from pipeline.archive.summary_tables import Cells
from pipeline.archive.thinning import save_retention
from pipeline.archive.transactions import Repository
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects

__all__ = ["FleetStore", "prepare_planned"]

_log = logging.getLogger(__name__)


class FleetStore:
    """Reads, appends and rewrites one fleet.

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
        self._last: FleetView | None = None
        self._newest: FleetView | None = None
        self._lock = threading.Lock()
        self._memories: Memories = {}

    def view(self, at: str | datetime | None = None) -> FleetView:
        """Return the fleet at the newest snapshot, at one by id, or as of a time."""
        snapshot = self.repository.snapshot(at)
        with self._lock:
            known = self._newest if at is None else self._last
            if known is not None and known.snapshot == snapshot.id:
                return known  # a snapshot never changes
            store = RememberingStore(snapshot.store, snapshot.id)
            if at is not None:
                self._last = FleetView.load(store, snapshot.id, self.name)
                return self._last
            if known is not None:
                store.follow(known.store, self.repository.differences)
            view = FleetView.load(store, snapshot.id, self.name, self._registry)
            self._newest, self._registry = view, view.registry
            return view

    def append(
        self,
        batch: RecordBatch,
        rejects: Rejects | Sequence[Rejects] | None = None,
        *,
        tags: Tags | None = None,
        positions: Mapping[str, Any] | None = None,
        view: FleetView | None = None,
        version: int | None = None,
        memories: Memories | None = None,
        check: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> AppendResult:
        """Store a validated batch and rejected rows in one commit.

        Parameters
        ----------
        batch
            Rows whose columns are the channels of a version of the fleet's schema.
        rejects
            Rows for quarantine, of one source or several.
        tags
            Tag values to set, by device id.
        positions
            Positions of sources that the commit makes durable together with the rows.
        view
            The newest view known, to save reading it again.
        version
            Version of the schema that the rows have; None for the newest. Rows of an older one are
            converted, if that is the fleet's policy, and those that do not fit are set aside.
        memories
            What earlier batches tell about encoding this one; by default those of this object.
        check
            As for `append_prepared`.

        Raises
        ------
        DuplicateRowsError
            If the fleet refuses duplicates and there are some.
        ConflictError, StorageError
            If the commit is not possible; nothing of the batch is stored then.
        """
        aside = [rejects] if isinstance(rejects, Rejects) else list(rejects or ())
        meta = (view or self.view()).meta
        newest = meta.history.newest
        if version is not None and version != newest and meta.policies.older == "convert":
            batch, unfit = converted_batch(meta.history, batch, version, newest)
            aside += [unfit] if len(unfit) else []
            version = newest
        known = self._memories if memories is None else memories
        told = newest if version is None else version
        return self.append_all(
            [batch],
            aside,
            tags=tags,
            positions=positions,
            view=view,
            version=told,
            memories=known,
            check=check,
        )

    def append_all(
        self,
        batches: Sequence[RecordBatch],
        rejects: Sequence[Rejects],
        *,
        version: int,
        tags: Tags | None = None,
        positions: Mapping[str, Any] | None = None,
        view: FleetView | None = None,
        memories: Memories | None = None,
        check: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> AppendResult:
        """Store batches of one version of the schema, as it is, in one commit; see `append`.

        Of rows with equal device and time in two batches, those of the later one are the newer.
        """
        known = self._memories if memories is None else memories
        texts: dict[str, tuple[str, ...]] = {}
        for batch in batches:
            for name, column in batch.columns.items():
                if column.categories is not None:
                    found = dict.fromkeys([*texts.get(name, ()), *column.categories])
                    texts[name] = tuple(found)
        return self.append_prepared(
            tuple(dict.fromkeys(device for batch in batches for device in batch.devices)),
            texts,
            lambda plan: [prepare_planned(batch, plan, known) for batch in batches if len(batch)],
            rejects,
            tags=tags,
            positions=positions,
            view=view,
            version=version,
            check=check,
        )

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
        check: Callable[[Mapping[str, Any]], None] | None = None,
        version: int | None = None,
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
        check
            As for `pipeline.archive.appending.commit_prepared`. Only commits with positions are
            sure to be checked against the newest ones.
        version
            Version of the schema that the rows have, and are stored in; None for the newest.
        """

        def commit(plan: AppendPlan, write: Any, *told: Any) -> tuple[str, AppendResult]:
            change = partial(write, plan=plan, prepared=prepare_all(plan))
            return self.repository.commit(change, *told)

        return self._append(
            devices, categories, commit, rejects, tags, positions, view, version, check
        )

    def append_forked(
        self,
        devices: Sequence[str],
        categories: Mapping[str, Sequence[str]],
        writers: BlockWriters,
        rejects: Sequence[Rejects],
        *,
        tags: Tags | None = None,
        positions: Mapping[str, Any] | None = None,
        view: FleetView | None = None,
        version: int | None = None,
    ) -> AppendResult:
        """Store batches that other processes prepare and write.

        Parameters
        ----------
        devices, categories, rejects, tags, positions, view, version
            As for `append_prepared`.
        writers
            The processes.
        """

        def commit(plan: AppendPlan, write: Any, *told: Any) -> tuple[str, AppendResult]:
            prepared = writers.prepare(plan)
            change = partial(write, plan=plan, prepared=prepared)
            return commit_forked(self.repository, plan, prepared, writers, change, *told)

        return self._append(devices, categories, commit, rejects, tags, positions, view, version)

    def _append(
        self,
        devices: Sequence[str],
        categories: Mapping[str, Sequence[str]],
        commit: Callable[..., tuple[str, AppendResult]],
        rejects: Sequence[Rejects],
        tags: Tags | None,
        positions: Mapping[str, Any] | None,
        view: FleetView | None,
        version: int | None,
        check: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> AppendResult:
        """Plan and commit, again and again while other writers change what the plan rests on."""
        received = datetime.now(UTC)
        write = partial(
            commit_prepared, rejects=rejects, received=received, positions=positions, check=check
        )
        while True:
            plan = plan_append(view or self.view(), devices, categories, tags, version)
            try:
                snapshot, result = commit(
                    plan,
                    write,
                    f"append to {self.name}",
                    lambda result: self._metadata(result, positions or {}),
                )
            except StalePlanError:
                self._plan_anew()
                view = None
                continue
            self._registry = plan.devices.stored()
            return replace(result, snapshot=snapshot)

    def _plan_anew(self) -> None:
        self.repository.retries += 1
        _log.warning(
            "%s: append to %s: another writer changed its devices or definition; encoding anew",
            self.repository.location, self.name,
        )  # fmt: skip

    def rewrite(
        self,
        view: FleetView,
        rewrites: Sequence[Rewrite],
        changed: Cells | None = None,
        *,
        kind: str,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        along: Callable[[Store], object] = lambda _: None,
    ) -> RewriteResult:
        """Replace blocks by others in one commit.

        Parameters
        ----------
        view
            The view on which the rewrites were planned and their rows read.
        rewrites, changed
            What to replace; see `pipeline.archive.rewriting.commit_rewrites`.
        kind
            What the commit is for, in one word: stands in its metadata.
        message
            For the history; by default made of `kind` and the fleet's name.
        metadata
            JSON values to attach to the commit besides the counts.
        along
            Changes something else in the same commit.

        Raises
        ------
        StalePlanError
            If a block to be replaced was changed by another writer; plan again on a new view.
        ConflictError, StorageError
            If the commit is not possible; nothing is replaced then.
        """

        def change(store: Store) -> RewriteResult:
            done = commit_rewrites(store, view.meta, view.registry, rewrites, changed)
            along(store)
            return done

        snapshot, result = self.repository.commit(
            change,
            message or f"{kind} {self.name}",
            lambda result: {
                "fleet": self.name,
                "kind": kind,
                **{name: value for name, value in asdict(result).items() if name != "snapshot"},
                **(metadata or {}),
            },
        )
        return replace(result, snapshot=snapshot)

    def set_retention(self, retention: Retention) -> None:
        """Write down how long rows and statistics are to be kept; nothing is dropped yet."""

        def change(store: Store) -> None:
            meta = load_fleet(store, self.name)
            save_retention(store, meta, meta.retention.asked(retention))

        metadata = {"fleet": self.name, "kind": "retention"}
        self.repository.commit(change, f"retention of {self.name}", lambda _: metadata)

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
    stored = stored_batch(batch, plan.meta)
    return prepare(stored, plan.meta, codes, plan.category_codes(texts), memories)
