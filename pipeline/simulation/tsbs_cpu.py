"""The ``cpu-only`` use case of the Time Series Benchmark Suite: hosts that report their load.

Every host reports ten shares of its processor's time every ten seconds. Fields, steps, bounds,
starts and the choices of tags are the published ones. On purpose different are:

- random numbers are NumPy's, so single values are other ones than a Go run prints;
- hosts are simulated in groups of `GROUP`, each a stream of its own;
- units are not published, those of the fields are ours.

Nothing is late or lost here: the suite keeps disorder for its trucks.

References
----------
Time Series Benchmark Suite, https://github.com/timescale/tsbs, ``pkg/data/usecases/devops``:
``cpu.go`` (fields, walks, whole numbers) and ``host.go`` (tags).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.batches import Column
from pipeline.model.ports import Fragment, Intake
from pipeline.simulation.arrow_tables import DEVICE_FIELD, TIME_FIELD, build_table
from pipeline.simulation.streams import Slab, instant, random_stream, slabs
from pipeline.simulation.tsbs_trucks import TruckField, walk_trucks

__all__ = ["CPU_FIELDS", "GROUP", "TsbsCpu", "TsbsCpuFragment"]

GROUP: Final = 100
"""Hosts of one fragment, which share a stream."""

CPU_FIELDS: Final = tuple(
    f"usage_{share}"
    for share in (
        "user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal", "guest",
        "guest_nice",
    )
)  # fmt: skip
"""Names of the fields: whole percent, each a walk of its own, so that they do not add up to 100."""

_INTERVAL: Final = 10_000_000
_EPOCHS_PER_DAY: Final = 8640
_WALKS: Final = tuple(TruckField(name, "%", (0, 100), None, (0, 100)) for name in CPU_FIELDS)
_DATACENTERS: Final = {
    "us-east-1": "abce", "us-west-1": "ab", "us-west-2": "abc", "eu-west-1": "abc",
    "eu-central-1": "ab", "ap-southeast-1": "ab", "ap-southeast-2": "ab", "ap-northeast-1": "ac",
    "sa-east-1": "abc",
}  # fmt: skip
_CHOICES: Final = {
    "rack": tuple(map(str, range(100))),
    "os": ("Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"),
    "arch": ("x64", "x86"),
    "team": ("SF", "NYC", "LON", "CHI"),
    "service": tuple(map(str, range(20))),
    "service_version": ("0", "1"),
    "service_environment": ("production", "staging", "test"),
}


@dataclass(frozen=True, slots=True)
class TsbsCpu:
    """A run of the use case; a source of readings.

    Parameters
    ----------
    hosts
        Number of hosts (the suite's scale).
    start
        Time of the first reports, ISO 8601; UTC unless it names its offset.
    days
        Days of reports; part of a day is fine.
    seed
        Runs of the same description and seed have the same rows.

    Raises
    ------
    InvalidInputError
        If a number is not positive or `start` cannot be read.
    """

    hosts: int = 100
    start: str = "2016-01-01T00:00:00Z"
    days: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.hosts < 1 or self.epochs < 1 or self.seed < 0:
            msg = (
                f"a run of {self.hosts} hosts over {self.days} days with seed {self.seed} "
                "cannot be; give at least one host, ten seconds and a seed of 0 or more"
            )
            raise InvalidInputError(msg)
        instant(self.start)

    @property
    def epochs(self) -> int:
        """How often every host reports."""
        return round(self.days * _EPOCHS_PER_DAY)

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables; channels are ``int64`` and carry ``units``."""
        channels = [pa.field(name, pa.int64(), metadata={"units": "%"}) for name in CPU_FIELDS]
        return pa.schema([DEVICE_FIELD, TIME_FIELD, *channels])

    def fragments(self) -> Sequence[Fragment]:
        """Return one fragment per `GROUP` hosts."""
        return [
            TsbsCpuFragment(self, start, min(start + GROUP, self.hosts))
            for start in range(0, self.hosts, GROUP)
        ]

    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """Return the ten tags of every host, its name among them as ``hostname``."""
        picks = {name: self._picks(name, len(texts)) for name, texts in _CHOICES.items()}
        regions = self._picks("region", len(_DATACENTERS))
        luck = random_stream(self.seed, "tag datacenter").random(self.hosts).tolist()
        tags = {}
        for number, (region, chance) in enumerate(zip(regions, luck, strict=True)):
            name, letters = list(_DATACENTERS.items())[region]
            tags[f"host_{number}"] = {
                "hostname": f"host_{number}",
                "region": name,
                "datacenter": name + letters[int(chance * len(letters))],
                **{tag: texts[picks[tag][number]] for tag, texts in _CHOICES.items()},
            }
        return tags

    def _picks(self, tag: str, choices: int) -> list[int]:
        stream = random_stream(self.seed, f"tag {tag}")
        picks: list[int] = stream.integers(0, choices, self.hosts).tolist()
        return picks


@dataclass(frozen=True, slots=True)
class TsbsCpuFragment:
    """The stream of one group of hosts.

    Parameters
    ----------
    run
        The run.
    start, stop
        Numbers of the first host and of the one after the last.
    """

    run: TsbsCpu
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Seed and host numbers."""
        return f"tsbs-cpu/seed-{self.run.seed}/{self.start}-{self.stop}"

    def read(self) -> Iterator[Intake]:
        """Yield one table per day in the order of time, up to 864,000 rows."""
        run = self.run
        days = list(slabs(instant(run.start), _INTERVAL, run.epochs, _EPOCHS_PER_DAY))
        rng = random_stream(run.seed, "cpu values", self.start)
        for day, values in zip(
            days, walk_trucks(rng, days, _WALKS, self.stop - self.start), strict=True
        ):
            yield Intake(self._table(day, values))

    def _table(self, day: Slab, values: list[NDArray[np.float64]]) -> pa.Table:
        hosts = self.stop - self.start
        columns = {
            name: Column(shares.ravel().astype(np.int64))
            for name, shares in zip(CPU_FIELDS, values, strict=True)
        }
        device = Column(np.tile(np.arange(hosts, dtype=np.int32), len(day)))
        names = [f"host_{number}" for number in range(self.start, self.stop)]
        time = Column(np.repeat(day.time, hosts))
        return build_table(self.run.arrow_schema(), names, device, time, columns)
