"""Where everything lies inside an archive.

::

    /                          attributes: format, format_version
    /<fleet>/                  attributes: partitioning, duplicate policy, featureType
      schema/                  attributes: every schema version, policies, the texts of categories
      state                    counters, see `STATE_FIELDS`
      devices/id, tag_<number>                                    (device)
      devices/lookup           hashes of ids, and codes           (bucket, entry, word)
      devices/block_value      tag value of each block            (device_block)
      devices/blocks           what each block holds              (field, device_block)
      raw/device_index, time, <channel>                           (window, device_block, row)
      index/blocks                                                (field, window, device_block, slot)
      index/slots                                                 (window)
      index/changed            where a fleet has rollups          (field, window)
      summary/<period>/extent, values/<channel>, moments/<channel> (statistic, device, time)
      rollup/<name>/time, device, rows, <channel>_<statistic>     (device, time)
      rollup/<name>/state/built                                   (device_run, time_run)
      quarantine/reason, record, source, received                     (row)
      positions                positions of sources, as JSON               (commit)

A channel's array has its name, until a version of the schema gives the channel another dtype or unit,
or a retired name is used again: then it gets a new array, ``temperature~2`` say, and the versions in
``schema`` tell which array each channel of theirs is stored in. ``raw`` and ``summary`` have the arrays
of all versions; a block has chunks of those of its own version, which the index tells.

A fleet that was partitioned anew has ``raw``, ``index`` and ``summary`` in a group ``g<number>``,
``<fleet>/g1/raw/time`` say: the number is the ``generation`` in the fleet's ``partitioning``
attribute, which has none as long as the fleet is partitioned as it was created. A group of
another number belongs to a re-partitioning that is going on, or that was killed.

Arrays are pre-sized: the window axis counts from 1900, and absent chunks cost nothing, so no
append ever resizes an array. The chunk grid of ``raw`` is the partition grid. Rollups alone are as
large as the data: they are made for plain readers, and what refreshes them resizes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from pipeline.archive.device_lookup import LOOKUP_CHUNK, LOOKUP_SHAPE
from pipeline.archive.tables import Table
from pipeline.archive.text_columns import TextColumn
from pipeline.errors import InvalidInputError
from pipeline.model.dtypes import fill_value, storage_dtype
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import WindowLength
from pipeline.schema.channels import Channel

__all__ = [
    "BLOCK_ROWS",
    "CHANGE_FIELDS",
    "DEVICE_BLOCK_FIELDS",
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "INDEX_FIELDS",
    "STATE_FIELDS",
    "FleetLayout",
    "node_name",
]

FORMAT_NAME: Final = "iot-archive"
FORMAT_VERSION: Final = 1

BLOCK_ROWS: Final = 65_536
"""Rows of a full block."""

INDEX_FIELDS: Final = (
    "rows",
    "time_min",
    "time_max",
    "device_min",
    "device_max",
    "schema_version",
    "sequence",
    "level",
    "bytes",
)
"""What the index keeps of every block; an entry with 0 rows is a free slot."""

STATE_FIELDS: Final = ("devices", "device_revision", "sequence", "quarantined", "indexed")
"""What a fleet's ``state`` holds: one more than the largest device code, a number that changes
whenever devices or tags do, the sequence number of the next batch, the rows in quarantine, and the
devices in the lookup. Versions without a lookup leave that at 0 whenever they write, so that it
tells whether the lookup is complete."""

CHANGE_FIELDS: Final = ("appended", "rewritten")
"""What is kept of every window of a fleet that has rollups, 0 for never: one more than the sequence
number of the newest rows that were put into it, and of the newest change of another kind."""

DEVICE_BLOCK_FIELDS: Final = ("devices", "strays")
"""What is kept of every device block of a fleet that is partitioned by a tag: the codes that are
handed out, and whether the tag of one of its devices was set to another value later."""

_SLOTS: Final = 4096
# Archives of before have 4,097, which the arrays themselves tell.
_DEVICE_BLOCKS: Final = (1 << 16) + 1
_DEVICE_BLOCKS_CHUNK: Final = 4096
_INDEX_CHUNK: Final = (len(INDEX_FIELDS), 8, 64, 8)
_SLOTS_CHUNK: Final = 16_384
# Every append writes one or two of these: 2,048 windows are encoded in 50 us.
_CHANGED_CHUNK: Final = 2_048
_SUMMARY_DEVICES: Final = 256
_SUMMARY_PERIODS: Final = {
    WindowLength.HOUR: 24,
    WindowLength.DAY: 32,
    WindowLength.MONTH: 24,
    WindowLength.YEAR: 16,
}
_FLEET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_TIME_ATTRIBUTES: Final = {
    "units": "microseconds since 1970-01-01",
    "calendar": "proleptic_gregorian",
    "standard_name": "time",
}


@dataclass(frozen=True, slots=True)
class FleetLayout:
    """The paths and tables of one fleet.

    Parameters
    ----------
    name
        The fleet's name.
    scheme
        Its partitioning.
    generation
        How often it was partitioned anew; tells where the arrays of the grid are.
    tracked
        Whether it is written down when windows change, which rollups need to know.

    Raises
    ------
    InvalidInputError
        If the name has other characters than letters, digits, ``_``, ``-`` and ``.``.
    """

    name: str
    scheme: Partitioning
    generation: int = 0
    tracked: bool = False

    def __post_init__(self) -> None:
        if not _FLEET_NAME.fullmatch(self.name):
            msg = f"fleet name {self.name!r}: use letters, digits, '_', '-' and '.', a letter or digit first"
            raise InvalidInputError(msg)

    @property
    def root(self) -> str:
        """Path of the group that holds the arrays of the grid: raw, index and summary."""
        return self.name if self.generation == 0 else f"{self.name}/g{self.generation}"

    @property
    def grid_paths(self) -> tuple[str, ...]:
        """Paths of the groups of the grid: nothing else belongs to this partitioning."""
        groups = (self.raw_group, f"{self.root}/index", self.summary_group)
        return groups if self.generation == 0 else (self.root,)

    @property
    def raw_group(self) -> str:
        """Path of the group that holds the raw columns."""
        return f"{self.root}/raw"

    @property
    def summary_group(self) -> str:
        """Path of the group that holds the stored statistics."""
        return f"{self.root}/summary"

    @property
    def window_dimension(self) -> str:
        """Name of the window axis; hours have their own, for manifests are split by it."""
        return "hour_window" if self.scheme.window_length is WindowLength.HOUR else "window"

    @property
    def state(self) -> Table:
        """Counters of the fleet, see `STATE_FIELDS`."""
        return Table(f"{self.name}/state", np.dtype(np.int64), (8,), (8,), ("field",))

    @property
    def devices_path(self) -> str:
        """Path of the group that holds the devices."""
        return f"{self.name}/devices"

    @property
    def device_ids(self) -> TextColumn:
        """The device ids by code."""
        return TextColumn(f"{self.devices_path}/id", attributes={"cf_role": "timeseries_id"})

    def device_tag(self, number: int, name: str) -> TextColumn:
        """Return the values of a tag by device code."""
        # Numbered rather than named: a tag's name may hold any character.
        return TextColumn(f"{self.devices_path}/tag_{number}", attributes={"long_name": name})

    @property
    def device_lookup(self) -> Table:
        """Codes by the hashes of device ids; see `pipeline.archive.device_lookup`."""
        path, dimensions = f"{self.devices_path}/lookup", ("bucket", "entry", "word")
        # Hashes are noise: looking for a way to make them smaller would cost time for nothing.
        words = ["hash_0", "hash_1", "hash_2", "hash_3", "code_plus_1"]
        return Table(
            path,
            np.dtype(np.uint32),
            LOOKUP_SHAPE,
            LOOKUP_CHUNK,
            dimensions,
            attributes={"version": 1, "hash": "BLAKE2b, 128 bits, little-endian", "words": words},
            codec="raw",
        )

    @property
    def device_block_values(self) -> TextColumn:
        """The tag value that each device block is reserved for."""
        return TextColumn(f"{self.devices_path}/block_value", "device_block")

    @property
    def device_blocks(self) -> Table:
        """What device blocks hold, see `DEVICE_BLOCK_FIELDS`."""
        fields = len(DEVICE_BLOCK_FIELDS)
        return Table(
            f"{self.devices_path}/blocks",
            np.dtype(np.int64),
            (fields, _DEVICE_BLOCKS),
            (fields, _DEVICE_BLOCKS_CHUNK),
            ("field", "device_block"),
            0,
            {"fields": list(DEVICE_BLOCK_FIELDS)},
        )

    @property
    def index(self) -> Table:
        """The block index, see `INDEX_FIELDS`."""
        shape = (len(INDEX_FIELDS), self.scheme.window_length.count, _DEVICE_BLOCKS, _SLOTS)
        dimensions = ("field", self.window_dimension, "device_block", "slot")
        attributes = {"fields": list(INDEX_FIELDS)}
        path = f"{self.root}/index/blocks"
        return Table(path, np.dtype(np.int64), shape, _INDEX_CHUNK, dimensions, 0, attributes)

    @property
    def slots(self) -> Table:
        """The largest number of slots in use in any partition of each window."""
        count = self.scheme.window_length.count
        path = f"{self.root}/index/slots"
        return Table(path, np.dtype(np.int32), (count,), (_SLOTS_CHUNK,), (self.window_dimension,))

    @property
    def changed(self) -> Table:
        """When windows changed, see `CHANGE_FIELDS`; there if the layout is `tracked`."""
        fields, count = len(CHANGE_FIELDS), self.scheme.window_length.count
        return Table(
            f"{self.root}/index/changed",
            np.dtype(np.int64),
            (fields, count),
            (fields, _CHANGED_CHUNK),
            ("field", self.window_dimension),
            0,
            {"fields": list(CHANGE_FIELDS)},
        )

    @property
    def rollup_group(self) -> str:
        """Path of the group that holds the rollups, whatever the grid."""
        return f"{self.name}/rollup"

    def raw_path(self, column: str) -> str:
        """Return the path of a raw column: ``device_index``, ``time`` or a channel."""
        return f"{self.raw_group}/{node_name(column)}"

    def raw_columns(self, channels: tuple[Channel, ...]) -> list[Table]:
        """Return the raw arrays of a schema's channels, with device index and time."""
        device = {"instance_dimension": "device"}
        tables = [
            self._raw("device_index", np.dtype(np.int32), -1, device),
            self._raw("time", np.dtype(np.int64), np.iinfo(np.int64).min, _TIME_ATTRIBUTES),
        ]
        return tables + [self.raw_channel(channel) for channel in channels]

    def raw_channel(self, channel: Channel) -> Table:
        """Return the raw array of one channel."""
        dtype = storage_dtype(channel.dtype)
        fill = -1 if channel.dtype in ("bool", "category") else fill_value(dtype)
        attributes: dict[str, Any] = {"long_name": channel.description or channel.name}
        if channel.units:
            attributes["units"] = channel.units
        if channel.dtype == "bool":
            attributes |= {"flag_values": [0, 1], "flag_meanings": "false true"}
        return self._raw(channel.name, dtype, fill, attributes)

    def summary_tables(self, channels: tuple[Channel, ...]) -> list[Table]:
        """Return every table of the stored summaries."""
        per_channel = (self.summary_pair(channel) for channel in channels)
        return [self.extent, *(table for pair in per_channel for table in pair)]

    @property
    def extent(self) -> Table:
        """Rows, first and last time of each device and period."""
        return self._summary("extent", np.dtype(np.int64), ("rows", "time_min", "time_max"))

    def summary_pair(self, channel: Channel) -> tuple[Table, Table]:
        """Return a channel's two summary tables: exact values, and moments."""
        name = node_name(channel.name)
        values = ("min", "max", "first", "last")
        return (
            self._summary(f"values/{name}", storage_dtype(channel.dtype), values),
            self._summary(f"moments/{name}", np.dtype(np.float64), ("count", "sum", "m2")),
        )

    def _raw(
        self, column: str, dtype: np.dtype[Any], fill: int | float, attributes: dict[str, Any]
    ) -> Table:
        shape = (self.scheme.window_length.count, _DEVICE_BLOCKS, _SLOTS * BLOCK_ROWS)
        dimensions = (self.window_dimension, "device_block", "row")
        path = self.raw_path(column)
        return Table(path, dtype, shape, (1, 1, BLOCK_ROWS), dimensions, fill, attributes)

    def _summary(self, path: str, dtype: np.dtype[Any], statistics: tuple[str, ...]) -> Table:
        period = self.scheme.summary_length
        devices = (_DEVICE_BLOCKS - 1) * self.scheme.devices_per_block
        return Table(
            f"{self.summary_group}/{period.name.lower()}/{path}",
            dtype,
            (len(statistics), devices, period.count),
            (len(statistics), _SUMMARY_DEVICES, _SUMMARY_PERIODS[period]),
            ("statistic", "device", "time"),
            0,
            {"statistics": list(statistics), "period": period.value},
        )


def node_name(column: str) -> str:
    """Return what the array of a column is called in its group: a channel's name may hold any text."""
    quoted = quote(column, safe=" ()+,-_")
    return quoted if quoted.strip(".") and not quoted.startswith("__") else f"%{quoted}"
