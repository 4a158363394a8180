"""Questions are cut into shares: the answer is the same, wherever and however it is put together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster, get_task_stream

import pipeline
from pipeline.analytics import shares
from pipeline.analytics.shares import cut_axis, spread
from tests.support import START

STORED = ["count", "missing", "min", "max", "sum", "mean", "std", "range"]
ROWS = ["p95", "distinct", "histogram(0, 10, 20)", "increase", "time_weighted_mean"]
QUESTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "hours": {"every": "1h"},
    "days of sites": {"every": "1 day", "by": "site"},
    "hours of all": {"every": "1h", "by": []},
    "sliding": {"every": "1h", "window": "5h", "by": "site"},
    "months": {"every": "1 month", "timezone": "Europe/Oslo"},
    "some": {"every": "6h", "devices": ["d3", "d7", "d11"], "time": ("2025-01-02", "2025-01-04")},
    "high": {"every": "1 day", "where": {"v": "> 12"}},
    "at a site": {"where": {"site": "b"}},
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Fleet:
    folder = tmp_path_factory.mktemp("shares")
    fleet = pipeline.Archive.create(folder / "archive").create_fleet(
        "fleet",
        pipeline.Schema([pipeline.Channel("v", "float64"), pipeline.Channel("on", "bool")]),
        pipeline.Partitioning(window="1 day", devices_per_block=4),
    )
    random = np.random.default_rng(5)
    for number in range(3):
        size = 4000
        device = random.integers(0, 12, size)
        time = START + random.integers(0, 5 * 86_400, size) * 1_000_000
        values = np.round(random.normal(10, 5, size), 2)
        fleet.append(
            {
                "device": [f"d{code}" for code in device],
                "time": time.astype("M8[us]"),
                "v": np.where(random.random(size) < 0.1, np.nan, values),
                "on": random.random(size) < 0.5,
            },
            tags={f"d{code}": {"site": "abc"[code % 3]} for code in range(12)} if not number else None,
        )  # fmt: skip
    return fleet


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as connected,  # type: ignore[no-untyped-call]
    ):
        yield connected


def asked(fleet: pipeline.Fleet, question: dict[str, Any], client: Any = None) -> xr.Dataset:
    statistics = {"v": [*STORED, *ROWS], "on": ["mean", "time_in_state"]}
    if "by" not in question:
        statistics["v"] += ["first", "last", "rate"]
    return fleet.aggregate(statistics, **question, client=client)


@pytest.mark.parametrize("name", QUESTIONS)
def test_shares_make_the_same_answer(
    fleet: pipeline.Fleet, client: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = asked(fleet, QUESTIONS[name])
    monkeypatch.setattr(shares, "_ROWS", 500)
    here = asked(fleet, QUESTIONS[name])
    there = asked(fleet, QUESTIONS[name], client)
    assert here.identical(there)
    xr.testing.assert_allclose(here, whole, rtol=1e-12)
    assert here.attrs == whole.attrs


def test_all_workers_work_and_merge(
    fleet: pipeline.Fleet, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "_ROWS", 500)
    with get_task_stream(client=client) as stream:
        fleet.aggregate({"v": "mean"}, every="1h", by=[], client=client)
    keys = {task["key"] for task in stream.data}
    assert len({task["worker"] for task in stream.data}) == 2
    assert any("merge" in key for key in keys)


def test_rows_are_spread_over_what_they_are_about() -> None:
    rows, first, stop = np.array([12, 5, 9]), np.array([0, 2, 4]), np.array([3, 3, 4])
    assert spread(rows, first, stop, 5).tolist() == [4, 4, 9, 0, 0]


def test_an_axis_is_cut_where_the_rows_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_ROWS", 10)
    assert cut_axis(np.array([1, 2, 3])) == [(0, 3)]
    assert cut_axis(np.zeros(4, np.int64)) == [(0, 4)]
    assert cut_axis(np.full(8, 5)) == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert cut_axis(np.array([0, 40, 0, 0])) == [(0, 2), (2, 4)]
    cuts = cut_axis(np.array([100, 1, 1, 100, 1]))
    assert cuts[0] == (0, 1)
    assert [cut[1] for cut in cuts[:-1]] == [cut[0] for cut in cuts[1:]]
    assert cuts[-1][1] == 5
