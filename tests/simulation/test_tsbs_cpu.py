"""The TSBS hosts keep the published ranges, steps and tags."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.ports import Fragment, Source
from pipeline.simulation.tsbs_cpu import CPU_FIELDS, GROUP, TsbsCpu

INTERVAL = 10_000_000


def read(run: TsbsCpu) -> pa.Table:
    tables = [intake.table for fragment in run.fragments() for intake in fragment.read()]
    for table in tables:
        table.validate(full=True)
        assert table.schema.equals(run.arrow_schema(), check_metadata=True)
    return pa.concat_tables([t.set_column(0, "device", t["device"].cast("string")) for t in tables])


@pytest.fixture(scope="module")
def shares() -> dict[str, NDArray[np.int64]]:
    """Return the fields of 50 hosts over half a day, shape (epochs, hosts)."""
    run = TsbsCpu(hosts=50, days=0.5)
    table = read(run)
    return {name: np.asarray(table[name]).reshape(run.epochs, run.hosts) for name in CPU_FIELDS}


def test_fields_are_the_published_ones_with_units() -> None:
    schema = TsbsCpu().arrow_schema()
    assert schema.names == [
        "device", "time", "usage_user", "usage_system", "usage_idle", "usage_nice",
        "usage_iowait", "usage_irq", "usage_softirq", "usage_steal", "usage_guest",
        "usage_guest_nice",
    ]  # fmt: skip
    assert {schema.field(name).type for name in CPU_FIELDS} == {pa.int64()}
    assert schema.field("usage_idle").metadata[b"units"] == b"%"


@pytest.mark.parametrize("name", CPU_FIELDS)
def test_shares_walk_by_normal_steps_between_0_and_100(
    shares: dict[str, NDArray[np.int64]], name: str
) -> None:
    values = shares[name]
    assert values.min() >= 0
    assert values.max() <= 100
    inner = (values[:-1] > 5) & (values[:-1] < 95)
    steps = np.diff(values, axis=0)[inner]
    # A normal step of deviation 1, between two cuts of a uniform fraction each.
    assert steps.std() == pytest.approx(np.sqrt(1 + 2 / 12), rel=0.05)
    assert abs(steps.mean()) < 0.02


def test_shares_start_anywhere_and_walk_apart(shares: dict[str, NDArray[np.int64]]) -> None:
    first = np.array([values[0] for values in shares.values()])
    assert first.min() < 10
    assert first.max() > 90
    steps = [np.diff(values, axis=0).ravel() for values in shares.values()]
    assert np.abs(np.corrcoef(steps) - np.eye(len(steps))).max() < 0.02


def test_every_host_reports_every_ten_seconds() -> None:
    table = read(TsbsCpu(hosts=7, days=0.01))
    time = np.asarray(table["time"].cast(pa.int64())).reshape(86, 7)
    assert (np.diff(time, axis=0) == INTERVAL).all()
    assert (np.diff(time, axis=1) == 0).all()
    assert str(table["time"][0]) == "2016-01-01 00:00:00+00:00"
    assert table["device"].to_pylist()[:7] == [f"host_{i}" for i in range(7)]
    assert sum(column.null_count for column in table.columns) == 0


def test_tags_are_the_published_choices() -> None:
    tags = TsbsCpu(hosts=3000).tags()
    assert list(tags)[:2] == ["host_0", "host_1"]
    assert all(host["hostname"] == name for name, host in tags.items())
    assert {len(host) for host in tags.values()} == {10}
    distinct = {name: len({host[name] for host in tags.values()}) for name in tags["host_0"]}
    assert distinct == {
        "hostname": 3000, "region": 9, "datacenter": 23, "rack": 100, "os": 3, "arch": 2,
        "team": 4, "service": 20, "service_version": 2, "service_environment": 3,
    }  # fmt: skip
    assert all(host["datacenter"].startswith(host["region"]) for host in tags.values())


def test_fragments_are_groups_that_read_alone() -> None:
    run = TsbsCpu(hosts=GROUP + 20, days=0.01)
    assert isinstance(run, Source)
    fragments = run.fragments()
    assert [isinstance(fragment, Fragment) for fragment in fragments] == [True, True]
    assert len({fragment.name for fragment in fragments}) == 2
    (alone,) = pickle.loads(pickle.dumps(fragments[1])).read()
    (expected,) = fragments[1].read()
    assert alone.table.equals(expected.table)
    devices = set(alone.table["device"].to_pylist())
    assert devices == {f"host_{i}" for i in range(GROUP, GROUP + 20)}


def test_days_join_without_a_seam() -> None:
    (fragment,) = TsbsCpu(hosts=3, days=1.5).fragments()
    first, second = (intake.table for intake in fragment.read())
    assert (len(first), len(second)) == (3 * 8640, 3 * 4320)
    for name in CPU_FIELDS:
        jump = np.asarray(second[name])[:3] - np.asarray(first[name])[-3:]
        assert np.abs(jump).max() <= 6


def test_seeds_reproduce_and_differ() -> None:
    tables = [read(TsbsCpu(hosts=5, days=0.01, seed=seed)) for seed in (1, 1, 2)]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


@pytest.mark.parametrize("wrong", [{"hosts": 0}, {"days": 0}, {"seed": -1}, {"start": "long ago"}])
def test_impossible_runs_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        TsbsCpu(**wrong)
