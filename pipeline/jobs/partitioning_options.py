"""What a job file says of the grid of a fleet that it creates."""

from __future__ import annotations

from pipeline.jobs.options import Options
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import WindowLength

__all__ = ["PartitioningOptions"]


class PartitioningOptions(Options):
    """The fleet's grid; see `pipeline.partitioning.scheme.Partitioning`.

    ``window: auto`` looks at the source's first rows and takes the shortest window in which
    partitions fill well.
    """

    window: str = "auto"
    devices_per_block: int = 256
    summary: str | None = None
    landing_rows: int = 4096
    by: str | None = None

    def scheme(self, suggested: WindowLength | None = None) -> Partitioning:
        """Return the scheme, with the suggested window for ``auto``.

        Raises
        ------
        InvalidInputError
            If a value is out of range.
        """
        window = suggested if suggested and self.window == "auto" else self.window
        return Partitioning(
            window, self.devices_per_block, self.summary, self.landing_rows, self.by
        )
