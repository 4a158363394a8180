"""Parquet files as sources of rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.connectors.mapping import DeviceMapping, find_files, open_file, text_devices
from pipeline.errors import InvalidInputError
from pipeline.model.arrow_arrays import flat
from pipeline.model.ports import Intake
from pipeline.model.rejects import Rejects
from pipeline.model.time_columns import TimeFormat, parse_times
from pipeline.schema.row_documents import row_documents

__all__ = ["ParquetFragment", "ParquetSource"]

_BATCH: Final = 1_000_000  # rows held at once while a fragment is read
_UTC: Final = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files of one schema.

    Parameters
    ----------
    path
        A file, URL or glob pattern.
    device
        The column of device ids, a template such as ``"mote-{node}"`` over columns, or a
        `DeviceMapping` (for a constant id).
    time
        The column of times: timestamps, or what `time_format` says.
    channels
        The column of each channel by the channel's name; by default every other column is a
        channel of its own name.
    time_format
        How times are written, for columns of texts or numbers.
    rows_per_piece
        About how many rows one task reads; a row group is never split.

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
        path = find_files(self.path)[0]
        return self._output_schema(_read_metadata(path).schema.to_arrow_schema(), path)

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
        for path in find_files(self.path):
            metadata = _read_metadata(path)
            schema = self._output_schema(metadata.schema.to_arrow_schema(), path)
            first = first or schema
            if not schema.equals(first):
                msg = f"file {path!r} has other columns or types than the first file: {schema}"
                raise InvalidInputError(msg)
            rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            ranges = group_ranges(rows, self.rows_per_piece)
            found += [
                ParquetFragment(self, path, start, stop, sum(rows[start:stop]))
                for start, stop in ranges
            ]
        return tuple(found)

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """Return no tags: the files carry none."""
        return {}

    def channel_columns(self, schema: pa.Schema) -> dict[str, str]:
        """Return the column of every channel in a file of `schema`."""
        if self.channels is not None:
            return dict(self.channels)
        taken = {self.time, *self.device_rule().columns}
        return {name: name for name in schema.names if name not in taken}

    def _output_schema(self, schema: pa.Schema, path: str) -> pa.Schema:
        channels = self.channel_columns(schema)
        needed = [*self.device_rule().columns, self.time, *channels.values()]
        missing = [name for name in dict.fromkeys(needed) if name not in schema.names]
        if missing:
            msg = f"file {path!r} has no column {missing}; it has {schema.names}"
            raise InvalidInputError(msg)
        kind = schema.field(self.time).type
        fields = [
            pa.field("device", pa.dictionary(pa.int32(), pa.string())),
            pa.field("time", kind if pa.types.is_timestamp(kind) else _UTC),
        ]
        fields += [schema.field(column).with_name(name) for name, column in channels.items()]
        return pa.schema(fields)


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


def _read_metadata(path: str) -> pq.FileMetaData:
    with open_file(path) as stream:
        try:
            return pq.read_metadata(stream)
        except pa.ArrowException as error:
            msg = f"{path!r} is no Parquet file: {error}"
            raise InvalidInputError(msg) from error


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
    rows
        Rows in them, if that is known.
    """

    source: ParquetSource
    path: str
    start: int
    stop: int
    rows: int | None = None

    @property
    def name(self) -> str:
        """The file and its row groups."""
        return f"{self.path}#row_groups={self.start}-{self.stop}"

    def read(self) -> Iterator[Intake]:
        """Yield at most a million rows at a time; only the columns that are asked for are read."""
        source = self.source
        with open_file(self.path) as stream:
            file = pq.ParquetFile(stream)
            channels = source.channel_columns(file.schema_arrow)
            needed = [*source.device_rule().columns, source.time, *channels.values()]
            groups = list(range(self.start, self.stop))
            batches = file.iter_batches(_BATCH, groups, columns=list(dict.fromkeys(needed)))
            for batch in batches:
                yield self._intake(pa.table(batch), channels)

    def _intake(self, table: pa.Table, channels: Mapping[str, str]) -> Intake:
        rule = self.source.device_rule()
        columns = {name: flat(table[name]) for name in rule.columns}
        device = text_devices(columns, rule, table.num_rows)
        time, reasons = self._read_times(table)
        rows = pa.table(
            [device, time, *(table[column] for column in channels.values())],
            names=["device", "time", *channels],
        )
        if not reasons:
            return Intake(rows)
        keep = np.ones(table.num_rows, bool)
        keep[list(reasons)] = False
        records = row_documents(table.filter(pa.array(~keep)))
        return Intake(
            rows.filter(pa.array(keep)), Rejects(records, tuple(reasons.values()), self.path)
        )

    def _read_times(self, table: pa.Table) -> tuple[pa.Array, dict[int, str]]:
        column = flat(table[self.source.time])
        if pa.types.is_timestamp(column.type) and self.source.time_format is None:
            return column, {}
        parsed = parse_times(column, self.source.time_format)
        return pa.array(parsed.time.astype(np.int64)).cast(_UTC), parsed.reasons
