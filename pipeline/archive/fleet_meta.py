"""What is known of a fleet before any row is read: schema, partitioning, policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any

import zarr
from zarr.abc.store import Store

from pipeline.archive.attributes import read_attributes
from pipeline.archive.device_registry import create_registry
from pipeline.archive.layout import FORMAT_NAME, FORMAT_VERSION, FleetLayout
from pipeline.archive.positions import create_positions
from pipeline.archive.quarantine import create_quarantine
from pipeline.archive.retention import Retention
from pipeline.archive.tables import create_array
from pipeline.archive.version_reading import VersionReading
from pipeline.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from pipeline.model.choices import choice
from pipeline.partitioning.scheme import Partitioning
from pipeline.schema.channels import Channel, Schema
from pipeline.schema.policies import SchemaPolicies
from pipeline.schema.versions import SchemaHistory

__all__ = [
    "Duplicates",
    "FleetMeta",
    "check_format",
    "create_fleet",
    "create_grid",
    "fleet_names",
    "initialise",
    "layout_attribute",
    "load_fleet",
    "versions_attribute",
]


class Duplicates(Enum):
    """What becomes of rows that repeat a device and time."""

    KEEP_LAST = "keep_last"
    KEEP_FIRST = "keep_first"
    KEEP_ALL = "keep_all"
    ERROR = "error"

    @classmethod
    def parse(cls, text: str | Duplicates) -> Duplicates:
        """Return the policy that `text` names.

        Raises
        ------
        InvalidInputError
            If it names none.
        """
        return choice(cls, text, "unknown duplicate policy ")


@dataclass(frozen=True)
class FleetMeta:
    """A fleet's definition at one snapshot.

    Parameters
    ----------
    layout
        Paths and tables; holds the fleet's name and partitioning.
    schema
        The version of the schema that is read or written, the newest as it is loaded. If
        `is_stored`, its channels have the names of their arrays.
    duplicates
        The duplicate policy.
    categories
        By array, the texts behind the codes of a category, in code order.
    retention
        How long rows and statistics are kept.
    history
        Every version of the schema; by default `schema` is the only one.
    policies
        What the fleet does about versions that differ.
    is_stored
        Whether columns are arrays as they are: nothing is converted.
    """

    layout: FleetLayout
    schema: Schema
    duplicates: Duplicates
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    retention: Retention = field(default_factory=Retention)
    history: SchemaHistory = None  # type: ignore[assignment]
    policies: SchemaPolicies = field(default_factory=SchemaPolicies)
    is_stored: bool = False

    def __post_init__(self) -> None:
        given: Any = self.history
        if given is None:
            object.__setattr__(self, "history", SchemaHistory.first(self.schema))

    @cached_property
    def reading(self) -> VersionReading | None:
        """What stands between blocks and channels; None if nothing does."""
        if self.is_stored or self.history.is_plain:
            return None
        return VersionReading(self.history, self.schema.version, self.categories)

    @cached_property
    def aliases(self) -> Mapping[str, str]:
        """Names that channels had in older versions of the schema, and what they are called in this one."""
        return {} if self.history.is_plain else self.history.aliases(self.schema.version)

    @property
    def is_latest(self) -> bool:
        """Whether the newest version is read."""
        return self.schema.version == self.history.newest

    def texts(self, channel: str) -> tuple[str, ...]:
        """Return the texts of a category channel, in the order of the codes that readers get."""
        if self.reading is not None:
            return self.reading.texts(channel)
        return tuple(self.categories.get(channel, ()))

    def arrays_of(self, channel: str) -> tuple[Channel, ...]:
        """Return the arrays that a channel's values may come from."""
        if self.reading is not None:
            return self.reading.arrays(channel)
        return (self.schema[channel],)

    @property
    def stored_channels(self) -> tuple[Channel, ...]:
        """Every array there ever was, as a channel of its name."""
        return tuple(self.history.stored.values())

    def at_version(self, number: int) -> FleetMeta:
        """Return the definition for reading another version.

        Raises
        ------
        NotFoundError
            If there is no such version.
        """
        return replace(self, schema=self.history[number].schema, is_stored=False)

    def as_stored(self, number: int | None = None) -> FleetMeta:
        """Return the definition for handling arrays as they are: those of a version, or all."""
        version = self.history.latest if number is None else self.history[number]
        channels = self.stored_channels if number is None else tuple(version.stored())
        return replace(self, schema=Schema(channels, version.number), is_stored=True)

    @property
    def name(self) -> str:
        """The fleet's name."""
        return self.layout.name

    @property
    def scheme(self) -> Partitioning:
        """The fleet's partitioning."""
        return self.layout.scheme

    def save_categories(self, store: Store) -> None:
        """Write the category texts, for this package and as CF flags on the raw arrays."""
        group = zarr.open_group(store, path=f"{self.name}/schema", mode="r+")
        group.attrs["categories"] = {name: list(texts) for name, texts in self.categories.items()}
        for channel, texts in self.categories.items():
            array = zarr.open_array(store, path=self.layout.raw_path(channel), mode="r+")
            flags: dict[str, Any] = {
                "flag_values": list(range(len(texts))),
                "categories": list(texts),
            }
            meanings = " ".join("_".join(text.split()) or "_" for text in texts)
            array.attrs.update({**flags, "flag_meanings": meanings})


def initialise(store: Store) -> None:
    """Write the archive's root."""
    zarr.create_group(store, attributes={"format": FORMAT_NAME, "format_version": FORMAT_VERSION})


def check_format(store: Store) -> None:
    """Refuse a store that this version cannot read.

    Raises
    ------
    InvalidInputError
        If the root is no archive of ours, or one of a newer format.
    """
    attributes = read_attributes(store, [""])[0] or {}
    if attributes.get("format") != FORMAT_NAME:
        msg = "this is a Zarr store, but not an IoT archive; open it with zarr or xarray instead"
        raise InvalidInputError(msg)
    version = attributes.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        msg = f"the archive has format {version}, this package reads up to {FORMAT_VERSION}; upgrade iot-archive"
        raise InvalidInputError(msg)


def create_fleet(store: Store, meta: FleetMeta) -> None:
    """Write an empty fleet.

    Raises
    ------
    AlreadyExistsError
        If the fleet exists.
    """
    if read_attributes(store, [meta.name])[0] is not None:
        msg = f"fleet {meta.name!r} exists already; open it with archive.fleet({meta.name!r})"
        raise AlreadyExistsError(msg)
    layout = meta.layout
    attributes = {
        "Conventions": "CF-1.11",
        "featureType": "timeSeries",
        "schema_version": meta.schema.version,
        "partitioning": layout_attribute(layout),
        "duplicates": meta.duplicates.value,
        "retention": meta.retention.to_json(),
    }
    zarr.create_group(store, path=meta.name, attributes=attributes)
    schema = meta.history.to_json() | {"categories": {}}
    zarr.create_group(store, path=f"{meta.name}/schema", attributes=schema)
    create_array(store, layout.state)
    create_grid(store, layout, meta.stored_channels)
    create_registry(store, layout)
    create_quarantine(store, meta.name)
    create_positions(store, meta.name)


def create_grid(store: Store, layout: FleetLayout, channels: tuple[Channel, ...]) -> None:
    """Write the arrays that belong to a fleet's partitioning, empty, with those of some channels."""
    tables = [layout.index, layout.slots, *layout.raw_columns(channels)]
    tables += [layout.changed] if layout.tracked else []
    for table in [*tables, *layout.summary_tables(channels)]:
        create_array(store, table)


def versions_attribute(meta: FleetMeta) -> dict[str, list[int]]:
    """Return the attribute that tells which versions of the schema rows may have been written in."""
    return {} if meta.history.is_plain else {"schema_versions": [*meta.history.numbers]}


def layout_attribute(layout: FleetLayout) -> dict[str, Any]:
    """Return what a fleet's ``partitioning`` attribute says of its layout."""
    values = layout.scheme.to_json()
    # Only where there is one: releases that do not know of generations refuse the fleet then, and
    # so do those that would not write down what they change.
    if layout.generation:
        values["generation"] = layout.generation
    return {**values, "tracked": True} if layout.tracked else values


def _layout(name: str, attribute: Mapping[str, Any]) -> FleetLayout:
    values = dict(attribute)
    generation = int(values.pop("generation", 0))
    tracked = bool(values.pop("tracked", False))
    return FleetLayout(name, Partitioning.from_json(values), generation, tracked)


def load_fleet(store: Store, name: str) -> FleetMeta:
    """Read a fleet's definition.

    Raises
    ------
    NotFoundError
        If there is no such fleet; the message names those there are.
    """
    attributes, schema = read_attributes(store, [name, f"{name}/schema"])
    if attributes is None or schema is None or "partitioning" not in attributes:
        known = ", ".join(fleet_names(store)) or "none yet"
        msg = f"no fleet {name!r} in this archive; it has: {known}"
        raise NotFoundError(msg)
    categories = {name: tuple(texts) for name, texts in schema["categories"].items()}
    history = SchemaHistory.from_json(
        {name: value for name, value in schema.items() if name not in ("categories", "policies")}
    )
    return FleetMeta(
        _layout(name, attributes["partitioning"]),
        history.latest.schema,
        Duplicates(attributes["duplicates"]),
        categories,
        Retention.from_json(attributes.get("retention")),
        history,
        SchemaPolicies.from_json(schema.get("policies")),
    )


def fleet_names(store: Store) -> list[str]:
    """Return the names of the fleets, sorted."""
    return sorted(name for name, _ in zarr.open_group(store, mode="r").groups())
