"""Simulated fleets as sources: the same rows for everybody who asks, in pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.batches import Column
from pipeline.model.ports import Fragment, Intake
from pipeline.simulation.arrow_tables import DEVICE_FIELD, TIME_FIELD, build_table
from pipeline.simulation.channels import Preset, channel_presets
from pipeline.simulation.faults import Faults, break_values, deliver, send
from pipeline.simulation.rows import Rows, concat
from pipeline.simulation.streams import COHORT, Slab, as_microseconds, instant, random_stream, slabs

__all__ = ["SimulatedFleet", "SimulatedFragment", "SimulatedSource"]

type Blocks = dict[str, NDArray[Any]]

_MODELS: Final = ("TH-100", "TH-200", "TH-220")
_DEVICES_PER_SITE: Final = 50


@dataclass(frozen=True, slots=True)
class SimulatedFleet:
    """Devices that read their sensors at regular intervals.

    Parameters
    ----------
    devices
        Number of devices.
    readings
        Readings of each device.
    interval
        Time between readings: microseconds, or a text such as ``"1 min"``.
    start
        Time of the first reading, ISO 8601; UTC unless it names its offset.
    seed
        Fleets of the same description and seed have the same rows.
    channels
        Names of presets, or ``"name=preset"``; see `pipeline.simulation.channels.PRESETS`.
    faults
        What goes wrong.
    prefix
        Device ids are the prefix, a hyphen and a number of at least five digits.

    Raises
    ------
    InvalidInputError
        If a number is not positive, or a time, duration or channel cannot be read.
    """

    devices: int = 1000
    readings: int = 1000
    interval: int | str = "1 min"
    start: str = "2025-01-01T00:00:00Z"
    seed: int = 0
    channels: tuple[str, ...] = ("temperature",)
    faults: Faults = field(default_factory=Faults)
    prefix: str = "device"

    def __post_init__(self) -> None:
        if min(self.devices, self.readings, self.step) < 1 or self.seed < 0:
            msg = (
                f"a fleet of {self.devices} devices, {self.readings} readings, interval "
                f"{self.interval!r} and seed {self.seed} cannot be; all but the seed must be positive"
            )
            raise InvalidInputError(msg)
        instant(self.start)
        if not channel_presets(self.channels):
            msg = "a fleet without channels has no readings; name at least one preset"
            raise InvalidInputError(msg)

    @property
    def step(self) -> int:
        """Microseconds between readings."""
        return as_microseconds(self.interval, "interval")

    @property
    def presets(self) -> dict[str, Preset]:
        """The preset of each channel, by channel name."""
        return channel_presets(self.channels)

    def device_ids(self, start: int = 0, stop: int | None = None) -> list[str]:
        """Return the ids of devices `start` to `stop` (excluded)."""
        stop = self.devices if stop is None else stop
        return [f"{self.prefix}-{number:05d}" for number in range(start, stop)]

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the fleet's tables."""
        channels = [preset.field(name) for name, preset in self.presets.items()]
        return pa.schema([DEVICE_FIELD, TIME_FIELD, *channels])

    def slabs(self) -> Iterator[Slab]:
        """Yield the stretches of time in which the fleet is simulated."""
        return slabs(instant(self.start), self.step, self.readings)

    def cohort(self, number: int) -> Iterator[Blocks]:
        """Yield for each slab the values of a cohort by channel, shape (`COHORT`, readings)."""
        presets = self.presets
        walks = [
            preset.walk(random_stream(self.seed, preset.stream or name, number), self.slabs())
            for name, preset in presets.items()
        ]
        for blocks in zip(*walks, strict=True):
            yield dict(zip(presets, blocks, strict=True))


def broken_rows(fleet: SimulatedFleet, number: int, slab: Slab, blocks: Blocks) -> Rows:
    """Return what the devices of cohort `number` send in a slab: its values with their faults."""
    faults, shape = fleet.faults, (COHORT, len(slab))
    rng = random_stream(fleet.seed, "faults", number, slab.number)
    time = np.broadcast_to(slab.time, shape).ravel()
    columns: dict[str, Column] = {}
    marks = dict.fromkeys(("stuck", "spikes", "nan", "missing"), np.zeros(time.shape, np.uint8))
    for name, preset in fleet.presets.items():
        values, valid, touched = break_values(blocks[name], preset.decimals, faults, rng)
        columns[name] = Column(values.ravel(), valid.ravel(), preset.categories or None)
        marks = {fault: mark + touched[fault].ravel() for fault, mark in marks.items()}
    rates = random_stream(fleet.seed, "clocks", number).uniform(-1.0, 1.0, COHORT)
    rows = Rows(
        device=np.repeat(np.arange(COHORT, dtype=np.int32) + np.int32(number * COHORT), len(slab)),
        time=time,
        reported=time,
        reported_valid=np.ones(time.shape, bool),
        columns=columns,
        marks=marks,
        lost=np.zeros(0, np.int32),
    )
    return send(rows, faults, rng, np.repeat(rates * faults.drift_ppm, len(slab)), slab.start)


@dataclass(frozen=True, slots=True)
class SimulatedFragment:
    """Some of a fleet's devices over all of its time.

    Parameters
    ----------
    fleet
        The whole fleet.
    start, stop
        Numbers of the first device and of the one after the last.
    order
        Order of the rows within a piece.
    """

    fleet: SimulatedFleet
    start: int
    stop: int
    order: Literal["device", "time"] = "device"

    @property
    def name(self) -> str:
        """Prefix, seed and device numbers."""
        return f"{self.fleet.prefix}/seed-{self.fleet.seed}/{self.start}-{self.stop}"

    def read(self) -> Iterator[Intake]:
        """Yield one table per slab of up to `SLAB` readings of the fragment's devices."""
        for table, _ in self.deliveries():
            yield Intake(table)

    def deliveries(self) -> Iterator[tuple[pa.Table, dict[str, int]]]:
        """Yield each table with how many rows or values in it each fault touched."""
        numbers = range(self.start // COHORT, -(-self.stop // COHORT))
        cohorts = [self.fleet.cohort(number) for number in numbers]
        for slab, *blocks in zip(self.fleet.slabs(), *cohorts, strict=True):
            if self.fleet.faults.active:
                rows = self._faulty(slab, dict(zip(numbers, blocks, strict=True)))
                yield self._table_of(rows), rows.counts()
            else:
                yield self._plain(slab, blocks), {}

    def _plain(self, slab: Slab, blocks: Sequence[Blocks]) -> pa.Table:
        """Build the table of a fleet without faults, without a detour over `Rows`."""
        wanted = slice(self.start % COHORT, self.start % COHORT + self.stop - self.start)
        shape = (self.stop - self.start, len(slab))
        columns = {
            name: Column(
                self._ravel(np.concatenate([block[name] for block in blocks])[wanted]),
                categories=preset.categories or None,
            )
            for name, preset in self.fleet.presets.items()
        }
        device = np.broadcast_to(np.arange(shape[0], dtype=np.int32)[:, None], shape)
        time = np.broadcast_to(slab.time, shape)
        return self._table(Column(self._ravel(device)), Column(self._ravel(time)), columns)

    def _ravel(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.ravel() if self.order == "device" else values.T.ravel()

    def _faulty(self, slab: Slab, blocks: Mapping[int, Blocks]) -> Rows:
        """Send every cohort's rows, keep the fragment's devices, and deliver them."""
        parts = [
            broken_rows(self.fleet, number, slab, block).between(self.start, self.stop)
            for number, block in blocks.items()
        ]
        rows, faults = concat(parts), self.fleet.faults
        if faults.reorders:
            rng = random_stream(self.fleet.seed, "delivery", self.start, slab.number)
            return deliver(rows, faults, rng)
        return rows if self.order == "device" else rows.take(np.argsort(rows.time, kind="stable"))

    def _table_of(self, rows: Rows) -> pa.Table:
        device = Column(rows.device - np.int32(self.start))
        return self._table(device, Column(rows.reported, rows.reported_valid), rows.columns)

    def _table(self, device: Column, time: Column, columns: Mapping[str, Column]) -> pa.Table:
        ids = self.fleet.device_ids(self.start, self.stop)
        return build_table(self.fleet.arrow_schema(), ids, device, time, columns)


@dataclass(frozen=True, slots=True)
class SimulatedSource:
    """A simulated fleet as a source of readings.

    Parameters
    ----------
    fleet
        The fleet.
    devices_per_fragment
        Devices read by one task. A piece has up to this many times `SLAB` rows. Cohorts are
        simulated whole, so multiples of `COHORT` waste nothing.
    order
        Whether the rows of a piece are sorted by device, then time; or by time, then device.
        Fleets with disorder or late rows are delivered by time.

    Raises
    ------
    InvalidInputError
        If `devices_per_fragment` is not positive or `order` is neither.
    """

    fleet: SimulatedFleet
    devices_per_fragment: int = 256
    order: Literal["device", "time"] = "device"

    def __post_init__(self) -> None:
        if self.devices_per_fragment < 1 or self.order not in ("device", "time"):
            msg = (
                f"a source with {self.devices_per_fragment} devices per fragment in order "
                f"{self.order!r} cannot be; use 1 or more, and 'device' or 'time'"
            )
            raise InvalidInputError(msg)

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables; channels carry ``units`` and ``description``."""
        return self.fleet.arrow_schema()

    def fragments(self) -> Sequence[Fragment]:
        """Return one fragment per `devices_per_fragment` devices."""
        devices, width = self.fleet.devices, self.devices_per_fragment
        return [
            SimulatedFragment(self.fleet, start, min(start + width, devices), self.order)
            for start in range(0, devices, width)
        ]

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """Return ``site`` (50 devices each) and ``model`` of every device."""
        return {
            device: {
                "site": f"site-{number // _DEVICES_PER_SITE:03d}",
                "model": _MODELS[number % len(_MODELS)],
            }
            for number, device in enumerate(self.fleet.device_ids())
        }
