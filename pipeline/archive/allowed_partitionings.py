"""Which partitionings a fleet that has rows can be given."""

from __future__ import annotations

from pipeline.archive.fleet_view import FleetView
from pipeline.archive.layout import FleetLayout
from pipeline.errors import InvalidInputError
from pipeline.model.timestamps import format_time
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import GRID_START

__all__ = ["check_partitioning"]


def check_partitioning(view: FleetView, scheme: Partitioning) -> None:
    """Refuse partitionings that a fleet cannot have.

    Parameters
    ----------
    view
        The fleet.
    scheme
        What is asked for.

    Raises
    ------
    InvalidInputError
        If it cannot.
    """
    meta, old = view.meta, view.meta.scheme
    if scheme.by != old.by or (
        old.by is not None and scheme.devices_per_block != old.devices_per_block
    ):
        what = "by" if scheme.by != old.by else "devices_per_block"
        msg = (
            f"fleet {meta.name!r} is partitioned by {old.by!r} with {old.devices_per_block} devices per block, "
            f"and {what} cannot be changed: the codes of its devices follow from it. Create another "
            "fleet, and append the rows of this one to it"
        )
        raise InvalidInputError(msg)
    layout = FleetLayout(meta.name, scheme)
    room = layout.index.shape[2] - 1
    if -(-view.state.devices // scheme.devices_per_block) > room:
        msg = (
            f"fleet {meta.name!r} has {view.state.devices} device codes, and there is room for "
            f"{room} device blocks; use more devices_per_block than {scheme.devices_per_block}"
        )
        raise InvalidInputError(msg)
    kept, stored, asked = meta.retention.raw_from, old.summary_length, scheme.summary_length
    if kept == GRID_START:
        return
    if not stored.nests_in(asked):
        msg = (
            f"fleet {meta.name!r}: the statistics of rows that its retention dropped are of each "
            f"{stored.value}, and shorter periods cannot be made of them; give summary={stored.value!r}"
        )
        raise InvalidInputError(msg)
    if asked.start(asked.number(kept)) != kept:
        msg = (
            f"fleet {meta.name!r}: its retention dropped rows before {format_time(kept)}, which lies "
            f"inside of a period of {asked.value}; give summary={stored.value!r}"
        )
        raise InvalidInputError(msg)
