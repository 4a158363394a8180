"""Real sensor data goes in and comes out, row by row and bit by bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from numpy.typing import NDArray
from pydantic import TypeAdapter

import pipeline
from pipeline.jobs.command import main
from pipeline.model.ports import Source
from tests.connectors import dirty_files

pytestmark = pytest.mark.real_data

CONFIGS = Path(__file__).parents[2] / "configs"


def bits(column: pa.ChunkedArray) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Return which rows are present, and values as something that compares bit by bit."""
    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.cast(pa.string())
    present = pc.is_valid(array).to_numpy(zero_copy_only=False)
    if pa.types.is_string(array.type):
        return present, pc.fill_null(array, "").to_numpy(zero_copy_only=False)
    values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    kind = values.dtype.itemsize
    return present, values.view(f"u{kind}") if values.dtype.kind == "f" else values


def assert_same_rows(fleet: pipeline.Fleet, original: pa.Table) -> None:
    """Compare all rows with the file's, put in the archive's order (ties as they came)."""
    found = fleet.read().read_all()
    codes = {device: code for code, device in enumerate(fleet.devices)}
    device = original["device"].combine_chunks()
    dictionary = np.array([codes.get(text, -1) for text in device.dictionary.to_pylist()])
    code = dictionary[device.indices.to_numpy()]
    time = original["time"].cast(pa.int64()).to_numpy()
    window = fleet.partitioning.window_length.numbers(time)
    order = np.lexsort((np.arange(len(time)), time, code, window))
    assert found.num_rows == original.num_rows
    assert found.schema.names == original.schema.names
    for name in original.schema.names:
        one, two = bits(found[name]), bits(original[name])
        np.testing.assert_array_equal(one[0], two[0][order], err_msg=name)
        np.testing.assert_array_equal(one[1], two[1][order], err_msg=name)


def test_every_row_and_bit_of_every_parquet_file(
    tmp_path: Path,
    real_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = sorted((real_data / "parquet").glob("*.parquet"))
    assert files
    monkeypatch.setenv("IOT_ARCHIVE_REAL_DATA", str(real_data))
    report = tmp_path / "report.json"
    folder = tmp_path / "archive"
    arguments = [str(CONFIGS / "real-data.yaml"), f"archive={folder}", f"report={report}"]
    assert main(arguments) == 0
    archive = pipeline.Archive.open(folder)
    assert archive.fleets == [path.stem for path in files]
    imports = {step["fleet"]: step for step in json.loads(report.read_text())["steps"]}
    table = capsys.readouterr().out
    for path in files:
        original = pq.read_table(path)
        fleet = archive.fleet(path.stem)
        assert_same_rows(fleet, original)
        step = imports[path.stem]
        assert (step["rows"], step["quarantined"]) == (original.num_rows, 0)
        channels = original.drop_columns(["device", "time"]).columns
        assert step["points"] == sum(len(column) - column.null_count for column in channels)
        assert f"  {path.stem} " in table
        some = channels[0].combine_chunks()
        count = pc.sum(pc.is_valid(some)).as_py()
        if pa.types.is_floating(some.type):
            count -= pc.sum(pc.is_nan(some)).as_py() or 0
        name = original.schema.names[2]
        assert fleet.aggregate({name: "count"}, by=[])[f"{name}_count"] == count


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
def test_dirty_files_are_stored_or_quarantined_line_by_line(
    made: Callable[[], Source], tmp_path: Path, real_data: Path
) -> None:
    source = made()
    kind = "json" if made is dirty_files.mqtt_capture else "delimited"
    options = TypeAdapter(type(source)).dump_python(source, mode="json")
    step = {"fleet": "dirty", "source": {kind: options}, "duplicates": "keep_all"}
    job = {
        "archive": str(tmp_path / "archive"),
        "report": str(tmp_path / "report.json"),
        "steps": [{"import": {**step, "partitioning": {"window": "auto"}}}],
    }
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    assert main([str(path)]) == 0
    done = json.loads((tmp_path / "report.json").read_text())["steps"][0]
    file = Path(options["path"])
    lines = len(file.read_bytes().splitlines())
    if kind == "json":
        lines = len(json.loads(file.read_text()))
    assert done["rows"] + done["quarantined"] + done["ignored"] == lines
    fleet = pipeline.Archive.open(tmp_path / "archive").fleet("dirty")
    assert fleet.read().read_all().num_rows == done["rows"] > 100
    quarantine = fleet.quarantine()
    assert quarantine.num_rows == done["quarantined"]
    assert all(quarantine["reason"].to_pylist())
    if kind == "delimited":
        known = set(file.read_text(errors="replace").splitlines())
        raw = [text for text in quarantine["record"].to_pylist() if not text.startswith("{")]
        assert set(raw) <= known
