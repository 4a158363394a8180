"""Whatever is asked of rows, engines get what they would get of the same rows in memory."""

from __future__ import annotations

from functools import cache, reduce
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import pipeline
from pipeline.schema.changes import ChangeDtype, ChangeUnits
from tests.api.rows.plant import make_plant, plant_table
from tests.api.rows.test_dataset import FILTERS, equal
from tests.api.rows.test_duckdb import WHERE
from tests.api.rows.test_polars import PREDICATES


def lived_in() -> pipeline.Fleet:
    """Return the plant with rows of two versions, repeated rows, and rows that wait in landing."""
    fleet = make_plant()
    table = plant_table()
    fleet.evolve(ChangeUnits("f64", "cdeg", multiply=0.5, add=1.0), ChangeDtype("u8", "int64"))
    again = table.slice(100, 300)
    changed = pc.add(again["f64"], 2.0)
    u8 = again["u8"].cast(pa.int64())
    again = again.set_column(2, "f64", changed).set_column(6, "u8", u8)
    fleet.append(again)
    fleet.append(again.take([5, 50, 250]))
    return fleet


FLEETS = {"plant": make_plant, "lived in": lived_in}
NAMES = st.sampled_from(list(FLEETS))


@cache
def fleet_of(name: str) -> pipeline.Fleet:
    return FLEETS[name]()


@cache
def table_of(name: str) -> pa.Table:
    return fleet_of(name).read().read_all()


def trees(leaves: list[Any]) -> st.SearchStrategy[Any]:
    """Return conditions joined by and, or and not, as nested tuples."""
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: st.tuples(st.sampled_from("&|~"), st.lists(inner, min_size=1, max_size=3)),
        max_leaves=6,
    )


def built(tree: Any) -> Any:
    """Return an expression of Arrow or Polars."""
    if not isinstance(tree, tuple):
        return tree
    operator, parts = tree
    if operator == "~":
        return ~built(parts[0])
    return reduce(
        (lambda one, two: one & two) if operator == "&" else (lambda one, two: one | two),
        map(built, parts),
    )


def written(tree: Any) -> str:
    """Return a condition in SQL."""
    if not isinstance(tree, tuple):
        return f"({tree})"
    operator, parts = tree
    if operator == "~":
        return f"(NOT {written(parts[0])})"
    return f"({(' AND ' if operator == '&' else ' OR ').join(map(written, parts))})"


def test_the_lived_in_fleet_has_what_it_should() -> None:
    index = fleet_of("lived in").explain()
    assert index.landing_blocks.touched > 0
    assert index.rows.touched > table_of("lived in").num_rows == table_of("plant").num_rows


@given(NAMES, trees([expression for expression, _ in FILTERS.values()]))
def test_arrow(name: str, tree: Any) -> None:
    expression = built(tree)
    found = fleet_of(name).read().to_table(["device", "time", "f64"], expression)
    assert equal(found, table_of(name).filter(expression).select(["device", "time", "f64"]))


@given(NAMES, trees(list(WHERE)))
def test_duckdb(name: str, tree: Any) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("kept", fleet_of(name).read())
        connection.register("held", table_of(name))
        query = "SELECT device, time, f64, mode FROM {} WHERE {} ORDER BY device, time"
        found, expected = (
            connection.execute(query.format(rows, written(tree))).fetchall()
            for rows in ("kept", "held")
        )
    assert repr(found) == repr(expected)


@given(
    NAMES,
    trees([one for name, (one, _) in PREDICATES.items() if name not in ("python", "missing like")]),
)
def test_polars(name: str, tree: Any) -> None:
    predicate = built(tree)
    held = pl.DataFrame(table_of(name)).lazy()
    kept = fleet_of(name).read().to_polars()
    asked = [frame.filter(predicate).select("device", "f64") for frame in (kept, held)]
    assert_frame_equal(asked[0].collect(), asked[1].collect())
