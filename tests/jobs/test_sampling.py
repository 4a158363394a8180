"""Measuring a source's first rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

from pipeline.connectors.parquet import ParquetSource
from pipeline.jobs.sampling import SampleSizes, choose_window, measure, sample_rows
from pipeline.model.ports import Source
from pipeline.partitioning.windows import WindowLength
from pipeline.simulation.fleets import SimulatedFleet, SimulatedSource

DAY = 86_400_000_000


def rows(times: np.ndarray[tuple[int], np.dtype[np.int64]], devices: int = 2) -> pa.Table:
    ids = [f"d{at % devices}" for at in range(len(times))]
    return pa.table({"device": ids, "time": pa.array(times, pa.timestamp("us", "UTC"))})


def test_rows_devices_and_span() -> None:
    found = measure(rows(np.arange(1001) * 1000))
    assert (found.rows, found.devices) == (1001, 2)
    assert found.span_us == pytest.approx(1_000_000, rel=1e-6)


def test_a_few_clocks_that_are_wrong_do_not_stretch_the_span() -> None:
    times = 20_000 * DAY + np.arange(1000) * 1000
    times[:10] = 0
    times[-10:] = 70_000 * DAY
    assert measure(rows(times)).span_us < 2_000_000


def test_rows_without_a_time_do_not_count() -> None:
    table = pa.table({"device": ["a", "a"], "time": pa.array([None, None], pa.timestamp("us"))})
    assert measure(table) == SampleSizes()


def test_no_fragments() -> None:
    assert sample_rows([]) == SampleSizes()


def test_the_sample_is_bounded() -> None:
    source = SimulatedSource(SimulatedFleet(devices=64, readings=100), devices_per_fragment=32)
    assert sample_rows(source.fragments(), 1000).rows == 3200
    assert sample_rows(source.fragments()).rows == 6400


@pytest.fixture(scope="module")
def client() -> Iterator[object]:
    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            processes=False, n_workers=1, dashboard_address="127.0.0.1:0", memory_limit=0
        ) as cluster,
        Client(cluster, set_as_default=False) as connected,  # type: ignore[no-untyped-call]
    ):
        yield connected


def test_the_window_follows_from_the_density(client: object, tmp_path: Path) -> None:
    dense: Source = SimulatedSource(SimulatedFleet(devices=256, readings=300, interval="1 min"))
    sparse: Source = SimulatedSource(SimulatedFleet(devices=2, readings=300, interval="1 min"))
    assert choose_window(client, dense, 256) is WindowLength.DAY
    assert choose_window(client, sparse, 256) is WindowLength.MONTH


def test_of_parquet_only_devices_and_times_are_read(
    client: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.parquet"
    table = rows(np.arange(5000) * 1_000_000)
    pq.write_table(table.append_column("channel", pa.array(np.arange(5000))), path)
    read: list[list[str]] = []
    original = pq.ParquetFile.iter_batches

    def recording(self: object, *arguments: object, columns: list[str], **others: object) -> object:
        read.append(columns)
        return original(self, *arguments, columns=columns, **others)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", recording)
    assert choose_window(client, ParquetSource(path), 256) is WindowLength.DAY
    assert read == [["device", "time"]]
