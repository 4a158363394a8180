"""What sources of readings look like to the rest of the archive.

Connectors and simulations implement these protocols; jobs and ingest drive them. Neither side
imports the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import pyarrow as pa

from pipeline.model.rejects import Rejects

__all__ = ["Fragment", "Intake", "Source"]


@dataclass(frozen=True, slots=True)
class Intake:
    """One bounded piece of a fragment.

    Parameters
    ----------
    table
        Columns ``device`` (string or dictionary of strings), ``time`` (timestamp, preferably
        ``timestamp[us, tz=UTC]``) and one column per channel, in the order the rows came.
    rejects
        Rows the source itself could not parse.
    ignored
        Lines that are declared not to be data (headers, comments, blank lines).
    tags
        Tags of devices that the rows told, by device id. They count when a device is registered.
    """

    table: pa.Table
    rejects: Rejects = field(default_factory=Rejects)
    ignored: int = 0
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@runtime_checkable
class Fragment(Protocol):
    """A picklable part of a source that one task reads on its own, or together with others.

    If it has ``rows``, or the ``size`` of its text in bytes, small ones are read together.
    """

    @property
    def name(self) -> str:
        """A stable name; also the position that a commit records for the fragment."""
        ...

    def read(self) -> Iterator[Intake]:
        """Yield the fragment's rows piece by piece, in a fixed order."""
        ...


@runtime_checkable
class Source(Protocol):
    """Readings from one outside place, split into fragments."""

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables; fields may carry ``units`` and ``description`` metadata."""
        ...

    def fragments(self) -> Sequence[Fragment]:
        """Return the fragments in a fixed order."""
        ...

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """Return the tags known before any row is read, by device id; may be empty."""
        ...
