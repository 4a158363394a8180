"""The rollups of a fleet as users meet them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.analytics.rollups.refresh import RefreshResult, on_client, refresh
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.on_client import are_reached
from pipeline.archive.requests import Devices, TimeRange, Where, selection_of
from pipeline.archive.rollups.definition import define_rollup, plain_name
from pipeline.archive.rollups.fitting import create_rollup, drop_rollup
from pipeline.archive.rollups.reading import RollupView
from pipeline.archive.rollups.store import load_rollup, rollup_names
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.model.timestamps import from_microseconds
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.statistics import Statistics
from pipeline.xarray_engine.rollup_datasets import rollup_dataset

__all__ = ["Rollup", "RollupState", "Rollups"]


@dataclass(frozen=True, slots=True)
class RollupState:
    """What a rollup holds, and how far it is up to date.

    Parameters
    ----------
    snapshot
        Id of the snapshot that was looked at.
    period
        Length of its periods.
    statistics
        What is stored, by channel.
    devices, periods
        Sizes of its axes.
    start, stop
        Time range of its periods, UTC; None before the fleet has rows.
    fresh, stale
        Windows of the fleet whose rows, or what is kept of them, are all in it; and those in which
        something changed, or was deleted, since it was refreshed.
    incomplete
        Time ranges, UTC, whose rows were dropped before they were all in it: it cannot be brought
        up to date there.
    """

    snapshot: str
    period: str
    statistics: Mapping[str, tuple[str, ...]]
    devices: int
    periods: int
    start: datetime | None
    stop: datetime | None
    fresh: int
    stale: int
    incomplete: tuple[tuple[datetime, datetime], ...]

    @property
    def is_fresh(self) -> bool:
        """Whether all that the fleet holds is in it; not so if it is `incomplete`."""
        return self.stale == 0


class Rollup:
    """A table of statistics ``[device, time]`` that a fleet keeps at one resolution.

    Plain Zarr and xarray read it: it is the group ``<fleet>/rollup/<name>`` of the archive's store.
    """

    def __init__(self, store: FleetStore, name: str, at: str | datetime | None) -> None:
        self._store = store
        self._at = at
        self.name = name

    @property
    def path(self) -> str:
        """Path of its group in the archive's store."""
        return self._load().rollup.path

    @property
    def state(self) -> RollupState:
        """What it holds, and how far it is up to date."""
        found = self._load()
        rollup, view = found.rollup, found.view
        axis, period = rollup.axis, rollup.definition.period
        fresh = found.fresh_windows(view.windows(Selection()))
        return RollupState(
            view.snapshot,
            period.text,
            {
                channel: tuple(one.label for one in rollup.definition.stored(channel))
                for channel in rollup.definition.statistics
            },
            rollup.devices,
            rollup.periods,
            from_microseconds(period.start(axis.start)) if axis else None,
            from_microseconds(period.start(axis.stop)) if axis else None,
            int(np.count_nonzero(fresh)),
            len(found.stale()),
            tuple(
                (from_microseconds(start), from_microseconds(stop))
                for start, stop in rollup.definition.incomplete
            ),
        )

    def refresh(self, client: Any = None) -> RefreshResult:
        """Bring it up to what the fleet holds now.

        Only what changed is computed: the devices and periods of rows that were appended, late or
        not, and windows in which something was deleted or repaired. Whatever whole stored
        summaries or a finer rollup tell is merged from these instead of rows. It may be killed, run
        again, and run twice at a time.

        Parameters
        ----------
        client
            A ``distributed.Client``, on whose workers to compute; by default this process, on all
            cores. Archives in memory are read by this process alone.

        Returns
        -------
        RefreshResult
            Cells, rows decoded, commits and seconds.

        Raises
        ------
        InvalidInputError
            If this is an old snapshot.
        CorruptBlockError
            If a block or chunk is damaged; what was committed stays.
        ConflictError
            If other writers changed the rollup again and again.
        """
        if self._at is not None:
            msg = "this fleet is from an old snapshot; open the archive without at() to write"
            raise InvalidInputError(msg)
        reached = are_reached(client, self._store.repository)
        carry = on_client(client) if reached else None
        return refresh(self._store, self.name, carry)

    def to_xarray(
        self,
        devices: Devices = None,
        time: TimeRange = None,
        channels: str | Sequence[str] | None = None,
        *,
        where: Where = None,
    ) -> xr.Dataset:
        """Return it as a lazy dataset ``[device, time]``: values are read when they are used.

        It is what the last refresh made it; see `state`. What was deleted since is missing.

        Parameters
        ----------
        devices, time, where
            As for `pipeline.api.fleet.Fleet`; `time` holds the starts of the periods.
        channels
            Channels; all that it has by default.

        Raises
        ------
        NotFoundError
            If a device, tag or channel does not exist.
        """
        found = self._load()
        names = None if channels is None else self._channels(found, channels)
        selection = selection_of(found.view.registry, devices, time, where)
        return rollup_dataset(found.view, found.rollup, selection, names)

    def answers(self, channel: str) -> frozenset[str]:
        """Return which of ``count, min, max, sum, mean, std, var, first, last`` `states` tells."""
        return self._load().answers(channel)

    def states(self, codes: NDArray[np.int64], periods: range, channel: str) -> Statistics:
        """Return a channel's mergeable states, shape (codes, periods).

        See `pipeline.archive.rollups.reading.RollupView.states`.
        """
        return self._load().states(codes, periods, channel)

    def sketches(
        self, codes: NDArray[np.int64], periods: range, channel: str, kind: str = "sketch"
    ) -> NDArray[np.object_]:
        """Return a channel's quantile sketches, ready to be merged, shape (codes, periods).

        See `pipeline.archive.rollups.reading.RollupView.sketches`.
        """
        return self._load().sketches(codes, periods, channel, kind)

    def fresh_windows(self, windows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return in which windows of the fleet it agrees with the rows; bool, shape (windows,)."""
        return self._load().fresh_windows(windows)

    def _load(self) -> RollupView:
        return RollupView.load(self._store.view(self._at), self.name)

    @staticmethod
    def _channels(found: RollupView, channels: str | Sequence[str]) -> list[str]:
        wanted = [channels] if isinstance(channels, str) else list(channels)
        known = found.rollup.definition.statistics
        for name in wanted:
            if name not in known:
                msg = f"rollup {found.rollup.definition.name!r} has no channel {name!r}; it has: {', '.join(known)}"
                raise NotFoundError(msg)
        return wanted

    def __repr__(self) -> str:
        return f"<Rollup {self.name!r} of fleet {self._store.name!r}>"


class Rollups(Mapping[str, Rollup]):
    """The rollups of a fleet, by name; spaces in a name do not count."""

    def __init__(self, store: FleetStore, at: str | datetime | None) -> None:
        self._store = store
        self._at = at

    def create(
        self,
        name: str,
        statistics: Mapping[str, Any] | None = None,
        *,
        every: Any = None,
    ) -> Rollup:
        """Define a rollup; `Rollup.refresh` fills it.

        Parameters
        ----------
        name
            Letters, digits, ``_``, ``-`` and ``.``.
        statistics
            By channel, one statistic or several: of those of `pipeline.api.fleet.Fleet.aggregate`
            ``count``, ``missing``, ``min``, ``max``, ``range``, ``first``, ``last``, ``delta``,
            ``sum``, ``mean``, ``std``, ``var``, ``median``, ``p95`` and other percentiles, and
            ``distinct``; and quantile sketches of each cell: ``sketch``, with a relative error of 1 %,
            and ``kll`` of Apache DataSketches, of some 1.3 % of rank. By default count, min, max, mean, std, first and last of all channels, of
            these what each has. The count of each channel is always kept.
        every
            Length of the periods: a duration that divides a day or is made of whole days, or a
            number of months or years; by default what the name says.

        Raises
        ------
        AlreadyExistsError
            If the fleet has one of that name.
        InvalidInputError
            If a name, period or statistic makes no sense, or this is an old snapshot.
        NotFoundError
            If a channel does not exist.
        MissingDependencyError
            If the library of a sketch is not installed.
        """
        self._writable()
        meta = self._store.view().meta
        definition = define_rollup(name, every, statistics, meta.schema)
        self._store.repository.commit(
            lambda into: create_rollup(into, self._store.name, definition),
            f"create rollup {definition.name} of {self._store.name}",
            lambda _: {"fleet": self._store.name, "kind": "rollup", "rollup": definition.name},
        )
        return Rollup(self._store, definition.name, None)

    def drop(self, name: str) -> None:
        """Delete a rollup.

        Raises
        ------
        NotFoundError
            If there is none of that name.
        InvalidInputError
            If this is an old snapshot.
        """
        self._writable()
        plain = plain_name(name)
        self._store.repository.commit(
            lambda into: drop_rollup(into, self._store.name, plain),
            f"drop rollup {plain} of {self._store.name}",
            lambda _: {"fleet": self._store.name, "kind": "rollup", "rollup": plain},
        )

    def by_period(self) -> list[str]:
        """Return the names, those of shorter periods first: refreshed in this order, others are made of them."""
        view = self._store.view(self._at)
        known = {name: load_rollup(view.store, view.meta, name).definition for name in self}
        return sorted(known, key=lambda name: known[name].period.typical)

    def __getitem__(self, name: str) -> Rollup:
        view = self._store.view(self._at)
        plain = plain_name(name)
        load_rollup(view.store, view.meta, plain)
        return Rollup(self._store, plain, self._at)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and plain_name(name) in list(self)

    def __iter__(self) -> Iterator[str]:
        view = self._store.view(self._at)
        return iter(rollup_names(view.store, view.meta))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _writable(self) -> None:
        if self._at is not None:
            msg = "this fleet is from an old snapshot; open the archive without at() to write"
            raise InvalidInputError(msg)

    def __repr__(self) -> str:
        return f"<Rollups of fleet {self._store.name!r}: {', '.join(self) or 'none'}>"
