"""Three generations of firmware side by side, made of real data, are read as one fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.partitioning.pruning import Selection
from pipeline.schema.changes import Categories, Change, ChangeDtype, ChangeUnits, RenameChannel
from tests.support import memory_archive

pytestmark = pytest.mark.real_data

WINDS = (("north", "N"), ("south", "S"), ("east", "E"), ("west", "W"))
SECOND: tuple[Change, ...] = (
    RenameChannel("pm25", "PM2.5"),
    ChangeDtype("CO", "int64"),
    ChangeDtype("PRES", "float64"),
    ChangeUnits("PRES", "hPa", multiply=1, divide=100),
)
THIRD: tuple[Change, ...] = (
    ChangeUnits("TEMP", "degC", multiply=5, add=-160, divide=9),
    Categories("wd", renamed=WINDS),
)


def put(table: pa.Table, name: str, column: Any, new: str | None = None) -> pa.Table:
    return table.set_column(table.column_names.index(name), new or name, column)


def second_of(table: pa.Table) -> pa.Table:
    """Return rows as devices of the second generation report them."""
    fahrenheit = pc.divide(pc.add(pc.multiply(table["TEMP"], 9.0), 160.0), 5.0)
    long = {short: word for word, short in WINDS}
    words = [long.get(text, text) for text in table["wd"].to_pylist()]
    return put(put(table, "TEMP", fahrenheit), "wd", pa.array(words, pa.string()))


def first_of(table: pa.Table) -> pa.Table:
    """Return rows as devices of the first generation report them."""
    table = second_of(table)
    pascals = pc.round(pc.multiply(table["PRES"], 100.0)).cast(pa.int32())
    table = put(put(table, "PRES", pascals), "CO", table["CO"].cast(pa.int16()))
    return table.rename_columns(
        ["pm25" if name == "PM2.5" else name for name in table.column_names]
    )


def by_device(table: pa.Table) -> pa.Table:
    plain = put(table, "device", table["device"].cast(pa.string()))
    return plain.sort_by([("device", "ascending"), ("time", "ascending")]).combine_chunks()


def assert_equal(fleet: pipeline.Fleet, original: pa.Table) -> None:
    found, expected = (by_device(one) for one in (fleet.read().read_all(), original))
    assert found.column_names == expected.column_names
    for name in expected.column_names:
        one, two = found[name].combine_chunks(), expected[name].combine_chunks()
        if name == "TEMP":  # converted there and back, and rounded twice
            there, back = (column.to_numpy(zero_copy_only=False) for column in (one, two))
            np.testing.assert_allclose(there, back, rtol=1e-14, atol=1e-13)
        elif name == "PRES":
            # Hundredths are all that a whole number of pascals tells.
            there, back = (column.to_numpy(zero_copy_only=False) for column in (one, two))
            np.testing.assert_allclose(there, back, rtol=0, atol=0.00501)
        elif name == "wd":
            assert one.cast(pa.string()).equals(two.cast(pa.string()))
        else:
            assert one.equals(two.cast(one.type)), name


@pytest.mark.parametrize("older", ["keep", "convert"])
def test_three_generations_are_one_fleet(real_data: Path, older: str) -> None:
    original = pq.read_table(real_data / "parquet" / "beijing_multisite_air.parquet")
    original = original.replace_schema_metadata(None)
    stations = sorted(pc.unique(original["device"]).to_pylist())
    groups = [
        original.filter(pc.is_in(original["device"].cast(pa.string()), pa.array(stations[at::3])))
        for at in range(3)
    ]
    schema = pipeline.Schema.from_arrow(first_of(groups[0]).schema)
    archive = memory_archive()
    fleet = archive.create_fleet("air", schema, pipeline.Partitioning("1 month", 4))
    fleet.evolve(*SECOND, comment="second generation")
    fleet.evolve(*THIRD, comment="third generation")
    fleet.set_schema_policies(older=older)
    for version, rows in enumerate((first_of(groups[0]), second_of(groups[1]), groups[2]), 1):
        assert fleet.append(rows, schema_version=version).quarantined == 0
    versions = set(fleet._view().blocks(Selection()).schema_version.tolist())
    assert versions == ({1, 2, 3} if older == "keep" else {3})
    assert_equal(fleet, original)

    plain = archive.create_fleet(
        "plain", pipeline.Schema.from_arrow(original.schema), fleet.partitioning
    )
    plain.append(original)
    asked: dict[str, Any] = {
        "TEMP": ["min", "max", "mean", "std", "last"],
        "PRES": ["min", "max", "sum"],
        "CO": ["count", "max", "first"],
        "PM2.5": ["mean", "missing"],
        "wd": ["count", "last"],
    }

    def compare() -> None:
        for every in ("1 month", None):
            one, two = (one.aggregate(asked, every=every) for one in (fleet, plain))
            two = two.sel(device=one["device"])
            for name in two.data_vars:
                if two[name].dtype.kind in "US":
                    np.testing.assert_array_equal(one[name].values, two[name].values)
                else:
                    np.testing.assert_allclose(one[name].values, two[name].values, rtol=1e-5)

    compare()
    done = fleet.migrate(verify=True)
    assert done.blocks == (0 if older == "convert" else done.verified)
    assert_equal(fleet, original)
    compare()
    assert archive.verify("air").is_clean
