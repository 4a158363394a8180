"""Channels and the schema of a fleet."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipeline.errors import NotFoundError, SchemaError
from pipeline.model.arrow_arrays import is_text
from pipeline.model.codec_names import AUTO, CODECS
from pipeline.model.dtypes import CHANNEL_DTYPES

__all__ = ["RESERVED_NAMES", "Channel", "Schema"]

RESERVED_NAMES: Final = frozenset({"device", "time", "device_index"})
"""Names that columns of the archive itself have."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One measured quantity of a fleet.

    Parameters
    ----------
    name
        Any text without control characters, as the devices call it: ``"PM2.5"``, ``"CO(GT)"``.
    dtype
        One of `pipeline.model.dtypes.CHANNEL_DTYPES`; ``"category"`` for texts of few kinds.
    units
        Units of measure, empty for none.
    description
        What is measured, for people.
    valid_range
        Lowest and highest plausible value, an infinity for an open end. Values outside are
        stored: an outlier is data, and queries may leave it out.
    codec
        One of `pipeline.model.codec_names.CODECS`: ``"auto"`` looks at each block of values,
        ``"fast"`` and ``"small"`` prefer time or space, the others name a stage to use. It may
        differ from version to version of a schema; what is stored stays readable.
    resolution
        The least step between two values, for people and for those who choose axes; None if it
        is not known. Values are stored as they are.
    categories
        The texts that a category may have; rows with others go to quarantine. None for any.

    Raises
    ------
    SchemaError
        If a field is not what it has to be.
    """

    name: str
    dtype: str
    units: str = ""
    description: str = ""
    valid_range: tuple[float, float] | None = None
    codec: str = AUTO
    resolution: float | None = None
    categories: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.dtype not in CHANNEL_DTYPES:
            msg = (
                f"channel {self.name!r} has unknown dtype {self.dtype!r}; "
                f"use one of {', '.join(CHANNEL_DTYPES)}"
            )
            raise SchemaError(msg)
        for name in ("units", "description", "codec"):
            if not isinstance(getattr(self, name), str):
                msg = f"{name} of channel {self.name!r} has to be a text"
                raise SchemaError(msg)
        if self.codec not in CODECS:
            msg = (
                f"channel {self.name!r} asks for the unknown codec {self.codec!r}; "
                f"use one of {', '.join(CODECS)}"
            )
            raise SchemaError(msg)
        if self.valid_range is not None:
            object.__setattr__(self, "valid_range", _checked_range(self))
        if self.resolution is not None:
            _check_resolution(self)
        if self.categories is not None:
            object.__setattr__(self, "categories", _checked_categories(self))

    def to_json(self) -> dict[str, Any]:
        """Return the channel as a JSON object; an open end of the range is null.

        A resolution or categories are there if the channel has some: releases that do not know of
        them read the channels of all others.
        """
        bounds = None
        if self.valid_range is not None:
            bounds = [None if math.isinf(bound) else bound for bound in self.valid_range]
        return {
            "name": self.name,
            "dtype": self.dtype,
            "units": self.units,
            "description": self.description,
            "valid_range": bounds,
            "codec": self.codec,
            **({} if self.resolution is None else {"resolution": self.resolution}),
            **({} if self.categories is None else {"categories": list(self.categories)}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Channel:
        """Return the channel of a JSON object made by `to_json`.

        Raises
        ------
        SchemaError
            If a key is unknown, ``name`` or ``dtype`` is missing, or a value is wrong.
        """
        known = {field.name for field in fields(cls)}
        _check_keys(document, known, {"name", "dtype"}, "channel")
        values = dict(document)
        bounds = values.get("valid_range")
        if isinstance(bounds, Sequence) and len(bounds) == 2:
            low, high = bounds
            values["valid_range"] = (
                -math.inf if low is None else low,
                math.inf if high is None else high,
            )
        return cls(**values)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        msg = f"a channel's name has to be a text that is not empty, not {name!r}"
        raise SchemaError(msg)
    if name in RESERVED_NAMES:
        msg = f"channel name {name!r} is taken by the archive itself; choose another"
        raise SchemaError(msg)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        msg = f"channel name {name!r} contains control characters; remove them"
        raise SchemaError(msg)


def _checked_range(channel: Channel) -> tuple[float, float]:
    bounds: Any = channel.valid_range
    if channel.dtype in ("bool", "category"):
        msg = f"channel {channel.name!r} is a {channel.dtype} and takes no valid_range"
        raise SchemaError(msg)
    plain = isinstance(bounds, list | tuple) and len(bounds) == 2
    if not plain or not all(_is_bound(bound) for bound in bounds) or bounds[0] > bounds[1]:
        msg = f"valid_range of channel {channel.name!r} has to be (low, high), not {bounds!r}"
        raise SchemaError(msg)
    return (bounds[0], bounds[1])


def _check_resolution(channel: Channel) -> None:
    step: Any = channel.resolution
    if channel.dtype in ("bool", "category"):
        msg = f"channel {channel.name!r} is a {channel.dtype} and takes no resolution"
        raise SchemaError(msg)
    if not _is_bound(step) or not 0 < step < math.inf:
        msg = f"resolution of channel {channel.name!r} has to be a positive number, not {step!r}"
        raise SchemaError(msg)


def _checked_categories(channel: Channel) -> tuple[str, ...]:
    given: Any = channel.categories
    if channel.dtype != "category":
        msg = f"channel {channel.name!r} is a {channel.dtype} and takes no categories"
        raise SchemaError(msg)
    texts = () if isinstance(given, str) else tuple(given)
    if (
        not texts
        or not all(isinstance(text, str) for text in texts)
        or len(set(texts)) < len(texts)
    ):
        msg = f"categories of channel {channel.name!r} have to be different texts, not {given!r}"
        raise SchemaError(msg)
    return texts


def _is_bound(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and not math.isnan(value)


def _check_keys(document: object, known: set[str], required: set[str], what: str) -> None:
    if not isinstance(document, Mapping):
        msg = f"a {what} has to be a JSON object, not {document!r}"
        raise SchemaError(msg)
    unknown, missing = sorted(set(document) - known), sorted(required - set(document))
    if unknown or missing:
        msg = f"{what} has unknown keys {unknown} and lacks {missing}; known are {sorted(known)}"
        raise SchemaError(msg)


@dataclass(frozen=True, slots=True)
class Schema:
    """The channels of a fleet, in order, as one numbered version.

    Parameters
    ----------
    channels
        At least one; their names differ.
    version
        1 for the first version of a fleet's schema.

    Raises
    ------
    SchemaError
        If there is no channel, a name repeats, or the version is not positive.
    """

    channels: Sequence[Channel]
    version: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        given: tuple[Any, ...] = tuple(self.channels)
        if not given or not all(isinstance(channel, Channel) for channel in given):
            msg = "a schema takes at least one channel: Schema([Channel('temperature', 'float64')])"
            raise SchemaError(msg)
        names = self.names
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            msg = f"channel names {repeated} occur more than once in the schema"
            raise SchemaError(msg)
        version: Any = self.version
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            msg = f"a schema version is a whole number from 1, not {self.version!r}"
            raise SchemaError(msg)

    @property
    def names(self) -> tuple[str, ...]:
        """The channels' names, in order."""
        return tuple(channel.name for channel in self.channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self.channels)

    def __len__(self) -> int:
        return len(self.channels)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Channel:
        for channel in self.channels:
            if channel.name == name:
                return channel
        msg = f"there is no channel {name!r}; the schema has {list(self.names)}"
        raise NotFoundError(msg)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        return {
            "version": self.version,
            "channels": [channel.to_json() for channel in self.channels],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Schema:
        """Return the schema of a JSON object made by `to_json`.

        Raises
        ------
        SchemaError
            If a key is unknown or missing, or a value is wrong.
        """
        _check_keys(document, {"version", "channels"}, {"version", "channels"}, "schema")
        return cls([Channel.from_json(c) for c in document["channels"]], document["version"])

    @classmethod
    def from_arrow(cls, schema: pa.Schema) -> Schema:
        """Return a schema with a channel for every field but ``device`` and ``time``.

        Integers, floats and bools keep their type, half floats become ``float32``, texts become
        categories. Field metadata ``units`` and ``description`` is taken over.

        Raises
        ------
        SchemaError
            If a field's type is no channel dtype (decimal, time, binary, nested, null).
        """
        fields = [field for field in schema if field.name not in RESERVED_NAMES]
        return cls([_channel_of(field) for field in fields])


def _channel_of(field: pa.Field) -> Channel:
    metadata = field.metadata or {}
    units, description = metadata.get(b"units", b""), metadata.get(b"description", b"")
    return Channel(field.name, _dtype_of(field), units.decode(), description.decode())


def _dtype_of(field: pa.Field) -> str:
    kind = field.type
    if is_text(kind):
        return "category"
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_float16(kind):
        return "float32"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(np.dtype(kind.to_pandas_dtype()))
    msg = (
        f"column {field.name!r} has type {kind}, which no channel can have; convert it (a decimal "
        f"to float64 or a scaled int64) or declare the channel, with one of {', '.join(CHANNEL_DTYPES)}"
    )
    raise SchemaError(msg)
