"""The exact values of a question, share by share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pipeline.analytics.collectors import Values, slid
from pipeline.analytics.execution import Executor
from pipeline.analytics.piece_reading import read_pieces
from pipeline.analytics.pieces import Merging, Piece, few_pieces
from pipeline.analytics.plan import Step
from pipeline.analytics.query import Query
from pipeline.analytics.row_query import RowQuery, check_parts
from pipeline.analytics.shares import RowShare, cut_axis, share_steps
from pipeline.analytics.stored import slid_states, stored_values
from pipeline.summaries.asked import Statistic

__all__ = ["Found", "exact_values"]

Found = dict[tuple[str, Statistic], Values]
"""Values by channel and statistic."""


def exact_values(query: Query, executor: Executor) -> Found:
    """Return the values of a question about windows.

    Parameters
    ----------
    query
        The question, not one about sessions.
    executor
        Where it is answered.

    Raises
    ------
    InvalidInputError
        If rows are needed that the fleet's retention dropped.
    """
    return _stored_values(query, executor) | _row_values(query, executor)


def _stored_values(query: Query, executor: Executor) -> Found:
    histograms = query.histograms
    if not query.stored and not histograms:
        return {}
    size, panes = query.groups.size, len(query.bins)
    for channel, statistic in histograms:
        check_parts(channel, statistic, size * panes, len(statistic.edges) - 1)
    shares = list(share_steps(query.steps()))
    pieces: list[Piece] = []
    if shares:
        merge = partial(_all_pieces, groups=size, bins=panes)
        pieces = executor.reduce(_pieces_of, query, shares, merge)
    merging = Merging(pieces, size, panes)
    rows = slid(merging.rows(), query.windows)
    found: Found = {}
    for channel, statistics in query.stored.items():
        states = slid_states(merging.states(channel, query.dtype(channel)), query.windows)
        for statistic in statistics:
            found[channel, statistic] = stored_values(states, rows, statistic)
    for channel, statistic in histograms:
        counts = slid(merging.counts(channel, statistic), query.windows)
        found[channel, statistic] = Values.always(counts, counts.any(axis=2))
    return found


def _pieces_of(query: Query, steps: Sequence[Step]) -> list[Piece]:
    return few_pieces(list(read_pieces(query, steps)), query.groups.size, len(query.bins))


def _all_pieces(parts: Sequence[list[Piece]], groups: int, bins: int) -> list[Piece]:
    return few_pieces([piece for part in parts for piece in part], groups, bins)


def _row_values(query: Query, executor: Executor) -> Found:
    if not query.decoded:
        return {}
    axis, shares = _row_shares(query)
    return executor.reduce(_share_values, query, shares, partial(_side_by_side, axis=axis))


def _row_shares(query: Query) -> tuple[int, list[RowShare]]:
    """Return along which axis a question about every row is cut, and into what."""
    if query.groups.dimension == "device" and query.groups.size > 1:
        return 0, [RowShare(groups=cut) for cut in cut_axis(query.rows_by_device())]
    courses = any(statistic.follows for found in query.decoded.values() for statistic in found)
    if query.windows.is_panes and len(query.windows) > 1 and not courses:
        return 1, [RowShare(windows=cut) for cut in cut_axis(query.rows_by_window())]
    return 0, [RowShare()]


def _share_values(query: Query, share: RowShare) -> Found:
    part = query.share(share)
    rows = RowQuery(part.view, part.decoded, part.groups, part.windows)
    rows.run(part.row_steps())
    return {
        (channel, statistic): rows.result(channel, statistic)
        for channel, statistics in part.decoded.items()
        for statistic in statistics
    }


def _side_by_side(parts: Sequence[Found], axis: int) -> Found:
    return {key: Values.concat([part[key] for part in parts], axis) for key in parts[0]}
