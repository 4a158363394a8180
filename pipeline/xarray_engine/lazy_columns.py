"""Columns of a dataset that are read when they are used, in this process or another."""

from __future__ import annotations

import asyncio
import pickle
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.abc.store import Store

from pipeline.archive.chunk_io import in_threads
from pipeline.archive.fetched_blocks import FetchedBlocks
from pipeline.archive.fleet_meta import check_format
from pipeline.archive.fleet_view import FleetView
from pipeline.errors import InvalidInputError
from pipeline.partitioning.pruning import Selection
from pipeline.xarray_engine.presentation import Aspect, ColumnView, column_view
from pipeline.xarray_engine.row_orders import FoundRows, archive_order, device_order
from pipeline.xarray_engine.row_plan import RowPlan

__all__ = ["LazyColumn", "RowSource"]


@dataclass(frozen=True, slots=True)
class _Request:
    """What has to be known to find the same rows again; a snapshot's id is unique."""

    snapshot: str
    fleet: str
    start: int
    stop: int
    codes: bytes | None
    by_device: bool
    version: int
    store: Store = field(compare=False)

    @classmethod
    def of(cls, view: FleetView, selection: Selection, by_device: bool) -> _Request:
        codes = None if selection.codes is None else selection.codes.tobytes()
        bounds = (selection.start, selection.stop)
        version = view.meta.schema.version
        return cls(view.snapshot, view.meta.name, *bounds, codes, by_device, version, view.store)

    def selection(self) -> Selection:
        codes = None if self.codes is None else np.frombuffer(self.codes, np.int64)
        return Selection(self.start, self.stop, codes)


class RowSource:
    """The rows that the columns of one dataset share.

    They are found once, however many columns are read. A pickled source carries the snapshot's
    address, not the rows: the first use in another process finds them again.

    Parameters
    ----------
    request
        What was asked for.
    found
        The fleet and its rows, if they are known already.
    """

    def __init__(self, request: _Request, found: tuple[FleetView, RowPlan] | None = None) -> None:
        self._request = request
        self._found = found
        self._lock = threading.Lock()
        self._can_travel = False

    @classmethod
    def open(
        cls, view: FleetView, selection: Selection, *, by_device: bool
    ) -> tuple[RowSource, FoundRows]:
        """Find the rows of a selection, by device and time or in the order of the archive."""
        rows = device_order(view, selection) if by_device else archive_order(view, selection)
        return cls(_Request.of(view, selection, by_device), (view, rows.plan)), rows

    def find(self) -> tuple[FleetView, RowPlan]:
        """Return the fleet and the plan of the rows."""
        with self._lock:
            if self._found is None:
                self._found = self._find()
            return self._found

    @property
    def selection(self) -> Selection:
        """Times and devices that were asked for."""
        return self._request.selection()

    def is_same(self, other: RowSource) -> bool:
        """Tell whether both are the same rows of the same snapshot, in the same order."""
        return self._request == other._request

    def is_beside(self, other: RowSource) -> bool:
        """Tell whether both are rows of one fleet at one snapshot and version of its schema."""
        one, two = self._request, other._request
        return (one.snapshot, one.fleet, one.version) == (two.snapshot, two.fleet, two.version)

    def can_travel(self) -> bool:
        """Tell whether another process could find the rows again."""
        try:
            self.__reduce__()
        except InvalidInputError:
            return False
        return True

    def _find(self) -> tuple[FleetView, RowPlan]:
        request = self._request
        newest = FleetView.load(request.store, request.snapshot, request.fleet)
        view = newest.at_version(request.version)
        source, _ = RowSource.open(view, request.selection(), by_device=request.by_device)
        return source.find()

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._can_travel:
            _check_reachable(self._request.store)
            self._can_travel = True
        return _shared_source, (self._request,)


class LazyColumn(BackendArray):
    """One column, indexed like an array; what is asked for is read, nothing more.

    Parameters
    ----------
    source
        Its rows.
    column
        Raw column: ``time``, ``device_index`` or a channel.
    aspect
        What of it.
    rows
        Number of rows.
    dtype
        See `pipeline.xarray_engine.presentation`.
    """

    def __init__(
        self, source: RowSource, column: str, aspect: Aspect, rows: int, dtype: np.dtype[Any]
    ) -> None:
        self.source = source
        self.column = column
        self.aspect = aspect
        self.shape = (rows,)
        self.dtype = dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        support = indexing.IndexingSupport.OUTER
        found: NDArray[Any] = indexing.explicit_indexing_adapter(
            key, self.shape, support, self._read
        )
        return found

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        """Read as ``[]`` does, in a thread: decoding is work, not waiting."""
        return await asyncio.to_thread(self.__getitem__, key)

    def _read(self, key: tuple[int | slice | NDArray[Any]]) -> NDArray[Any]:
        (wanted,) = key
        view, plan = self.source.find()
        form = column_view(view.meta, self.column, self.aspect)
        if isinstance(wanted, slice):
            return _read_rows(view, plan, self.column, form, range(self.shape[0])[wanted])
        rows = np.atleast_1d(wanted)
        return _read_rows(view, plan, self.column, form, rows).reshape(np.shape(wanted))


def _read_rows(
    view: FleetView, plan: RowPlan, column: str, form: ColumnView, rows: range | NDArray[Any]
) -> NDArray[Any]:
    values = np.empty(len(rows), form.dtype)
    for step in plan.steps(plan.locate(rows)):
        fetched = view.fetched(plan.blocks.take(step.blocks), [(column, form.stored)])
        if isinstance(step.source, slice):
            part = values[step.target]
            _decode_into(part, fetched, form, step.source.start)
        else:
            values[step.target] = form.convert(fetched.decode_rows(step.source)[0])
    return values


def _decode_into(
    values: NDArray[Any], fetched: FetchedBlocks, form: ColumnView, start: int
) -> None:
    """Decode rows side by side, counted over the blocks, each block to its place: nothing is copied."""
    sizes = fetched.blocks.rows
    begins = np.cumsum(sizes) - sizes - start
    alike = form.dtype.kind != "O" and form.dtype.itemsize == form.stored.itemsize

    def decode(at: int) -> None:
        begin, size = int(begins[at]), int(sizes[at])
        first, last = max(-begin, 0), min(len(values) - begin, size)
        rows = None if (first, last) == (0, size) else (first, last)
        part = values[begin + first : begin + last]
        shown = form.convert(
            fetched.decode_column(0, at, rows, part.view(form.stored) if alike else None)
        )
        if not np.may_share_memory(shown, part):
            part[:] = shown

    in_threads(decode, range(len(fetched.blocks)))


@lru_cache(maxsize=4)
def _shared_source(request: _Request) -> RowSource:
    # Columns of one dataset arrive in a worker one by one, and should not find the rows each anew.
    return RowSource(request)


def _check_reachable(store: Store) -> None:
    """Refuse a store whose copy is empty: one in memory pickles without complaint."""
    try:
        check_format(pickle.loads(pickle.dumps(store)))  # noqa: S301 - our own bytes, just made
    except Exception as error:
        reason = str(error).partition("\n")[0]
        msg = (
            "this array cannot go to another process: its archive is not reachable from there "
            f"({reason}). An archive in memory lives in one process: use a folder or an object "
            "store, the threaded scheduler, or load() the data first"
        )
        raise InvalidInputError(msg) from error
