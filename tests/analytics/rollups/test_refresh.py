"""A refresh in whose midst others refresh, append, delete or partition anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.analytics.rollups.build import Carried, carry_out
from pipeline.analytics.rollups.plan import joined_ranges
from pipeline.analytics.rollups.refresh import refresh
from pipeline.archive.thinning import apply_retention
from pipeline.errors import ConflictError
from tests.api.test_rollups import DAY, batch, new_fleet
from tests.rollup_checks import assert_right
from tests.support import START, memory_archive


def filled() -> pipeline.Fleet:
    fleet = new_fleet()
    fleet.append(batch())
    fleet.rollups.create("1h", {"t": ["mean", "p95"], "f": "var", "n": "sum"})
    return fleet


def meanwhile(*others: Callable[[], object]) -> Any:
    """Return what carries out tasks, and does one other thing before each is committed."""
    left = list(others)

    def carry(view: Any, rollup: Any, source: Any, tasks: Any) -> Iterator[Carried]:
        for task in tasks:
            done = carry_out(view, rollup, source, task)
            if left:
                left.pop(0)()
            yield done

    return carry


OTHERS: dict[str, tuple[Callable[[pipeline.Fleet], object], int]] = {
    "a refresh": (lambda fleet: fleet.rollups["1h"].refresh(), 1),
    "a deletion": (lambda fleet: fleet.delete("b"), 1),
    "another partitioning": (lambda fleet: fleet.repartition(pipeline.Partitioning("1 month")), 1),
    "rows before the first": (
        lambda fleet: (fleet.append(batch(-24 * 200, 2)), fleet.rollups["1h"].refresh()),
        1,
    ),
    "late rows": (lambda fleet: fleet.append(batch(5, 1, seed=2)), 0),
    "rows after the last": (lambda fleet: fleet.append(batch(48, 30)), 0),
    "a new device": (lambda fleet: fleet.append(batch(5, 1, devices="z")), 0),
    "a merge of blocks": (lambda fleet: fleet.compact(small_blocks=0), 0),
    "another rollup": (lambda fleet: fleet.rollups.create("2h"), 0),
}


@pytest.mark.parametrize("other", OTHERS)
def test_nothing_is_lost_or_comes_back(other: str) -> None:
    fleet = filled()
    act, retries = OTHERS[other]
    done = refresh(fleet._store, "1h", meanwhile(lambda: act(fleet)))
    assert done.retries == retries
    if other == "a deletion":
        assert not fleet.rollups["1h"].to_xarray("b")["rows"].values.any()
    fleet.rollups["1h"].refresh()
    assert fleet.rollups["1h"].state.is_fresh
    assert_right(fleet, "1h")


def test_one_that_is_always_too_late_gives_up() -> None:
    fleet = filled()

    def other() -> None:
        fleet.rollups["1h"].refresh()
        fleet.append(batch(5, 1, devices="a", seed=3))

    with pytest.raises(ConflictError, match="'1h': other writers changed it 12 times"):
        refresh(fleet._store, "1h", meanwhile(*[other] * 12))
    fleet.rollups["1h"].refresh()
    assert_right(fleet, "1h")


def test_what_is_done_is_told_after_every_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.analytics.rollups.refresh._TASKS_PER_COMMIT", 2)
    fleet = new_fleet()
    for at in range(5):
        fleet.append(batch(at * 24 * 31, 3))
    fleet.rollups.create("1min", {"t": "p95"}, every="1 min")
    told: list[int] = []
    done = refresh(fleet._store, "1min", told=lambda one: told.append(one.tasks))
    assert (done.tasks, told, done.commits) == (5, [2, 4, 5], 3)
    assert_right(fleet, "1min")


def test_a_month_that_is_deleted_in_part_is_made_anew_of_what_is_left() -> None:
    archive = memory_archive()
    channels = [pipeline.Channel("t", "float64")]
    fleet = archive.create_fleet("fleet", pipeline.Schema(channels), retention={"raw": "10 days"})
    rows = batch(hours=24 * 20, every=120)
    fleet.append({name: rows[name] for name in ("device", "time", "t")})
    fleet.rollups.create("month", {"t": ["mean", "max"]}).refresh()
    apply_retention(archive._repository, "fleet", START + 20 * DAY)
    # Statistics of these days are all that is left of their rows.
    fleet.delete("a", ("2024-01-03", "2024-01-05"))
    assert not fleet.rollups["month"].to_xarray("a")["rows"].values.any()
    assert fleet.rollups["month"].state.stale
    assert fleet.rollups["month"].refresh().source == "summaries"
    found = assert_right(fleet, "month")
    assert found["rows"].values.ravel().tolist() == [18 * 12, 20 * 12, 20 * 12]


@pytest.mark.parametrize(
    ("given", "joined"),
    [
        ([], ()),
        ([(5, 7), (0, 2), (2, 3)], ((0, 3), (5, 7))),
        ([(0, 9), (1, 2), (9, 10)], ((0, 10),)),
    ],
)
def test_time_ranges_are_joined(given: Any, joined: Any) -> None:
    assert joined_ranges(given) == joined


def test_many_devices_are_many_runs() -> None:
    fleet = new_fleet(landing_rows=0)
    names = np.array([f"d{at:04d}" for at in range(700)])
    times = np.repeat(np.arange(4) * 900_000_000 + START, 700).astype("M8[us]")
    fleet.append({"device": np.tile(names, 4), "time": times, "t": np.arange(2800.0)})
    done = fleet.rollups.create("1h", {"t": ["mean", "p50"]}).refresh()
    assert (done.tasks, done.cells) == (3, 700)
    fleet.append({"device": ["d0699"], "time": ["2024-01-01T00:07:00"], "t": [5.0]})
    done = fleet.rollups["1h"].refresh()
    assert (done.tasks, done.cells, done.commits) == (1, 1, 2)
    assert_right(fleet, "1h")
