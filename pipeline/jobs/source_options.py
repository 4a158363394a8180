"""The ``source:`` of an import: which kinds there are, and what each is told.

A new kind is a field of `SourceChoice`: a source that is a plain dataclass, or options with a
method ``source`` that builds one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from pipeline.connectors.delimited import DelimitedSource
from pipeline.connectors.json_documents import JsonSource
from pipeline.connectors.line_protocol import LineProtocolSource
from pipeline.connectors.mapping import DeviceMapping, find_files
from pipeline.connectors.parquet import ParquetSource
from pipeline.errors import JobError
from pipeline.jobs.options import Choice, Options
from pipeline.model.ports import Source
from pipeline.model.time_columns import TimeFormat
from pipeline.simulation.faults import Faults
from pipeline.simulation.fleets import SimulatedFleet, SimulatedSource
from pipeline.simulation.tsbs_cpu import TsbsCpu
from pipeline.simulation.tsbs_iot import TsbsIot, TsbsSource

__all__ = ["ParquetOptions", "SimulatedOptions", "SourceChoice", "TsbsOptions"]


class SimulatedOptions(Options):
    """A simulated fleet; see `pipeline.simulation.fleets` for what the keys mean."""

    devices: int = 1000
    readings: int = 1000
    interval: int | str = "1 min"
    start: str = "2025-01-01T00:00:00Z"
    seed: int = 0
    channels: tuple[str, ...] = ("temperature",)
    faults: Faults = Faults()
    prefix: str = "device"
    devices_per_fragment: int = 256
    order: Literal["device", "time"] = "device"

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        self.source()
        return self

    def source(self) -> SimulatedSource:
        """Return the source."""
        names = {field.name for field in fields(SimulatedFleet)}
        told = {name: getattr(self, name) for name in type(self).model_fields}
        fleet = SimulatedFleet(**{name: told.pop(name) for name in names})
        return SimulatedSource(fleet, **told)


class TsbsOptions(Options):
    """Trucks of the Time Series Benchmark Suite; see `pipeline.simulation.tsbs_iot`."""

    measurement: Literal["readings", "diagnostics"] = "readings"
    trucks: int = 100
    start: str = "2016-01-01T00:00:00Z"
    days: float = 1.0
    seed: int = 0
    disorder: bool = True

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        self.source()
        return self

    def source(self) -> TsbsSource:
        """Return the source."""
        run = TsbsIot(self.trucks, self.start, self.days, self.seed, self.disorder)
        return TsbsSource(run, self.measurement)


class ParquetOptions(Options):
    """Parquet files; see `pipeline.connectors.parquet` for what the keys mean."""

    path: str
    device: str | DeviceMapping = "device"
    time: str = "time"
    channels: dict[str, str] | None = None
    time_format: TimeFormat | None = None
    rows_per_piece: int = 4_000_000
    tag_columns: dict[str, str] = Field(default_factory=dict)
    storage_options: dict[str, Any] = Field(default_factory=dict, repr=False)

    def source(self) -> ParquetSource:
        """Return the source."""
        return ParquetSource(**{name: getattr(self, name) for name in type(self).model_fields})


_OF_FILES: Final = (ParquetSource, DelimitedSource, JsonSource, LineProtocolSource)


class SourceChoice(Choice):
    """Exactly one kind of source."""

    simulated: SimulatedOptions | None = None
    tsbs_iot: TsbsOptions | None = None
    tsbs_cpu: TsbsCpu | None = None
    parquet: ParquetOptions | None = None
    delimited: DelimitedSource | None = None
    json_: JsonSource | None = Field(default=None, alias="json")
    line_protocol: LineProtocolSource | None = None

    def source(self) -> Source:
        """Return the source."""
        build = getattr(self.chosen, "source", None)
        source: Source = self.chosen if build is None else build()
        return source

    def per_file(self) -> dict[str, Source]:
        """Return one source for each file of a path or pattern, by the file's stem.

        Raises
        ------
        JobError
            If the source is not one of files, or two files have the same stem.
        NotFoundError
            If there is no file.
        """
        whole = self.source()
        if not isinstance(whole, _OF_FILES):
            msg = f"one_fleet_per_file needs a source of files; {self.kind!r} is none"
            raise JobError(msg)
        found: dict[str, Source] = {}
        for path in find_files(whole.path, whole.storage_options):
            stem = Path(path).name.split(".")[0]
            if stem in found:
                msg = f"{path}: another file is named {stem!r} too, so both would be one fleet; rename one"
                raise JobError(msg)
            found[stem] = replace(whole, path=path)
        return found

    @property
    def fingerprint(self) -> str:
        """A short text that is the same for sources that read the same rows from the same names.

        Paths are left out, as the fragments' names tell the files; so is how to reach them.
        """
        # Without defaults, so that a key that is added one day does not change what is known.
        told = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        text = json.dumps(_without_place(told), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_place(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        kind: {
            key: value for key, value in options.items() if key not in ("path", "storage_options")
        }
        for kind, options in told.items()
    }
