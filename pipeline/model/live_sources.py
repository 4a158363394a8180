"""What brokers and other endless sources of readings look like to the rest of the archive.

Connectors implement `LiveSource`; `pipeline.ingest` draws from it. Neither side imports the other.
All methods of a source are called by one thread, one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from pipeline.model.rejects import Rejects

__all__ = ["LiveBatch", "LiveHost", "LiveSource"]


@dataclass(frozen=True, slots=True, eq=False)
class LiveBatch:
    """What a source handed over at once, and what is needed to acknowledge it.

    Parameters
    ----------
    table
        Columns ``device`` (string or dictionary of strings), ``time`` (``timestamp[us, tz=UTC]``)
        and channels, in the order they came. May have no rows.
    rejects
        Messages that could not be decoded, whole.
    tags
        Tags of devices that the messages told, by device id.
    messages, bytes
        How much was read for it.
    positions
        Where the source stands after it, as JSON: mappings merge key by key with the positions
        that the archive knows under the source's name. Empty where the source cannot replay.
    expects
        Where the source stood before it, of the same form. A commit leaves the batch out if the
        archive stands elsewhere, because another reader of the source has stored some of these
        rows; the source is then stopped, and started again where the archive stands.
    token
        Handed back to `LiveSource.acknowledge`.
    """

    table: pa.Table
    rejects: Rejects = field(default_factory=Rejects)
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    messages: int = 0
    bytes: int = 0
    positions: Mapping[str, Any] = field(default_factory=dict)
    expects: Mapping[str, Any] = field(default_factory=dict)
    token: Any = None


class LiveHost(Protocol):
    """What a source may ask of whoever draws from it."""

    def positions(self) -> Mapping[str, Any]:
        """Return where the source stands by what is in the archive at this moment."""
        ...

    def settle(self, timeout: float) -> bool:
        """Wait until every batch handed over so far is in the archive; tell whether that is so.

        Parameters
        ----------
        timeout
            Seconds.
        """
        ...


@runtime_checkable
class LiveSource(Protocol):
    """Messages from one outside place, as rows, without an end."""

    @property
    def name(self) -> str:
        """Under which positions, counters and quarantined rows are known."""
        ...

    @property
    def replays(self) -> bool:
        """Whether it can be read again from positions, so that no log is needed."""
        ...

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables."""
        ...

    def start(self, host: LiveHost) -> None:
        """Begin to take messages in; connecting may go on after this returns.

        Raises
        ------
        InvalidInputError
            If the options make no sense to the broker, such as a wrong password.
        """
        ...

    def poll(self, timeout: float) -> LiveBatch | None:
        """Return what came, or None if nothing did for `timeout` seconds.

        Lost connections are mended behind this call, and told by `counters`.
        """
        ...

    def acknowledge(self, token: Any) -> None:
        """Take note that the batch with this token, and all before it, is safe."""
        ...

    def pause(self) -> None:
        """Have the broker send no more, for a while: the archive cannot take it."""
        ...

    def resume(self) -> None:
        """Go on after a `pause`."""
        ...

    def counters(self) -> Mapping[str, int | float | str]:
        """Return what the source has done so far; may be called from any thread."""
        ...

    def stop(self) -> None:
        """Let go of the broker in order. What was not acknowledged comes again."""
        ...
