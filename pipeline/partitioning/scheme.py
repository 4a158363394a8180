"""How one fleet is partitioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pipeline.errors import InvalidInputError
from pipeline.partitioning.windows import WindowLength

__all__ = ["Partitioning"]

_MAX_DEVICES_PER_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Partitioning:
    """The grid of a fleet: time windows by device blocks.

    Parameters
    ----------
    window
        ``"1 hour"``, ``"1 day"``, ``"1 month"`` or ``"1 year"``. Choose it so that a window of
        one device block holds some ten thousand rows or more.
    devices_per_block
        Consecutive device codes that share a partition.
    summary
        The period of the stored per-device statistics: a length that nests in `window`, by
        default the window itself.
    landing_rows
        A batch that brings fewer rows than this to a partition puts them into the window's
        landing block instead, which costs one chunk a column for all devices together.
    by
        Name of a tag (``"site"``, say) whose values never share a device block, so that whatever
        asks for one value reads the blocks of that value only; None for device codes alone. A
        device is placed by the tag it has when it is registered, devices without the tag
        together, and stays there when its tag changes. Choose `devices_per_block` no larger than
        the devices of a usual value: codes that a block leaves free are not given to others.

    Raises
    ------
    InvalidInputError
        If a value is out of range, or `summary` does not nest in `window`.
    """

    window: str | WindowLength = WindowLength.DAY
    devices_per_block: int = 256
    summary: str | WindowLength | None = None
    landing_rows: int = 4096
    by: str | None = None

    def __post_init__(self) -> None:
        window = WindowLength.parse(self.window)
        summary = window if self.summary is None else WindowLength.parse(self.summary)
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "summary", summary)
        if not summary.nests_in(window):
            msg = f"summary {summary.value!r} does not nest in window {window.value!r}"
            raise InvalidInputError(msg)
        if not 1 <= self.devices_per_block <= _MAX_DEVICES_PER_BLOCK:
            msg = (
                f"devices_per_block is {self.devices_per_block}; use 1 to {_MAX_DEVICES_PER_BLOCK}"
            )
            raise InvalidInputError(msg)
        if self.landing_rows < 0:
            msg = f"landing_rows is {self.landing_rows}; use 0 (no landing) or more"
            raise InvalidInputError(msg)
        if self.by == "":
            msg = "by is the empty text; give the name of a tag, or None"
            raise InvalidInputError(msg)

    @property
    def window_length(self) -> WindowLength:
        """The window, parsed."""
        return WindowLength.parse(self.window)

    @property
    def summary_length(self) -> WindowLength:
        """The summary period, parsed."""
        return WindowLength.parse(self.window if self.summary is None else self.summary)

    def to_json(self) -> dict[str, Any]:
        """Return the scheme as plain JSON values."""
        values: dict[str, Any] = {
            "window": self.window_length.value,
            "devices_per_block": self.devices_per_block,
            "summary": self.summary_length.value,
            "landing_rows": self.landing_rows,
        }
        # Only where it is said: earlier versions refuse a key that they do not know.
        return values if self.by is None else {**values, "by": self.by}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Partitioning:
        """Read what `to_json` wrote.

        Raises
        ------
        InvalidInputError
            If a key is unknown or a value is out of range.
        """
        unknown = sorted(set(data) - {field.name for field in fields(cls)})
        if unknown:
            msg = f"unknown partitioning keys {unknown}; was this written by a newer version?"
            raise InvalidInputError(msg)
        return cls(**data)
