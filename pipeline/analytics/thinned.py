"""Questions about times whose rows were dropped, while their statistics are kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.archive.fleet_view import FleetView
from pipeline.archive.read_units import ReadUnit
from pipeline.archive.summary_tables import read_extent
from pipeline.errors import InvalidInputError
from pipeline.model.timestamps import format_time
from pipeline.partitioning.pruning import Selection

__all__ = ["check_rows_kept", "kept_units"]


def kept_units(view: FleetView, selection: Selection) -> Iterator[ReadUnit]:
    """Return the units that hold selected rows, all of which have to be there still.

    Raises
    ------
    InvalidInputError
        As `check_rows_kept`.
    """
    check_rows_kept(view, selection)
    return view.units(selection)


def check_rows_kept(view: FleetView, selection: Selection) -> None:
    """Refuse to answer from rows that are gone.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    selection
        Parts of summary periods whose rows have to be looked at.

    Raises
    ------
    InvalidInputError
        If some of these rows were dropped: an answer would be silently wrong.
    """
    retention, period = view.meta.retention, view.meta.scheme.summary_length
    if selection.start >= retention.raw_from:
        return
    codes = np.arange(view.registry.positions) if selection.codes is None else selection.codes
    length = view.meta.scheme.window_length
    # After a re-partitioning, rows may be kept from a time inside of a window on.
    partly = length.number(retention.raw_from)
    for window in {*view.thinned_windows(selection), partly}:
        start, stop = length.start(window), min(length.start(window + 1), retention.raw_from)
        first, last = max(start, selection.start), min(stop, selection.stop)
        if first >= last:
            continue
        periods = range(period.number(first), period.number(last - 1) + 1)
        if read_extent(view.store, view.meta.layout, codes, periods)[0].any():
            msg = (
                f"fleet {view.meta.name!r}: rows before {format_time(retention.raw_from)} were "
                f"dropped by its retention, and statistics of each {period.value} are all that is "
                f"known of them; ask for bins and a time range made of whole ones (every={period.value!r} "
                "or a multiple), or for later times"
            )
            raise InvalidInputError(msg)
