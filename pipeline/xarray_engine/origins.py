"""Where the rows of a dataset come from, carried along with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pipeline.archive.fleet_view import FleetView
from pipeline.errors import InvalidInputError
from pipeline.partitioning.pruning import Selection
from pipeline.xarray_engine.lazy_columns import RowSource
from pipeline.xarray_engine.row_plan import RowPlan

__all__ = ["ENCODING", "RowOrigin"]

ENCODING: Final = "iot_archive"
"""Key of a dataset's encoding that holds its `RowOrigin`."""


@dataclass(frozen=True, eq=False)
class RowOrigin:
    """The rows that a dataset was opened on.

    Pickling never fails: where the archive cannot be reached from another process, the copy has
    lost it, and says so when it is needed. Datasets that were loaded travel all the same.

    Parameters
    ----------
    source
        The rows; None if they were lost on the way.
    """

    source: RowSource | None

    def find(self) -> tuple[FleetView, RowPlan]:
        """Return the fleet and the plan of the rows.

        Raises
        ------
        InvalidInputError
            If they are not known in this process.
        """
        return self.known.find()

    @property
    def known(self) -> RowSource:
        """The rows, which have to be known."""
        if self.source is None:
            msg = "this dataset came from another process, and its archive in memory did not; open it from a folder or an object store"
            raise InvalidInputError(msg)
        return self.source

    @property
    def selection(self) -> Selection:
        """Times and devices of the rows."""
        return self.known.selection

    def is_of(self, other: RowOrigin) -> bool:
        """Tell whether both are the same rows of the same snapshot."""
        if self.source is None or other.source is None:
            return self is other
        return self.source.is_same(other.source)

    def is_beside(self, other: RowOrigin) -> bool:
        """Tell whether both are rows of one fleet at one snapshot and version of its schema."""
        if self.source is None or other.source is None:
            return self is other
        return self.source.is_beside(other.source)

    def __reduce__(self) -> tuple[Any, ...]:
        can_travel = self.source is not None and self.source.can_travel()
        return RowOrigin, (self.source if can_travel else None,)

    def __deepcopy__(self, memo: dict[int, Any]) -> RowOrigin:
        return self
