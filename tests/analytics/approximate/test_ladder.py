"""Approximate answers: which way each statistic takes, and that its bounds hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import pipeline
from pipeline.analytics.approximate.aggregate import approximate_aggregate
from pipeline.analytics.approximate.budget import budget_of
from pipeline.analytics.approximate.from_sample import make_sample
from pipeline.analytics.approximate.from_summaries import answer_from_summaries
from pipeline.analytics.approximate.ladder import Ladder, climb
from pipeline.analytics.query import Grouping, make_query
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.thinning import apply_retention
from pipeline.errors import InvalidInputError
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.quantile_sketch import QuantileSketch
from tests.support import START, CountingStore, memory_archive

DAYS = 200
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def fleet() -> pipeline.Fleet:
    """Return three rooms, 200 days of 48 readings, each day on a level of its own."""
    schema = pipeline.Schema(
        [
            pipeline.Channel("t", "float64", units="degC"),
            pipeline.Channel("n", "int32"),
            pipeline.Channel("mode", "category"),
        ]
    )
    fleet = memory_archive().create_fleet("rooms", schema)
    random = np.random.default_rng(11)
    times = START + np.arange(DAYS * 48) * (DAY // 48)
    for device in ("a", "b", "c"):
        level = np.repeat(random.normal(20, 4, DAYS), 48)
        t = level + random.normal(0, 2, DAYS * 48)
        t[::97] = np.nan
        fleet.append(
            {
                "device": [device] * len(times),
                "time": times.astype("M8[us]"),
                "t": t,
                "n": np.arange(len(times), dtype=np.int32) % 17,
                "mode": ["on", "off"] * (len(times) // 2),
            },
            tags={device: {"site": "x" if device == "a" else "y"}},
        )
    return fleet


class Daily:
    """Sketches made from rows: of every day, or half of one."""

    def __init__(self, fleet: pipeline.Fleet, alpha: float = 0.005, parts: int = 1) -> None:
        self._fleet = fleet
        self._alpha = alpha
        self.length = DAY // parts
        self.stale: set[int] = set()

    def periods(self, start: int, stop: int) -> range:
        return range(start // self.length, (stop - 1) // self.length + 1)

    def starts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        return numbers * self.length

    def sketches(
        self, codes: NDArray[np.int64], periods: range, channel: str
    ) -> NDArray[np.object_]:
        found = np.full((len(codes), len(periods)), None, object)
        devices = list(self._fleet.devices)
        for row, code in enumerate(codes.tolist()):
            table = self._fleet.read(devices=devices[code], channels=channel).read_all()
            number = table["time"].cast("int64").to_numpy() // self.length
            values = table[channel].to_numpy()
            for column, period in enumerate(periods):
                if period not in self.stale and (number == period).any():
                    sketch = QuantileSketch(self._alpha)
                    found[row, column] = sketch.insert(values[number == period])
        return found


def view_of(fleet: pipeline.Fleet) -> FleetView:
    return fleet._view()


def ask(fleet: pipeline.Fleet, budget: Any = True, **options: Any) -> xr.Dataset:
    return fleet.aggregate(options.pop("statistics", {"t": "p95"}), approximate=budget, **options)


def assert_holds(found: xr.Dataset, exact: xr.Dataset) -> None:
    for name, values in exact.data_vars.items():
        there = ~np.isnan(values.values)
        low, high = found[f"{name}_low"].values[there], found[f"{name}_high"].values[there]
        assert ((low <= values.values[there]) & (values.values[there] <= high)).all()
        assert ((low <= found[name].values[there]) & (found[name].values[there] <= high)).all()


def test_no_row_is_read_for_the_cheapest_bounds(fleet: pipeline.Fleet) -> None:
    view = view_of(fleet)
    store = CountingStore(view.store)
    counted = FleetView(store, view.snapshot, view.meta, view.registry, view.state)
    names = ["p95", "mean", "distinct", "std", "time_weighted_mean", "histogram(10, 20, 30)"]
    span = Selection(START + DAY // 3, START + 99 * DAY + DAY // 5)
    budget = budget_of(True)
    assert budget is not None
    found = approximate_aggregate(counted, {"t": names}, span, Grouping(by=["site"]), budget)
    assert list(store.raw_reads()) == []
    times = np.datetime64(span.start, "us"), np.datetime64(span.stop, "us")
    assert_holds(found, fleet.aggregate({"t": names}, by=["site"], time=times))
    assert found["t_p95"].attrs["approximation"] == "summaries"
    assert found["t_p95"].attrs["ancillary_variables"] == "t_p95_low t_p95_high"
    assert found["t_p95_low"].attrs == {"long_name": "lower bound of p95 of t", "units": "degC"}


def test_what_summaries_hold_stays_exact(fleet: pipeline.Fleet) -> None:
    names = ["mean", "count", "missing", "sum", "std", "min", "last"]
    questions: list[dict[str, Any]] = [{}, {"every": "1 day"}]
    for options in [*questions, {"every": "7 days", "window": "14 days"}]:
        found, exact = (
            fleet.aggregate({"t": names}, approximate=how, **options) for how in (True, False)
        )
        for name, values in exact.data_vars.items():
            assert found[name].attrs["approximation"] == "exact"
            np.testing.assert_allclose(found[name].values, values.values, rtol=1e-12)
            np.testing.assert_array_equal(found[f"{name}_low"].values, found[name].values)


def test_bins_finer_than_periods_have_bounds(fleet: pipeline.Fleet) -> None:
    names = ["mean", "count", "min", "max", "sum", "median", "missing"]
    time = ("2024-01-10", "2024-01-14")
    for options in ({"every": "1h"}, {"every": "1 day", "timezone": "Asia/Kolkata"}):
        question = {"statistics": {"t": names, "n": names}, "time": time, **options}
        assert_holds(ask(fleet, **question), ask(fleet, False, **question))
    hours = ask(fleet, statistics={"t": "mean"}, time=time, every="1h")
    assert hours["t_mean"].attrs["approximation"] == "summaries"


def test_percentiles_are_in_order(fleet: pipeline.Fleet) -> None:
    names = [f"p{percent}" for percent in (0, 5, 25, 50, 75, 90, 95, 99, 100)]
    found = ask(fleet, statistics={"t": names[::-1]}, every="30 days")
    for end in ("", "_low", "_high"):
        table = np.array([found[f"t_{name}{end}"].values for name in names])
        assert (np.diff(table, axis=0) >= 0).all()


def test_only_rows_know_texts_and_courses(fleet: pipeline.Fleet) -> None:
    names = {"mode": ["last", "time_in_state"], "n": ["increase", "time_weighted_mean"]}
    time = ("2024-01-10T05:00", "2024-01-12")
    question = {"statistics": names, "time": time, "every": "12h"}
    found, exact = ask(fleet, **question), ask(fleet, False, **question)
    assert {found[name].attrs["approximation"] for name in exact.data_vars} == {"exact"}
    assert "mode_last_low" not in found
    for name, values in exact.data_vars.items():
        np.testing.assert_array_equal(found[name].values, values.values)
    whole = ask(fleet, statistics={"n": "time_weighted_mean"})
    assert whole["n_time_weighted_mean"].attrs["approximation"] == "summaries"


def test_an_error_budget_is_met(fleet: pipeline.Fleet) -> None:
    exact = ask(fleet, False, statistics={"t": ["p95", "median"]})
    sources = set()
    for allowed in (10.0, 3.0, 1.0, 0.3, 0.0):
        found = ask(fleet, pipeline.Budget(error=allowed), statistics={"t": ["p95", "median"]})
        for name, values in exact.data_vars.items():
            sources.add(found[name].attrs["approximation"])
            errors = np.maximum(
                found[f"{name}_high"].values - found[name].values,
                found[name].values - found[f"{name}_low"].values,
            )
            assert (errors <= allowed).all()
            if found[name].attrs["confidence"] == 1.0:
                assert (np.abs(values.values - found[name].values) <= allowed).all()
    assert {"summaries", "exact"} <= sources


def test_a_sample_is_taken_where_it_is_good_enough(fleet: pipeline.Fleet) -> None:
    bounds = ask(fleet, devices="a")
    width = float(bounds["t_p95_high"].item() - bounds["t_p95_low"].item())
    found = [
        ask(fleet, pipeline.Budget(error=width * share), devices="a") for share in (0.45, 0.4, 0.35)
    ]
    sampled = [answer for answer in found if answer["t_p95"].attrs["approximation"] == "sample"]
    assert sampled
    for answer in sampled:
        assert answer["t_p95"].attrs["confidence"] == 0.95
        assert answer["t_p95_high"].item() - answer["t_p95_low"].item() < width


def drawn(fleet: pipeline.Fleet, start: int, budget: pipeline.Budget) -> tuple[Any, Any]:
    """Return the answers of summaries, and of 32 windows drawn at random."""
    wanted = {"t": ["p95", "median"]}
    query = make_query(view_of(fleet), wanted, Selection(start), Grouping())
    known = answer_from_summaries(query, query.statistics)
    sample = make_sample(query, known, list(known))
    assert sample is not None
    return known, sample.run(budget, 32)


def test_bounds_of_samples_hold_and_repeat(fleet: pipeline.Fleet) -> None:
    budget = pipeline.Budget(confidence=0.9)
    held = total = narrower = 0
    for day in range(40):
        start = START + day * DAY + DAY // 3
        known, answers = drawn(fleet, start, budget)
        again = drawn(fleet, start, budget)[1] if day % 8 == 0 else answers
        exact = fleet.aggregate({"t": ["p95", "median"]}, time=(np.datetime64(start, "us"), None))
        for key, answer in answers.items():
            wanted = exact[f"t_{key[1].label}"].values[:, None]
            held += int(((answer.bounds.low <= wanted) & (wanted <= answer.bounds.high)).sum())
            total += wanted.size
            narrower += int((answer.errors() < known[key].errors()).sum())
            np.testing.assert_array_equal(answer.bounds.low, again[key].bounds.low)
    assert total == 40 * 6
    assert held >= 0.9 * total
    assert narrower > 0.8 * total


def test_no_sample_where_it_would_not_be_sound(fleet: pipeline.Fleet) -> None:
    def sample_of(grouping: Grouping, start: int = START, stop: int = 2**62) -> Any:
        query = make_query(view_of(fleet), {"t": "p95"}, Selection(start, stop), grouping)
        known = answer_from_summaries(query, query.statistics)
        return make_sample(query, known, list(known))

    assert sample_of(Grouping()) is not None
    assert sample_of(Grouping(by=[])) is not None
    assert sample_of(Grouping(every="7 days", window="14 days")) is None  # rows in two windows
    assert sample_of(Grouping(every="1h")) is None  # every day has unknown parts
    assert sample_of(Grouping(), START, START + 20 * DAY) is None  # too few to draw from


def test_the_time_that_is_there_is_used(fleet: pipeline.Fleet) -> None:
    query = make_query(view_of(fleet), {"t": "p95"}, Selection(), Grouping())
    seconds = Ladder(query, pipeline.Budget(seconds=0.0))
    seconds.start()
    whole = seconds.exact_seconds
    sources = [
        ask(fleet, pipeline.Budget(seconds=given))["t_p95"].attrs["approximation"]
        for given in (0.0, whole * 0.3, whole * 2)
    ]
    assert sources == ["summaries", "sample", "exact"]
    both = pipeline.Budget(seconds=0.0, error=1e-9)
    assert ask(fleet, both)["t_p95"].attrs["approximation"] == "summaries"


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("by", [None, [], ["site"]])
def test_sketches_are_used_where_they_count_all(
    fleet: pipeline.Fleet, parts: int, by: list[str] | None
) -> None:
    source = Daily(fleet, parts=parts)
    source.stale = {START // source.length + 3 * parts}
    span = Selection(START + DAY // 3, START + 60 * DAY + DAY // 5)
    names = ["p95", "median", "p1", "mean"]
    query = make_query(view_of(fleet), {"t": names, "n": "p95"}, span, Grouping(by=by))
    summaries = climb(query, pipeline.Budget()).answers
    found = climb(query, pipeline.Budget(relative_error=0.08), source).answers
    times = np.datetime64(span.start, "us"), np.datetime64(span.stop, "us")
    exact = fleet.aggregate({"t": names, "n": "p95"}, time=times, by=by)
    improved = 0
    for (channel, statistic), answer in found.items():
        wanted = exact[f"{channel}_{statistic.label}"].values.reshape(answer.bounds.value.shape)
        assert (answer.bounds.low <= wanted).all()
        assert (wanted <= answer.bounds.high).all()
        if answer.source == "sketch":
            improved += 1
            before = summaries[channel, statistic]
            assert (answer.errors() < 0.6 * before.errors()).all()
            assert answer.confidence == 1.0
    assert improved >= 2


def test_sketches_that_are_not_complete_are_not_trusted(fleet: pipeline.Fleet) -> None:
    source = Daily(fleet)
    source.stale = set(range(START // DAY, START // DAY + DAYS))
    query = make_query(view_of(fleet), {"t": "p95"}, Selection(), Grouping())
    answers = climb(query, pipeline.Budget(seconds=0.1), source).answers
    assert {answer.source for answer in answers.values()} == {"summaries"}


def test_rows_that_are_gone_leave_bounds() -> None:
    schema = pipeline.Schema([pipeline.Channel("t", "float64")])
    archive = memory_archive()
    fleet = archive.create_fleet("old", schema)
    random = np.random.default_rng(2)
    times = START + np.arange(40 * 24) * (DAY // 24)
    values = random.normal(0, 1, len(times))
    fleet.append({"device": "a", "time": times.astype("M8[us]"), "t": values})
    exact = fleet.aggregate({"t": ["p95", "increase"]}, every="1h")
    whole = fleet.aggregate({"t": "p95"})
    fleet.set_retention(raw="10 days")
    apply_retention(archive._repository, "old", START + 35 * DAY)
    with pytest.raises(InvalidInputError, match="dropped by its retention"):
        fleet.aggregate({"t": "p95"})
    for budget in (True, pipeline.Budget(error=0.0)):
        found = fleet.aggregate({"t": "p95"}, approximate=budget)
        assert found["t_p95"].attrs["approximation"] == "summaries"
        assert_holds(found, whole)
        hours = fleet.aggregate({"t": "p95"}, every="1h", approximate=budget)
        assert_holds(hours.reindex(time=exact["time"]), exact[["t_p95"]])
    with pytest.raises(InvalidInputError, match="dropped by its retention"):
        fleet.aggregate({"t": "increase"}, every="1h", approximate=True)


def test_explain_tells_the_way_and_why(fleet: pipeline.Fleet) -> None:
    question: dict[str, Any] = {"statistics": {"t": ["p95", "mean"], "n": "increase"}}
    told = fleet.explain(**question, approximate=True)
    assert told.approximation["t_mean"] == "stored summaries, exact"
    assert "stored summaries, wrong by" in told.approximation["t_p95"]
    assert "nothing else bounds it" in told.approximation["n_increase"]
    assert told.summary_periods == DAYS
    assert told.summary_bytes > 0
    assert "t_p95" in str(told)
    one = fleet.explain(statistics={"t": "p95"}, approximate=True)
    assert (one.blocks.touched, one.bytes.touched) == (0, 0)
    all_rows = fleet.explain(statistics={"t": "p95"}, approximate=pipeline.Budget(error=0.0))
    assert "too much, so all rows" in all_rows.approximation["t_p95"]
    assert all_rows.blocks.touched == all_rows.blocks.total
    assert "approximation" in all_rows.to_json()
    width = float((lambda x: x["t_p95_high"] - x["t_p95_low"])(ask(fleet)).max())
    sampled = fleet.explain(
        statistics={"t": "p95"}, approximate=pipeline.Budget(error=0.45 * width)
    )
    assert "a sample of" in sampled.approximation["t_p95"]


def test_wrong_questions_are_told(fleet: pipeline.Fleet) -> None:
    with pytest.raises(InvalidInputError, match="sessions are found in the rows"):
        ask(fleet, gap="1h")
    with pytest.raises(InvalidInputError, match="which windows have readings"):
        ask(fleet, every="1h", fill="linear")
    with pytest.raises(InvalidInputError, match="give every= too"):
        ask(fleet, fill="none")
    with pytest.raises(InvalidInputError, match="use True, False or"):
        ask(fleet, "yes")
    with pytest.raises(InvalidInputError, match="seconds=-1"):
        pipeline.Budget(seconds=-1)
    with pytest.raises(InvalidInputError, match="confidence=1"):
        pipeline.Budget(confidence=1.0)
    with pytest.raises(InvalidInputError, match="give its statistics= too"):
        fleet.explain(approximate=True)


def test_windows_without_readings_can_be_left_out(fleet: pipeline.Fleet) -> None:
    found = ask(fleet, every="1h", time=("2024-01-02", "2024-01-03"), fill="none")
    assert found.sizes["time"] == 24
    nothing = ask(fleet, time=("2030-01-01", "2030-01-02"))
    assert np.isnan(nothing["t_p95"].values).all()
