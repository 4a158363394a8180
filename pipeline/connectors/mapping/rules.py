"""The declaration: which fields make the device, the time and each channel.

The models are plain data, so they can stand in a job file; unknown keys are refused.
"""

from __future__ import annotations

from decimal import Decimal
from string import Formatter
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.model.dtypes import value_dtype
from pipeline.model.time_columns import TimeFormat
from pipeline.schema.channels import Channel

__all__ = ["ChannelMapping", "DeviceMapping", "RowMapping", "TimeMapping", "named"]

DTypeName = Literal[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float32", "float64", "category",
]  # fmt: skip


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceMapping(_Rule):
    """Where a row's device id comes from: exactly one of the fields.

    Parameters
    ----------
    column
        The id stands in this field.
    constant
        All rows are from this device.
    template
        The id is put together from fields, as in ``"mote-{node}"``.
    """

    column: str | None = None
    constant: str | None = None
    template: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> DeviceMapping:
        given = [value for value in (self.column, self.constant, self.template) if value]
        if len(given) != 1:
            msg = "a device needs exactly one of column, constant and template"
            raise ValueError(msg)
        if self.template and not self.columns:
            msg = f"template {self.template!r} names no field in braces; use constant instead"
            raise ValueError(msg)
        if any(spec or conversion for _, _, spec, conversion in self._pieces()):
            msg = f"template {self.template!r} may hold plain names in braces only, as in 'mote-{{node}}'"
            raise ValueError(msg)
        return self

    @classmethod
    def of(cls, given: Any) -> Any:
        """Return a mapping for the short form: a field's name, or a template if it has braces."""
        if isinstance(given, str):
            return {"template": given} if "{" in given else {"column": given}
        return given

    def _pieces(self) -> list[tuple[str, str | None, str | None, str | None]]:
        return list(Formatter().parse(self.template or ""))

    def parts(self) -> list[tuple[str, str | None]]:
        """Return the template as pairs of literal text and the field that follows it, if any."""
        return [(literal, field) for literal, field, _, _ in self._pieces()]

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that are needed."""
        if self.template:
            return tuple(field for _, field in self.parts() if field)
        return (self.column,) if self.column else ()


def named(given: Any) -> Any:
    """Return a mapping for the short form of tags: a list of fields of the same names."""
    return {name: name for name in given} if isinstance(given, list | tuple) else given


def _names(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


class TimeMapping(_Rule):
    """Where a row's time comes from, and how it is written.

    Parameters
    ----------
    columns
        One field, or several whose texts are joined by a blank (date and time of day).
    unit, pattern, timezone, subsecond
        As of `pipeline.model.time_columns.TimeFormat`.
    """

    columns: Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1)]
    unit: Literal["iso", "s", "ms", "us", "ns", "strptime"] = "iso"
    pattern: str = ""
    timezone: str = "UTC"
    subsecond: Literal["reject", "floor"] = "reject"

    @model_validator(mode="after")
    def _check_format(self) -> TimeMapping:
        self.format()
        return self

    @classmethod
    def of(cls, given: Any) -> Any:
        """Return a mapping for the short form: the name of a field of ISO 8601 texts."""
        return {"columns": given} if isinstance(given, str) else given

    def format(self) -> TimeFormat:
        """Return how the times are written.

        Raises
        ------
        InvalidInputError
            If the fields do not go together.
        """
        return TimeFormat(self.unit, self.pattern, self.timezone, self.subsecond)


def _exact(given: Any) -> Any:
    return str(given) if isinstance(given, int | float) else given


class ChannelMapping(_Rule):
    """Where a channel's values come from, and how they are written.

    Parameters
    ----------
    column
        The field; the channel's own name if left out.
    dtype, units, description
        As of `pipeline.schema.channels.Channel`.
    missing
        Texts that mean "no value", such as ``"-200"``; an empty field always does.
    scale
        What written numbers are multiplied with, exactly: 2358 with scale 0.01 is 23.58.
    base
        16, 8 or 2 for whole numbers such as ``0x20``.
    """

    column: str | None = None
    dtype: DTypeName
    units: str = ""
    description: str = ""
    missing: tuple[str, ...] = ()
    scale: Annotated[Decimal | None, BeforeValidator(_exact)] = None
    base: Literal[2, 8, 10, 16] = 10

    @model_validator(mode="after")
    def _check_numbers(self) -> ChannelMapping:
        numeric = self.dtype not in ("bool", "category")
        if not numeric and (self.scale is not None or self.base != 10):
            msg = f"a {self.dtype} takes no scale and no base"
            raise ValueError(msg)
        if self.scale is not None and (not self.scale.is_finite() or self.scale == 0):
            msg = f"a scale has to be a number other than 0, not {self.scale}"
            raise ValueError(msg)
        return self

    def arrow_type(self) -> pa.DataType:
        """Return the Arrow type of the channel's values."""
        if self.dtype == "category":
            return pa.dictionary(pa.int32(), pa.string())
        return pa.from_numpy_dtype(value_dtype(self.dtype))


class RowMapping(_Rule):
    """The whole declaration of a source of texts.

    Parameters
    ----------
    device
        A `DeviceMapping`, or a field's name, or a template such as ``"mote-{node}"``.
    time
        A `TimeMapping`, or the name of a field of ISO 8601 texts.
    channels
        A `ChannelMapping` per channel, in the order of the fleet's schema.
    tags
        Fields that become tags of the device, by the tag's name; or a list of fields. They are
        set when a device is registered.

    Raises
    ------
    pydantic.ValidationError
        If a key is unknown or a value is wrong; the message names it.
    """

    device: Annotated[DeviceMapping, BeforeValidator(DeviceMapping.of)]
    time: Annotated[TimeMapping, BeforeValidator(TimeMapping.of)]
    channels: Annotated[dict[str, ChannelMapping], Field(min_length=1)]
    tags: Annotated[dict[str, str], BeforeValidator(named)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_channels(self) -> RowMapping:
        for name, rule in self.channels.items():
            Channel(name, rule.dtype)
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Every field that is needed, once."""
        found = [*self.device.columns, *self.time.columns, *self.tags.values()]
        found += [rule.column or name for name, rule in self.channels.items()]
        return tuple(dict.fromkeys(found))

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the mapped rows: device, time, and the channels with metadata."""
        fields = [
            pa.field("device", pa.dictionary(pa.int32(), pa.string())),
            pa.field("time", pa.timestamp("us", tz="UTC")),
        ]
        for name, rule in self.channels.items():
            words = {"units": rule.units, "description": rule.description}
            metadata = {key: word for key, word in words.items() if word}
            fields.append(pa.field(name, rule.arrow_type(), metadata=metadata))
        return pa.schema(fields)
