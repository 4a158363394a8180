"""In whatever order rows are imported, the archive holds the same.

Rows that repeat a device and time with other values are the exception under `keep_last`, as its
name says: there the last row in the order of the import counts, and the order of the import is
that of the files' names, whatever the workers do. Under `keep_all` all of them are there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from tests.connectors import dirty_files
from tests.integration.import_orders import (
    ORDERS,
    arranged,
    conflicts,
    content,
    digest,
    kept_last,
    rows_of,
    same,
    write_files,
)
from tests.jobs.running import run


def step(fleet: str, folder: Path, duplicates: str, window: str = "auto") -> dict[str, Any]:
    return {
        "import": {
            "fleet": fleet,
            "source": {"parquet": {"path": str(folder), "rows_per_piece": 200_000}},
            "partitioning": {"window": window, "devices_per_block": 16},
            "duplicates": duplicates,
        }
    }


def made_up(repeated: str) -> pa.Table:
    """Return rows of ten devices over five days, some of them repeated."""
    rng = np.random.default_rng(3)
    count = 20_000
    device = rng.integers(0, 10, count)
    minutes = rng.permutation(count) if repeated == "never" else rng.integers(0, 7200, count)
    value = device * 10_000.0 + minutes if repeated == "alike" else rng.normal(size=count)
    mode = np.array(["on", "off", "idle"])[(device + minutes) % 3]
    return pa.table(
        {
            "device": pa.array([f"d{at}" for at in device]).dictionary_encode(),
            "time": pa.array(minutes * 60_000_000, pa.timestamp("us", tz="UTC")),
            "t": pa.array(value, mask=minutes % 11 == 0),
            "mode": pa.array(mode).dictionary_encode(),
        }
    )


@pytest.mark.parametrize("duplicates", ["keep_last", "keep_all"])
@pytest.mark.parametrize("repeated", ["never", "alike", "with other values"])
def test_rows_in_any_order_are_the_same_archive(
    tmp_path: Path, repeated: str, duplicates: str
) -> None:
    table = made_up(repeated)
    found = {}
    for order in ORDERS:
        rows = arranged(table, order)
        write_files(rows, tmp_path / order / "files", 3000)
        job = step("rooms", tmp_path / order / "files", duplicates, "day")
        fleet = run(tmp_path / order, job).archive.fleet("rooms")
        found[order] = content(rows_of(fleet, table.column_names))
        expected = rows if duplicates == "keep_all" else kept_last(rows)
        assert same(found[order], content(expected)), order
    alike = [same(one, found["by time"]) for one in found.values()]
    if repeated == "with other values" and duplicates == "keep_last":
        assert conflicts(table) > 1000
        assert not all(alike)
    else:
        assert all(alike)


CONFLICTING = {
    "hast_lora_leaf_nodes": 20_315,
    "nab_real": 32,
    "tracebase_smart_plugs": 10_390,
    "ulb_library_links": 111_937,
}
"""Distinct rows of the public data sets beyond one for each device and time."""

ORDER_DECIDES = {"hast_lora_leaf_nodes", "ulb_library_links"}
"""Those whose contradicting rows lie in different files: which is last is the files' order."""


@pytest.mark.campaign
@pytest.mark.real_data
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("duplicates", ["keep_last", "keep_all"])
def test_all_real_data_in_three_orders(tmp_path: Path, real_data: Path, duplicates: str) -> None:
    tables = {path.stem: pq.read_table(path) for path in (real_data / "parquet").glob("*.parquet")}
    assert len(tables) >= 14
    found: dict[str, set[str]] = {name: set() for name in tables}
    for order in ("files as they are", "files reversed", "files shuffled"):
        folder = tmp_path / order
        for name, table in tables.items():
            write_files(arranged(table, order), folder / name)
        steps = [step(name, folder / name, duplicates) for name in sorted(tables)]
        archive = run(folder, *steps).archive
        for name, table in tables.items():
            rows = arranged(table, order)
            expected = content(rows if duplicates == "keep_all" else kept_last(rows))
            stored = content(rows_of(archive.fleet(name), table.column_names))
            assert same(stored, expected), (name, order)
            found[name].add(digest(stored))
    for name, digests in found.items():
        decides = duplicates == "keep_last" and name in ORDER_DECIDES
        assert (len(digests) > 1) == decides, name
    assert {n: c for n, t in tables.items() if (c := conflicts(t))} == CONFLICTING


@pytest.mark.real_data
@pytest.mark.timeout(1800)
def test_a_real_data_set_by_time_by_device_and_shuffled(tmp_path: Path, real_data: Path) -> None:
    table = pq.read_table(real_data / "parquet" / "room_climate_nodes.parquet")
    found = []
    for order in ("by time", "by device", "rows shuffled"):
        write_files(arranged(table, order), tmp_path / order / "files", 20_000)
        job = step("rooms", tmp_path / order / "files", "keep_last")
        fleet = run(tmp_path / order, job).archive.fleet("rooms")
        found.append(content(rows_of(fleet, table.column_names)))
    assert same(found[0], content(kept_last(table)))
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def shuffled_lines(lines: list[str], order: str) -> list[str]:
    pieces = [list(piece) for piece in np.array_split(np.array(lines, dtype=object), 5)]
    if order == "files reversed":
        pieces = pieces[::-1]
    if order == "files shuffled":
        pieces = [pieces[at] for at in (3, 0, 4, 1, 2)]
    return ["".join(piece) for piece in pieces]


@pytest.mark.real_data
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "made",
    [
        dirty_files.lora_main_node,
        dirty_files.lora_receiver_log,
        dirty_files.air_quality,
        dirty_files.library_motes,
        dirty_files.mqtt_capture,
    ],
    ids=lambda made: made.__name__,
)
def test_dirty_files_in_three_orders(made: Any, tmp_path: Path, real_data: Path) -> None:
    source = made()
    is_json = made is dirty_files.mqtt_capture
    kind = "json" if is_json else "delimited"
    options = TypeAdapter(type(source)).dump_python(source, mode="json")
    path = Path(options["path"])
    header: list[str] = []
    if is_json:
        lines = [f"{json.dumps(one)}\n" for one in json.loads(path.read_text())]
    else:
        texts = path.read_bytes().decode().removesuffix("\n").split("\n")
        lines = [f"{text}\n" for text in texts]
        if options["header"] and not options["pattern"]:
            header, lines = lines[:1], lines[1:]
    found = []
    for order in ("files as they are", "files reversed", "files shuffled"):
        folder = tmp_path / order / "files"
        folder.mkdir(parents=True)
        for at, text in enumerate(shuffled_lines(lines, order)):
            (folder / f"{at}.txt").write_text("".join(header) + text, newline="")
        told = {kind: {**options, "path": str(folder), "piece_bytes": 100_000}}
        job = {"fleet": "dirty", "source": told, "duplicates": "keep_all"}
        outcome = run(tmp_path / order, {"import": {**job, "partitioning": {"window": "month"}}})
        fleet = outcome.archive.fleet("dirty")
        names = ["device", "time", *fleet.schema.names]
        rejected = sorted(fleet.quarantine()["record"].to_pylist())
        found.append((content(rows_of(fleet, names)), rejected))
    for rows, rejected in found[1:]:
        assert same(rows, found[0][0])
        assert rejected == found[0][1]
    assert len(found[0][0]["time"]) > 100
