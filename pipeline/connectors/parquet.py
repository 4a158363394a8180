"""Parquet files as sources of rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.connectors.mapping import (
    DeviceMapping,
    FoundFile,
    device_tags,
    find_files,
    list_files,
    open_packed,
    text_devices,
)
from pipeline.errors import InvalidInputError
from pipeline.model.arrow_arrays import flat
from pipeline.model.ports import Intake
from pipeline.model.rejects import Rejects
from pipeline.model.time_columns import TimeFormat, parse_times
from pipeline.schema.row_documents import row_documents

__all__ = ["ParquetFragment", "ParquetSource"]

_BATCH: Final = 1_000_000  # rows held at once while a fragment is read
_UTC: Final = pa.timestamp("us", tz="UTC")
_PARTITION: Final = pa.dictionary(pa.int32(), pa.string())
_NOTHING: Final = "__HIVE_DEFAULT_PARTITION__"
_ASKING: Final = 16  # files whose footers are read at once


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files of one schema.

    Parameters
    ----------
    path
        A file, folder, URL or glob pattern, see `pipeline.connectors.mapping.files.find_files`.
        Folders named ``key=value`` are partitions (hive style): each key is a column of texts,
        which `device`, `channels` and `tag_columns` may name unless the file has a column of that name.
    device
        The column of device ids, a template such as ``"mote-{node}"`` over columns, or a
        `DeviceMapping` (for a constant id).
    time
        The column of times: timestamps, or what `time_format` says.
    channels
        The column of each channel by the channel's name; by default every other column is a
        channel of its own name. Keys of partitions are channels only if they are named here.
    time_format
        How times are written, for columns of texts or numbers.
    rows_per_piece
        About how many rows one task reads; a row group is never split.
    tag_columns
        The column of each tag by the tag's name: a device gets what its first row says.
    storage_options
        Of an object store; see `find_files`.

    Examples
    --------
    In a job file, for files such as ``plant/site=Bergen/year=2024/part-0.parquet``::

        source:
          parquet:
            path: s3://plant
            storage_options: {region: eu-north-1}
            device: "{site}-{sensor}"
            time: stamp
            channels: {temperature: temp}
            tag_columns: {site: site}

    References
    ----------
    Apache Parquet format, https://parquet.apache.org/docs/file-format/
    """

    path: str | os.PathLike[str]
    device: str | DeviceMapping = "device"
    time: str = "time"
    channels: Mapping[str, str] | None = None
    time_format: TimeFormat | None = None
    rows_per_piece: int = 4_000_000
    tag_columns: Mapping[str, str] = field(default_factory=dict)
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.device_rule()

    def device_rule(self) -> DeviceMapping:
        """Return where the device ids come from.

        Raises
        ------
        pydantic.ValidationError
            If `device` is none of the forms that it may have.
        """
        return DeviceMapping.model_validate(DeviceMapping.of(self.device))

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables, as the first file's metadata tells.

        Raises
        ------
        NotFoundError
            If `path` matches no file.
        InvalidInputError
            If a column that is asked for is not there.
        """
        path = find_files(self.path, self.storage_options)[0]
        metadata = _read_metadata(path, self.storage_options)
        return self._output_schema(metadata.schema.to_arrow_schema(), path)

    def fragments(self) -> tuple[ParquetFragment, ...]:
        """Return ranges of row groups, file by file.

        Raises
        ------
        NotFoundError
            If `path` matches no file.
        InvalidInputError
            If the files differ in the types of the columns that are read.
        """
        found: list[ParquetFragment] = []
        first: pa.Schema | None = None
        for file, metadata in self._files():
            path = file.path
            schema = self._output_schema(metadata.schema.to_arrow_schema(), path)
            first = first or schema
            if not schema.equals(first):
                msg = f"file {path!r} has other columns or types than the first file: {schema}"
                raise InvalidInputError(msg)
            rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            ranges = group_ranges(rows, self.rows_per_piece)
            found += [
                ParquetFragment(self, path, start, stop, file.state, sum(rows[start:stop]))
                for start, stop in ranges
            ]
        return tuple(found)

    def _files(self) -> Iterator[tuple[FoundFile, pq.FileMetaData]]:
        files = list_files(self.path, self.storage_options)
        with ThreadPoolExecutor(_ASKING) as pool:
            read = partial(_read_metadata, options=self.storage_options)
            yield from zip(files, pool.map(read, [file.path for file in files]), strict=True)

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """Return no tags: those of `tag_columns` come with the rows."""
        return {}

    def channel_columns(self, schema: pa.Schema) -> dict[str, str]:
        """Return the column of every channel in a file of `schema`."""
        if self.channels is not None:
            return dict(self.channels)
        taken = {self.time, *self.device_rule().columns}
        return {name: name for name in schema.names if name not in taken}

    def _output_schema(self, schema: pa.Schema, path: str) -> pa.Schema:
        channels = self.channel_columns(schema)
        keys = _partition_keys(path)
        missing = [name for name in self.needed(channels) if name not in {*schema.names, *keys}]
        if missing:
            partitions = f", and the partition keys {list(keys)}" if keys else ""
            msg = f"file {path!r} has no column {missing}; it has {schema.names}{partitions}"
            raise InvalidInputError(msg)
        if self.time not in schema.names:
            msg = f"file {path!r}: time column {self.time!r} is a partition key; times have to be in the file"
            raise InvalidInputError(msg)
        kind = schema.field(self.time).type
        fields = [
            pa.field("device", pa.dictionary(pa.int32(), pa.string())),
            pa.field("time", kind if pa.types.is_timestamp(kind) else _UTC),
        ]
        for name, column in channels.items():
            inside = column in schema.names
            found = schema.field(column) if inside else pa.field(column, _PARTITION)
            fields.append(found.with_name(name))
        return pa.schema(fields)

    def needed(self, channels: Mapping[str, str]) -> list[str]:
        """Return every column that is read, once, for channels of the given columns."""
        names = [*self.device_rule().columns, self.time, *channels.values()]
        return list(dict.fromkeys([*names, *self.tag_columns.values()]))


def group_ranges(rows: list[int], most: int) -> list[tuple[int, int]]:
    """Return runs of row groups ``[start, stop)`` that hold about `most` rows each.

    Parameters
    ----------
    rows
        Rows of each row group.
    most
        A run is ended before it would hold more than so many rows, unless one group does.
    """
    ranges: list[tuple[int, int]] = []
    start, held = 0, 0
    for group, count in enumerate(rows):
        if group > start and held + count > most:
            ranges.append((start, group))
            start, held = group, 0
        held += count
    return [*ranges, (start, len(rows))] if rows else ranges


def _partition_keys(path: str) -> dict[str, str | None]:
    """Return the keys and values that the folders of a path name, as in ``site=Bergen``."""
    pairs = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    return {
        unquote(key): None if value == _NOTHING else unquote(value)
        for key, _, value in pairs
        if key
    }


def _read_metadata(path: str, options: Mapping[str, Any]) -> pq.FileMetaData:
    with open_packed(path, options) as stream:
        try:
            return pq.read_metadata(stream)
        except pa.ArrowException as error:
            msg = f"{path!r} is no Parquet file: {error}"
            raise InvalidInputError(msg) from error


def _repeated(value: str | None, rows: int) -> pa.Array:
    codes = pa.array(np.zeros(rows, np.int32), mask=np.full(rows, value is None))
    return pa.DictionaryArray.from_arrays(codes, pa.array([value or ""]))


@dataclass(frozen=True)
class ParquetFragment:
    """The row groups ``[start, stop)`` of a file.

    Parameters
    ----------
    source
        The declaration.
    path
        The file.
    start, stop
        Row groups.
    state
        What tells the file's content from a later one's.
    rows
        Rows in them, if that is known.
    """

    source: ParquetSource
    path: str
    start: int
    stop: int
    state: str = ""
    rows: int | None = None

    @property
    def name(self) -> str:
        """The file and its row groups."""
        return f"{self.path}#row_groups={self.start}-{self.stop}"

    def read(self) -> Iterator[Intake]:
        """Yield at most a million rows at a time; only the columns that are asked for are read."""
        source = self.source
        with open_packed(self.path, source.storage_options) as stream:
            file = pq.ParquetFile(stream)
            inside = set(file.schema_arrow.names)
            channels = source.channel_columns(file.schema_arrow)
            needed = source.needed(channels)
            groups = list(range(self.start, self.stop))
            columns = [name for name in needed if name in inside]
            for batch in file.iter_batches(_BATCH, groups, columns=columns):
                table = pa.table(batch)
                for name in needed:
                    if name not in inside:
                        value = _repeated(_partition_keys(self.path)[name], table.num_rows)
                        table = table.append_column(name, value)
                yield self._intake(table, channels)

    def _intake(self, table: pa.Table, channels: Mapping[str, str]) -> Intake:
        rule = self.source.device_rule()
        columns = {name: flat(table[name]) for name in rule.columns}
        device = text_devices(columns, rule, table.num_rows)
        told = {tag: flat(table[name]) for tag, name in self.source.tag_columns.items()}
        tags = device_tags(device, told)
        time, reasons = self._read_times(table)
        rows = pa.table(
            [device, time, *(table[column] for column in channels.values())],
            names=["device", "time", *channels],
        )
        if not reasons:
            return Intake(rows, tags=tags)
        keep = np.ones(table.num_rows, bool)
        keep[list(reasons)] = False
        records = row_documents(table.filter(pa.array(~keep)))
        rejects = Rejects(records, tuple(reasons.values()), self.path)
        return Intake(rows.filter(pa.array(keep)), rejects, tags=tags)

    def _read_times(self, table: pa.Table) -> tuple[pa.Array, dict[int, str]]:
        column = flat(table[self.source.time])
        if pa.types.is_timestamp(column.type) and self.source.time_format is None:
            return column, {}
        parsed = parse_times(column, self.source.time_format)
        return pa.array(parsed.time.astype(np.int64)).cast(_UTC), parsed.reasons
