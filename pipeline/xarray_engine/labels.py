"""Names of the variables that are no channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.schema.channels import RESERVED_NAMES, Schema
from pipeline.xarray_engine.presentation import has_missing_variable

__all__ = ["Labels", "free_name"]


@dataclass(frozen=True, slots=True)
class Labels:
    """Names of dimensions and helper variables, all different and different from the channels'.

    Channels keep their names. Another name that is taken already gets underscores appended.

    Parameters
    ----------
    row
        Dimension of ragged arrays.
    row_size
        Variable of the number of rows of each device.
    missing
        For a channel that has one, the variable that tells its missing rows.
    tags
        For each tag, its variable.
    """

    row: str
    row_size: str
    missing: Mapping[str, str]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, schema: Schema, tags: Iterable[str]) -> Labels:
        """Return the names for a schema and a fleet's tags."""
        taken = {*schema.names, *RESERVED_NAMES}

        row, row_size = free_name("row", taken), free_name("row_size", taken)
        beside = [channel.name for channel in schema if has_missing_variable(channel)]
        missing = {name: free_name(f"{name}_missing", taken) for name in beside}
        return cls(row, row_size, missing, {name: free_name(name, taken) for name in tags})


def free_name(name: str, taken: set[str]) -> str:
    """Return a name with underscores appended until it is not taken; then it is."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name
