"""Polars asks for columns and predicates of rows, and gets what a frame in memory would give."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from polars.testing import assert_frame_equal

import pipeline
from pipeline.api.rows import dataset, polars_frames
from pipeline.api.rows.filters import (
    UNKNOWN,
    Compare,
    Every,
    Filter,
    Missing,
    Moment,
    OneOf,
    Present,
    Some,
)
from pipeline.api.rows.narrowing import narrowed
from pipeline.api.rows.polars_filters import parse_predicate
from pipeline.errors import MissingDependencyError
from tests.support import as_any

C = pl.col


def _above_five(number: int) -> bool:
    return bool([number > 5][0])


NOON, NEXT = datetime(2024, 1, 2, 12, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC)
PREDICATES: dict[str, tuple[pl.Expr, int]] = {
    "device": (C("device") == "d3", 4),
    "device as text": (C("device").cast(pl.String) == "d3", 4),
    "device mirrored": (pl.lit("d3") == C("device"), 4),
    "devices": (C("device").is_in(["d0", "d1"]), 4),
    "either": ((C("device") == "d0") | (C("device") == "d1"), 4),
    "nobody": (C("device") == "nobody", 0),
    "unequal": (C("device") != "d0", 12),
    "time": (C("time") >= NOON, 9),
    "times": (C("time").is_between(NOON, NEXT, closed="left"), 3),
    "times in": (C("time").is_in([NOON]), 3),
    "device and time": ((C("device") == "d3") & (C("time") >= NOON) & (C("time") < NEXT), 1),
    "float": (C("f64") <= -4.9, 3),
    "float and nan": (C("f64") > 13.0, 12),
    "float or null": ((C("f64") > 13.5) | C("f64").is_null(), 12),
    "nan": (C("f64").is_nan(), 12),
    "not nan": (C("f64").is_not_nan(), 12),
    "nan equal": (C("f64") == float("nan"), 12),
    "nan unequal": (C("f64") != 0.0, 12),
    "nan in": (C("f64").is_in([float("nan"), 1.0]), 12),
    "floats in": (C("f64").is_in([13.5, 13.6]), 3),
    "single": (C("f32") <= -4.9, 3),
    "zero": (C("f32") == 0.0, 12),
    "not null": (C("i16").is_not_null() & (C("device") == "d3"), 4),
    "large": (C("i64") == 2**53 + 1, 3),
    "large, as float": (C("i64") > float(2**53), 12),
    "whole numbers": (C("i16").is_in([1, 2, 300]), 12),
    "whole numbers or null": (C("u8").is_in([1, 2, None], nulls_equal=True), 12),
    "beyond": (C("u8") > 300, 12),
    "bool": (C("on"), 12),
    "not bool": (~C("on") & (C("device") == "d0"), 4),
    "category": (C("mode") == "fault", 12),
    "no category": (C("mode") == "unheard of", 0),
    "no predicate at all": (pl.lit(True), 12),
    "missing like": (C("u8").eq_missing(pl.lit(None, pl.UInt8)), 12),
    "two columns": ((C("f64") > C("i16")) & (C("device") == "d3"), 4),
    "starts with": (C("device").cast(pl.String).str.starts_with("d1"), 12),
    "python": (C("u8").map_elements(_above_five, pl.Boolean) & (C("device") == "d1"), 12),
}


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many blocks each scan narrows to."""
    found: list[int] = []

    def watch(view: Any, selection: Any, wanted: Filter) -> Any:
        less = narrowed(view, selection, wanted)
        found.append(sum(len(unit.blocks) for unit in view.units(less)))
        return less

    monkeypatch.setattr(dataset, "narrowed", watch)
    return found


@pytest.mark.parametrize("name", PREDICATES)
def test_the_same_rows_from_fewer_blocks(
    name: str, plant: pipeline.Fleet, table: pa.Table, touched: list[int]
) -> None:
    predicate, most = PREDICATES[name]
    held, kept = pl.DataFrame(table).lazy(), plant.read().to_polars()
    assert_frame_equal(kept.filter(predicate).collect(), held.filter(predicate).collect())
    assert_frame_equal(
        kept.filter(predicate).select("i16").collect(engine="streaming"),
        held.filter(predicate).select("i16").collect(),
    )
    assert len(touched) == 2
    assert max(touched) <= most


ASKS: list[Callable[[pl.LazyFrame], pl.LazyFrame]] = [
    lambda frame: frame.head(5),
    lambda frame: frame.head(700).filter(C("device") == "d3"),
    lambda frame: frame.filter(C("device") == "d3").head(7),
    lambda frame: frame.select(pl.len()),
    lambda frame: frame.head(0),
    lambda frame: frame.select("u8", "device"),
    lambda frame: frame.group_by("device").agg(C("i16").mean()).sort("device"),
]


@pytest.mark.parametrize("ask", ASKS)
def test_columns_and_limits(
    ask: Callable[[pl.LazyFrame], pl.LazyFrame], plant: pipeline.Fleet, table: pa.Table
) -> None:
    held, kept = pl.DataFrame(table).lazy(), plant.read().to_polars()
    assert_frame_equal(ask(kept).collect(), ask(held).collect())


def test_only_columns_that_are_used_are_read(
    plant: pipeline.Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    read = dataset.RowSource.reader

    def reader(source: Any, columns: Any) -> Any:
        asked.append(list(columns))
        return read(source, columns)

    monkeypatch.setattr(dataset.RowSource, "reader", reader)
    plant.read().to_polars().filter(C("device") == "d1").select("u8").collect()
    plant.read().to_polars().select(pl.len()).collect()
    assert asked[0] == ["device", "u8"]
    assert len(asked[1]) == 1


type Scan = Callable[
    [list[str] | None, pl.Expr | None, int | None, int | None], Iterator[pl.DataFrame]
]


def scan_of(
    rows: dataset.FleetRows, monkeypatch: pytest.MonkeyPatch
) -> tuple[Scan, Mapping[str, Any]]:
    """Return what Polars is given to call, in threads of its own."""
    given: list[Any] = []
    monkeypatch.setattr(
        "polars.io.plugins.register_io_source",
        lambda scan, *, schema: given.extend([scan, schema]),
    )
    rows.to_polars()
    scan, schema = given
    return scan, schema


def test_what_polars_calls(
    plant: pipeline.Fleet, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, _ = scan_of(plant.read(), monkeypatch)
    whole = pl.DataFrame(table)
    one = C("device") == "d3"
    assert_frame_equal(pl.concat(scan(None, None, None, None)), whole)
    assert_frame_equal(pl.concat(scan(["u8"], one, None, 9)), whole.filter(one).select("u8"))
    found = pl.concat(scan(["u8"], one, 700, 9))
    assert_frame_equal(found, whole.head(700).filter(one).select("u8"))
    assert [frame.shape for frame in scan([], None, 3, None)] == [(0, 0)]
    scan, _ = scan_of(plant.read().filter(pc.field("i16") > 100), monkeypatch)
    some = whole.filter(one & (C("i16") > 100))
    assert_frame_equal(pl.concat(scan(["u8"], one, None, None)), some.select("u8"))


MOMENTS = tuple(Moment(Decimal(at.timestamp()) * 10**6) for at in (NOON, NEXT))
MEANINGS: list[tuple[pl.Expr, Filter]] = [
    (C("device") == "d3", Compare("device", "==", "d3")),
    (C("device").cast(pl.String) == "d3", Compare("device", "==", "d3")),
    (pl.lit("d3") == C("device"), Compare("device", "==", "d3")),
    (pl.lit(5, pl.UInt8) < C("u8"), Compare("u8", ">", 5, nan=True)),
    (C("f64") <= pl.lit(1.5, pl.Float64), Compare("f64", "<=", 1.5)),
    (C("f64") >= pl.lit(1, pl.Int64), UNKNOWN),
    (C("f64") != pl.lit(1.5, pl.Float64), Compare("f64", "!=", 1.5, nan=True)),
    (C("f64") == float("nan"), UNKNOWN),
    (C("time") == 5, UNKNOWN),
    (C("time") < NOON, Compare("time", "<", MOMENTS[0])),
    (
        C("time").is_between(NOON, NEXT, closed="right"),
        Every((Compare("time", ">", MOMENTS[0], nan=True), Compare("time", "<=", MOMENTS[1]))),
    ),
    (C("on"), Compare("on", "==", True)),
    (~C("on"), Compare("on", "==", False)),
    (C("u8").is_null(), Missing("u8")),
    (C("f64").is_nan(), Missing("f64")),
    (C("u8").is_not_null(), Present("u8")),
    (C("device").is_in(["d1", "d2"]), OneOf("device", ("d1", "d2"))),
    (C("f64").is_in([1.0, float("nan")]), OneOf("f64", (1.0,), missing=True)),
    (C("f64").is_in([1.0, None]), OneOf("f64", (1.0,), missing=True)),
    (C("u8").is_in([1, 2]), UNKNOWN),  # whole numbers of another type than the column's
    (C("u8").is_in([b"x"]), UNKNOWN),
    (C("u8").hash() == 5, UNKNOWN),
    (C("u8").hash().is_null(), UNKNOWN),
    (C("u8").is_unique(), UNKNOWN),
    (C("elsewhere") == "d3", UNKNOWN),
    (C("on") & (C("u8") == C("i16")), Compare("on", "==", True)),
    (C("on") | (C("u8") == C("i16")), UNKNOWN),
    (C("on") | C("u8").is_null(), Some((Compare("on", "==", True), Missing("u8")))),
    (C("u8").map_batches(lambda series: series > 5), UNKNOWN),
]


@pytest.mark.parametrize(("predicate", "meaning"), MEANINGS)
def test_what_predicates_mean(
    predicate: pl.Expr,
    meaning: Filter,
    plant: pipeline.Fleet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, schema = scan_of(plant.read(), monkeypatch)
    assert parse_predicate(predicate, schema) == meaning


@pytest.mark.parametrize("told", ["no JSON", '{"BinaryExpr": 5}', "[" * 100_000])
def test_predicates_told_in_other_words(told: str) -> None:
    class Strange:
        meta: Any

        def serialize(self, format: str) -> str:
            return told

    predicate = Strange()
    predicate.meta = predicate
    assert parse_predicate(as_any(predicate), {}) == UNKNOWN


def test_filtered_rows(plant: pipeline.Fleet, table: pa.Table) -> None:
    some = plant.read().filter(pc.field("i16") > 100)
    expected = pl.DataFrame(table.filter(pc.field("i16") > 100))
    assert_frame_equal(some.to_polars().collect(), expected)
    assert_frame_equal(
        some.to_polars().filter(C("device") == "d1").select("u8").collect(),
        expected.filter(C("device") == "d1").select("u8"),
    )


def test_streams_and_datasets_of_polars_own(plant: pipeline.Fleet, table: pa.Table) -> None:
    expected = pl.DataFrame(table)
    rows = plant.read()
    assert_frame_equal(pl.DataFrame(rows), expected)
    assert_frame_equal(pl.DataFrame(pl.from_arrow(rows)), expected)
    lazy = pl.scan_pyarrow_dataset(rows).filter(C("device") == "d3")
    assert_frame_equal(lazy.collect(), expected.filter(C("device") == "d3"))


def test_a_predicate_that_polars_tells_in_other_words(
    plant: pipeline.Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polars_frames, "parse_predicate", lambda *_: UNKNOWN)
    found = plant.read().to_polars().filter(C("device") == "d3").collect()
    assert found["device"].unique().to_list() == ["d3"]


def test_without_polars(plant: pipeline.Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "polars":
            raise ImportError(name)
        return load(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match="pip install polars"):
        plant.read().to_polars()
