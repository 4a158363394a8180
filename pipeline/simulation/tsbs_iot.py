"""The ``iot`` use case of the Time Series Benchmark Suite: trucks that send from the road.

Every truck sends readings and diagnostics every ten seconds. Choices, steps, bounds, starts,
decimals and the probabilities of disorder are the published ones. On purpose different are:

- random numbers are NumPy's, so single values are other ones than a Go run prints;
- readings and diagnostics are delivered in a stream each, not in turns in one stream;
- trucks are simulated in groups of `GROUP`, each a stream of its own, and whatever is held back
  is delivered by the end of each day;
- each truck has a load of its own; in the original all trucks share one;
- the original clears a tag now and then in single entries. A tag belongs to the device here, so
  as many trucks lack one for good; an entry whose name is cleared has no device;
- units are not published, those of the fields are ours.

References
----------
Time Series Benchmark Suite, https://github.com/timescale/tsbs, ``pkg/data/usecases/iot``:
``truck.go``, ``readings.go``, ``diagnostics.go``, ``batch_config.go``, ``simulator.go``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.batches import Column
from pipeline.model.ports import Fragment, Intake
from pipeline.simulation.arrow_tables import DEVICE_FIELD, TIME_FIELD, build_table
from pipeline.simulation.streams import Slab, instant, random_stream, slabs
from pipeline.simulation.tsbs_disorder import ENTRY_MISSING, ZERO_FIELD, ZERO_TAG, tsbs_order
from pipeline.simulation.tsbs_trucks import (
    DIAGNOSTICS,
    READINGS,
    TruckField,
    truck_tags,
    walk_trucks,
)

__all__ = ["GROUP", "TsbsFragment", "TsbsIot", "TsbsSource"]

type Measurement = Literal["readings", "diagnostics"]

GROUP: Final = 100
"""Trucks of one fragment, which share a stream."""

_INTERVAL: Final = 10_000_000
_EPOCHS_PER_DAY: Final = 8640
_FIELDS: Final[dict[Measurement, tuple[TruckField, ...]]] = {
    "readings": READINGS,
    "diagnostics": DIAGNOSTICS,
}
_TAGS: Final = 8  # with the name, which is the device
_FIELD_CLEARED: Final = ZERO_FIELD * (1 - ENTRY_MISSING)  # drawn only for slots not missing
_NAME_CLEARED: Final = ZERO_TAG * (1 - ENTRY_MISSING) / _TAGS


@dataclass(frozen=True, slots=True)
class TsbsIot:
    """A run of the use case.

    Parameters
    ----------
    trucks
        Number of trucks (the suite's scale).
    start
        Time of the first entries, ISO 8601; UTC unless it names its offset.
    days
        Days of entries; part of a day is fine.
    seed
        Runs of the same description and seed have the same rows.
    disorder
        Whether entries are lost, late or incomplete. False delivers all of them by time.

    Raises
    ------
    InvalidInputError
        If a number is not positive or `start` cannot be read.
    """

    trucks: int = 100
    start: str = "2016-01-01T00:00:00Z"
    days: float = 1.0
    seed: int = 0
    disorder: bool = True

    def __post_init__(self) -> None:
        if self.trucks < 1 or self.epochs < 1 or self.seed < 0:
            msg = (
                f"a run of {self.trucks} trucks over {self.days} days with seed {self.seed} "
                "cannot be; give at least one truck, ten seconds and a seed of 0 or more"
            )
            raise InvalidInputError(msg)
        instant(self.start)

    @property
    def epochs(self) -> int:
        """How often every truck sends."""
        return round(self.days * _EPOCHS_PER_DAY)

    def readings(self) -> TsbsSource:
        """Return the source of positions, speeds and consumption."""
        return TsbsSource(self, "readings")

    def diagnostics(self) -> TsbsSource:
        """Return the source of fuel states, loads and status codes."""
        return TsbsSource(self, "diagnostics")


@dataclass(frozen=True, slots=True)
class TsbsSource:
    """One measurement of a run as a source of readings.

    Parameters
    ----------
    run
        The run.
    measurement
        ``"readings"`` or ``"diagnostics"``.
    """

    run: TsbsIot
    measurement: Measurement

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables; channels carry ``units``."""
        channels = [field.field() for field in _FIELDS[self.measurement]]
        return pa.schema([DEVICE_FIELD, TIME_FIELD, *channels])

    def fragments(self) -> Sequence[Fragment]:
        """Return one fragment per `GROUP` trucks."""
        trucks = self.run.trucks
        return [
            TsbsFragment(self, start, min(start + GROUP, trucks))
            for start in range(0, trucks, GROUP)
        ]

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """Return the tags of every truck: name, fleet, driver, model, device_version, capacities."""
        return truck_tags(self.run.trucks, self.run.seed, self.run.disorder)


@dataclass(frozen=True, slots=True)
class TsbsFragment:
    """The stream of one group of trucks.

    Parameters
    ----------
    source
        The measurement.
    start, stop
        Numbers of the first truck and of the one after the last.
    """

    source: TsbsSource
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Measurement, seed and truck numbers."""
        seed = self.source.run.seed
        return f"tsbs-iot/{self.source.measurement}/seed-{seed}/{self.start}-{self.stop}"

    def read(self) -> Iterator[Intake]:
        """Yield one table per day in the order of delivery, up to 864,000 rows."""
        run, fields = self.source.run, _FIELDS[self.source.measurement]
        trucks = self.stop - self.start
        days = list(slabs(instant(run.start), _INTERVAL, run.epochs, _EPOCHS_PER_DAY))
        for day, values in zip(
            days, walk_trucks(self._stream("values"), days, fields, trucks), strict=True
        ):
            yield Intake(self._table(day, values, self._stream("disorder", day.number)))

    def _stream(self, purpose: str, *numbers: int) -> np.random.Generator:
        name = f"{self.source.measurement} {purpose}"
        return random_stream(self.source.run.seed, name, self.start, *numbers)

    def _table(
        self, day: Slab, values: list[NDArray[np.float64]], rng: np.random.Generator
    ) -> pa.Table:
        trucks, schema = self.stop - self.start, self.source.arrow_schema()
        entries, disorder = len(day) * trucks, self.source.run.disorder
        order = tsbs_order(entries, rng) if disorder else np.arange(entries)
        known = rng.random(len(order)) >= _NAME_CLEARED if disorder else None
        cleared = _cleared(len(order), len(values), rng) if disorder else None
        columns = {
            name: Column(column.ravel()[order], None if cleared is None else cleared != i)
            for i, (name, column) in enumerate(zip(schema.names[2:], values, strict=True))
        }
        device = Column((order % trucks).astype(np.int32), known)
        time = Column(day.time[order // trucks])
        names = [f"truck_{number}" for number in range(self.start, self.stop)]
        return build_table(schema, names, device, time, columns)


def _cleared(rows: int, fields: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return which field of each row is cleared, -1 for none.

    The number is drawn for the widest measurement and wraps around in narrower ones.
    """
    which = rng.integers(0, len(READINGS), rows) % fields
    return np.where(rng.random(rows) < _FIELD_CLEARED, which, -1)
