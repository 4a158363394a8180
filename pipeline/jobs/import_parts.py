"""Parts of fragments: what a task reads, what it leaves on its worker, and what the job knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.archive.preparing import Prepared
from pipeline.jobs.joining import distinct
from pipeline.model.batches import RecordBatch
from pipeline.model.ports import Fragment
from pipeline.model.rejects import Rejects

__all__ = ["EncodedParts", "Held", "Outline", "Part", "PartInfo", "Stretch", "categories_of"]


@dataclass(frozen=True, slots=True)
class PartInfo:
    """What the job has to know of a part.

    Parameters
    ----------
    fragment
        Name of the fragment.
    taken
        Pieces of the fragment that are read, those of earlier parts included.
    done
        Whether that was all of it.
    rows
        Rows that fit the schema.
    devices
        Their devices.
    categories
        The texts of each category channel.
    rejects
        Rows that do not fit.
    ignored
        Lines that the source declares not to be data.
    tags
        Tags that the rows told, by device.
    """

    fragment: str
    taken: int
    done: bool
    rows: int
    devices: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    rejects: Rejects
    ignored: int
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a task is to read of a fragment.

    Parameters
    ----------
    fragment
        The fragment.
    skip
        Pieces that earlier parts have.
    pieces
        Most pieces to read; None for all.
    """

    fragment: Fragment
    skip: int = 0
    pieces: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Validated rows of a fragment, on the worker that read them."""

    batch: RecordBatch
    info: PartInfo


@dataclass(frozen=True, slots=True, eq=False)
class EncodedParts:
    """The blocks of parts that were encoded together, on the worker that did it."""

    prepared: Prepared
    infos: tuple[PartInfo, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """What the job has to know of parts on a worker.

    Parameters
    ----------
    infos
        Of each part.
    prepared
        Their blocks without the payloads, if they are encoded.
    worker
        Address of the worker.
    """

    infos: tuple[PartInfo, ...]
    prepared: Prepared | None
    worker: str


type Held = tuple[Sequence[Part | EncodedParts], int]
"""Something that a task left on a worker, and its position there."""


def categories_of(infos: Sequence[PartInfo]) -> dict[str, tuple[str, ...]]:
    """Return the texts of each category channel, in the order of the joined rows."""
    return {
        name: distinct([info.categories[name] for info in infos]) for name in infos[0].categories
    }
