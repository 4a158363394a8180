"""What FORMAT.md says of archives is enough to read the rows of every golden archive."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.partitioning.windows import WindowLength
from tests.format_reader.archive import Archive
from tests.format_reader.versions import brought_forward

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "archives"
FORMS = sorted(path.name for path in GOLDEN.iterdir())
READER = ("archive", "block", "filters", "header", "lanes", "octets", "series", "versions")


@pytest.fixture(params=FORMS, scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("golden") / "archive"
    shutil.copytree(GOLDEN / request.param, copy)
    return copy


@pytest.fixture(scope="module")
def plain(folder: Path) -> Archive:
    return Archive(str(folder), "golden")


@pytest.fixture(scope="module")
def fleet(folder: Path) -> pipeline.Fleet:
    return pipeline.Archive.open(folder)["golden"]


def test_rows_of_every_version(plain: Archive, fleet: pipeline.Fleet) -> None:
    ids, found = plain.devices(), plain.rows()
    assert len(found) > 150
    numbers = {number for number, _ in found.values()}
    assert numbers == ({1} if len(fleet.schemas) == 1 else {1, 2, 4})
    seen = 0
    for number in numbers:
        rows = fleet.at_version(number).read().read_all()
        expected = {
            (device, int(time)): row
            for device, time, row in zip(
                rows["device"].to_pylist(),
                rows["time"].cast("int64").to_pylist(),
                rows.drop_columns(["device", "time"]).to_pylist(),
                strict=True,
            )
        }
        assert {(ids[code], time) for code, time in found} == set(expected)
        for (code, time), (stored_as, values) in found.items():
            if stored_as == number:
                assert repr(values) == repr(expected[ids[code], time])
                seen += 1
    assert seen == len(found)


def test_rows_of_older_versions_as_the_newest_has_them(
    plain: Archive, fleet: pipeline.Fleet
) -> None:
    ids, rows = plain.devices(), fleet.read().read_all()
    expected = {
        (row.pop("device"), row.pop("time")): row
        for row in rows.set_column(1, "time", rows["time"].cast("int64")).to_pylist()
    }
    for (code, time), (number, values) in plain.rows().items():
        found = brought_forward(values, number, plain.schema["versions"])
        assert repr(found) == repr(expected[ids[code], time])


def test_the_index_tells_of_its_blocks(plain: Archive) -> None:
    ids, length = plain.devices(), WindowLength.parse(plain.partitioning["window"])
    slots = plain.used_slots()
    for block in plain.blocks():
        codes, times = (plain.column(block, name)[0] for name in ("device_index", "time"))
        fields = block.fields
        assert (fields["device_min"], fields["device_max"]) == (codes.min(), codes.max())
        assert (fields["time_min"], fields["time_max"]) == (times.min(), times.max())
        assert set(length.numbers(times).tolist()) == {block.window}
        own = set((1 + codes // plain.partitioning["devices_per_block"]).tolist())
        assert block.device_block == 0 or own == {block.device_block}
        assert block.slot < slots[block.window]
        assert all(ids[code] for code in codes.tolist())
        order = list(zip(codes.tolist(), times.tolist(), strict=True))
        assert order == sorted(order)


def test_stored_statistics(plain: Archive) -> None:
    period = WindowLength.parse(plain.partitioning["summary"])
    counts: dict[tuple[int, int], int] = {}
    for code, time in plain.rows():
        cell = (code, period.number(time))
        counts[cell] = counts.get(cell, 0) + 1
    path = f"{plain.root}/summary/{period.name.lower()}/extent"
    devices, periods = plain.document(path)["chunk_grid"]["configuration"]["chunk_shape"][1:]
    stored = {}
    for _, row, column in plain.keys(path):
        chunk = plain.table(path, (0, row, column))
        assert chunk is not None
        for device, at in np.argwhere(chunk[0] > 0).tolist():
            stored[row * devices + device, column * periods + at] = int(chunk[0, device, at])
    assert stored == counts


def test_tags_categories_and_quarantine(plain: Archive, fleet: pipeline.Fleet) -> None:
    tags = plain.document("golden/devices")["attributes"]["tags"]
    for at, name in enumerate(tags):
        texts = plain.texts(f"golden/devices/tag_{at}", 0)
        found = {id: text for id, text in zip(plain.devices(), texts, strict=False) if id and text}
        assert found == {id: known[name] for id, known in fleet.tags.items() if name in known}
    aside = fleet.quarantine()
    for name in ("reason", "record", "source"):
        texts = plain.texts(f"golden/quarantine/{name}", 0)[: len(aside)]
        assert texts == aside[name].to_pylist()


def test_the_lookup_finds_devices(plain: Archive) -> None:
    ids = plain.devices()
    if not plain.document("golden/devices/lookup"):
        return  # an archive of before
    assert [plain.code(id) for id in ids if id] == [code for code, id in enumerate(ids) if id]
    assert plain.code("nobody") is None


def test_positions(plain: Archive, fleet: pipeline.Fleet) -> None:
    if plain.document("golden/positions"):
        assert plain.positions() == fleet.positions == {"source": {"offset": 7}}


def test_rollups(plain: Archive, fleet: pipeline.Fleet) -> None:
    for name in fleet.rollups:
        known = fleet.rollups[name].to_xarray()
        for array in ("rows", "int8_count"):
            path = f"golden/rollup/{name}/{array}"
            document = plain.document(path)
            devices, periods = document["shape"]
            chunk = plain.table(path, (0, 0))
            assert chunk is not None
            assert chunk[:devices, :periods].tolist() == known[array].values.tolist()
        times = plain.table(f"golden/rollup/{name}/time", (0,))
        assert times is not None
        expected = known["time"].values.astype("M8[us]").astype(np.int64)
        assert times[: len(expected)].tolist() == expected.tolist()


def test_the_reader_imports_nothing_of_the_package() -> None:
    for name in READER:
        tree = ast.parse((HERE / f"{name}.py").read_text())
        for node in ast.walk(tree):
            modules: list[Any] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module]
            assert not any(str(module).startswith("pipeline") for module in modules)
    script = (
        "import sys; from tests.format_reader.archive import Archive;"
        f"rows = Archive({str(GOLDEN / 'format-1')!r}, 'golden').rows();"
        "assert len(rows) > 150 and not {'pipeline', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=HERE.parents[1], timeout=120)
