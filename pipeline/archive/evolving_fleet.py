"""A fleet gets the next version of its schema: one commit of metadata, no row is touched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import zarr
from zarr.abc.store import Store

from pipeline.archive.fleet_meta import FleetMeta, load_fleet
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.rollups.store import load_rollup, rollup_names
from pipeline.archive.tables import create_array
from pipeline.errors import ConflictError, SchemaError
from pipeline.schema.changes import Change
from pipeline.schema.compatibility import check_compatibility
from pipeline.schema.evolving import describe, evolve, resolved
from pipeline.schema.policies import SchemaPolicies
from pipeline.schema.versions import SchemaHistory, SchemaVersion

__all__ = ["evolve_fleet", "save_policies"]


def evolve_fleet(
    store: FleetStore,
    changes: Sequence[Change],
    *,
    time: datetime,
    author: str = "",
    comment: str = "",
    version: int | None = None,
) -> SchemaVersion:
    """Make the next version of a fleet's schema.

    Parameters
    ----------
    store
        The fleet.
    changes
        At least one.
    time, author, comment
        When (with a timezone), who, and why.
    version
        The number that the version has to get. If there is one of that number already, made by the
        same changes, nothing happens.

    Returns
    -------
    SchemaVersion
        The version that was made, or that there was.

    Raises
    ------
    SchemaError
        If the changes make no sense, are not compatible in the way the fleet's policy asks for,
        concern a channel that a rollup holds, or define an existing version otherwise.
    ConflictError
        If another writer made a version meanwhile; the message names both.
    """
    view = store.view()
    base = view.meta.history
    if version is not None and version <= base.newest:
        return _same(base, version, changes)
    if version is not None and version != base.newest + 1:
        msg = f"fleet {store.name!r}: version {version} cannot follow version {base.newest} of the schema"
        raise SchemaError(msg)
    evolved = evolve(base, changes, author=author, time=time, comment=comment)
    report = check_compatibility(evolved, view.meta.policies.compatibility)
    made = evolved.latest

    def change(into: Store) -> None:
        meta = load_fleet(into, store.name)
        if meta.history != base:
            _refuse(meta, made)
        _check_rollups(into, meta, evolved)
        _save(into, meta, evolved)

    metadata = {
        "fleet": store.name,
        "kind": "evolve",
        "version": made.number,
        "author": author,
        "comment": comment,
        "changes": [one.to_json() for one in made.changes],
        "compatible": {"backward": report.backward, "forward": report.forward},
    }
    message = f"version {made.number} of the schema of {store.name}"
    store.repository.commit(change, message, lambda _: metadata)
    return made


def save_policies(store: FleetStore, policies: SchemaPolicies) -> None:
    """Write down what a fleet does about versions that differ, in one commit."""

    def change(into: Store) -> None:
        group = zarr.open_group(into, path=f"{store.name}/schema", mode="r+")
        group.attrs["policies"] = policies.to_json()

    metadata = {"fleet": store.name, "kind": "policies"}
    store.repository.commit(change, f"policies of the schema of {store.name}", lambda _: metadata)


def _same(base: SchemaHistory, version: int, changes: Sequence[Change]) -> SchemaVersion:
    """Return an existing version if it was made by just these changes."""
    there = base[version]
    if not there.changes:
        msg = f"{there} is how the fleet was created; changes make the versions after it"
        raise SchemaError(msg)
    asked = resolved(base.before(version), changes)
    if asked == there.changes:
        return there
    msg = (
        f"there is a {there}, made by: {describe(there.changes)}. It cannot be defined otherwise, by: "
        f"{describe(asked)}; make version {base.newest + 1} of what is new"
    )
    raise SchemaError(msg)


def _refuse(meta: FleetMeta, mine: SchemaVersion) -> None:
    theirs = meta.history.latest
    msg = (
        f"fleet {meta.name!r}: two writers changed the schema at once. Stored is {theirs} "
        f"({describe(theirs.changes)}); refused is {mine} ({describe(mine.changes)}). "
        "Look at fleet.schemas, and evolve again if the changes still make sense"
    )
    raise ConflictError(msg)


def _check_rollups(store: Store, meta: FleetMeta, evolved: SchemaHistory) -> None:
    """Refuse a version in which a channel that a rollup holds is another one."""
    if not meta.layout.tracked:
        return
    before, after = (_held_as(history.latest) for history in (meta.history, evolved))
    for name in rollup_names(store, meta):
        held = load_rollup(store, meta, name).definition.statistics
        changed = [one for one in held if before.get(one) != after.get(one)]
        if changed:
            msg = (
                f"fleet {meta.name!r}: the rollup {name!r} holds {changed}, which would change; drop it "
                f"(fleet.rollups.drop({name!r})), evolve, and create it again"
            )
            raise SchemaError(msg)


def _held_as(version: SchemaVersion) -> dict[str, tuple[str, str]]:
    """Return by channel what a rollup relies on: its array, and the name of its units."""
    schema = version.schema
    return {channel.name: (version.arrays[channel.name], channel.units) for channel in schema}


def _save(store: Store, meta: FleetMeta, evolved: SchemaHistory) -> None:
    latest, layout = evolved.latest, meta.layout
    for array, channel in evolved.stored.items():
        if array not in meta.history.stored:
            for table in (layout.raw_channel(channel), *layout.summary_pair(channel)):
                create_array(store, table)
    schema = zarr.open_group(store, path=f"{meta.name}/schema", mode="r+")
    schema.attrs.update(evolved.to_json())
    fleet = zarr.open_group(store, path=meta.name, mode="r+")
    fleet.attrs["schema_version"] = latest.number
