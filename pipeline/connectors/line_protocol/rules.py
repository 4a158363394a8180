"""The declaration: which tags make the device, and which fields the channels."""

from __future__ import annotations

from typing import Annotated, Literal

import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.connectors.mapping import ChannelMapping, DeviceMapping, RowMapping
from pipeline.model.time_columns import TimeFormat

__all__ = ["LineMapping"]


class LineMapping(BaseModel):
    """How lines become rows: one row a line.

    Parameters
    ----------
    device
        A `DeviceMapping`, or a tag's key, or a template over tags such as ``"{site}-{sensor}"``;
        ``measurement`` stands for the measurement's name unless there is a tag of that key.
        Tags that tell devices apart have to be in it: rows of one device and time are one.
    channels
        A `ChannelMapping` per channel, in the order of the fleet's schema; `column` is the
        field's key. Numbers go into channels of numbers as long as nothing of them is lost,
        booleans into ``bool``, and texts into ``category``.
    measurements
        Lines of other measurements are ignored; empty for all.
    tags
        Keys of tags that become tags of the device, as its first row says.
    precision
        Unit of the times, which count from 1970-01-01 UTC.
    subsecond
        What becomes of digits below the microsecond, see `TimeFormat`.
    other_fields
        What becomes of lines that have none of the channels' fields. ``"reject"`` tells of a
        misspelt field; ``"ignore"`` suits exports that hold one field a line.

    Raises
    ------
    pydantic.ValidationError
        If a key is unknown or a value is wrong; the message names it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Annotated[DeviceMapping, BeforeValidator(DeviceMapping.of)]
    channels: Annotated[dict[str, ChannelMapping], Field(min_length=1)]
    measurements: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    precision: Literal["s", "ms", "us", "ns"] = "ns"
    subsecond: Literal["reject", "floor"] = "reject"
    other_fields: Literal["reject", "ignore"] = "reject"

    @model_validator(mode="after")
    def _check_channels(self) -> LineMapping:
        self.arrow_schema()
        based = [name for name, rule in self.channels.items() if rule.base != 10]
        if based:
            msg = f"channels {based}: line protocol has decimal numbers only; leave base out"
            raise ValueError(msg)
        return self

    @property
    def tag_keys(self) -> tuple[str, ...]:
        """Every tag that is needed, once."""
        return tuple(dict.fromkeys([*self.device.columns, *self.tags]))

    @property
    def field_keys(self) -> tuple[str, ...]:
        """Every field that is needed, once."""
        return tuple(dict.fromkeys(rule.column or name for name, rule in self.channels.items()))

    def time_format(self) -> TimeFormat:
        """Return how the times are written."""
        return TimeFormat(self.precision, subsecond=self.subsecond)

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the rows: device, time, and the channels with metadata."""
        rows = RowMapping.model_validate(
            {"device": self.device, "time": {"columns": "time"}, "channels": self.channels}
        )
        return rows.arrow_schema()
