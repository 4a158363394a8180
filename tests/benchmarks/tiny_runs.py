"""Benchmarks never rot: each runs at tiny size, and its JSON has the keys that others read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.command import main
from tests.benchmarks.measuring import one_process
from tests.servers.kafka_files import missing
from tests.servers.mosquitto import find

__all__ = ["BROKERS", "KEYS", "apart", "check_tiny_run"]


def _missing_mosquitto() -> str:
    return "" if find() else "mosquitto is not installed: python -m tests.servers.install"


BROKERS = {"mqtt_source": (_missing_mosquitto,), "stream": (_missing_mosquitto, missing)}
"""Benchmarks that need brokers, and what tells why one is missing."""

KEYS = {
    "codecs": {
        "size_vs_pcodec8_synthetic",
        "size_vs_pcodec12_synthetic",
        "worst_vs_pcodec8",
        "size_vs_parquet",
        "size_vs_blosc2",
        "size_vs_zstd",
        "size_vs_doubledelta",
        "size_vs_gorilla",
        "worst_vs_best_peer",
        "encode_vs_pcodec8",
        "encode_worst_vs_pcodec8",
        "decode_vs_pcodec8",
        "decode_worst_vs_pcodec8",
        "typical_ratio_min",
        "warm_load_s",
        "import_pipeline_s",
    },
    "devices": {
        "register_growth",
        "register_one_growth",
        "open_growth",
        "query_growth",
        "append_growth",
        "append_spread_growth",
    },
    "history": {
        "metadata_mb_before",
        "metadata_mb_after",
        "commit_p50_ms_after",
        "commit_p50_ms_fresh",
        "commit_growth",
        "open_ms",
        "maintenance_s",
    },
    "import": {
        "points_per_s",
        "ratio",
        "peak_rss_mb",
        "seconds_vs_duckdb_parquet",
        "bytes_vs_duckdb_parquet",
        "warmup_s",
    },
    "mqtt_source": {
        "ours_1_per_s",
        "paho_1_per_s",
        "vs_paho_1",
        "ours_100_per_s",
        "paho_100_per_s",
        "vs_paho_100",
    },
    "partition": {
        "gb_per_hour_per_core",
        "machine_scaling",
        "scaling_2_workers",
        "cores_for_1tb_hour",
    },
    "payloads": {
        f"{name}_{each}_per_s"
        for name in ("json", "msgpack", "cbor", "csv", "line_protocol", "avro", "protobuf")
        for each in (1, 100)
    },
    "rollup": {"rollup_points_per_s", "seconds", "rerun_share", "stored_mb", "peak_rss_mb"},
    "latency": {
        "device_month_p50_ms",
        "device_month_p99_ms",
        "device_year_hourly_p50_ms",
        "fleet_year_daily_ms",
        "p95_approx_ms",
        "p95_exact_ms",
        "latest_all_ms",
    },
    "query": {
        "geomean_vs_duckdb",
        "geomean_vs_duckdb_parquet",
        "geomean_vs_clickhouse",
        "ours_bytes",
        "duckdb_bytes",
        "duckdb_parquet_bytes",
        "clickhouse_bytes",
    },
    "scale": {
        "points",
        "points_per_s",
        "peak_rss_mb",
        "ratio",
        "bytes_per_point",
        "import_slowdown",
        "query_growth",
    },
    "schema": {
        "evolve_ms",
        "raw_chunks_rewritten",
        "converted_read",
        "converted_aggregate",
        "migrate_mb_per_s",
        "migrate_vs_rewrite",
        "migrate_100_gb_minutes",
    },
    "stream": {
        "api_readings_per_s",
        "ack_p50_ms",
        "ack_p99_ms",
        "freshness_p99_s",
        "live_vs_bulk_bytes",
        "peak_rss_mb",
        "mqtt_messages_per_s",
        "mqtt_batched_readings_per_s",
        "kafka_readings_per_s",
    },
    "quickstart": {
        "points_per_s",
        "ratio",
        "seconds",
        "warmup_s",
        "stored_bytes",
        "one_device_mean_ms",
        "hourly_means_ms",
        "latest_ms",
        "process_s",
    },
    "xarray": {
        "open_ms",
        "sel_device_month_ms",
        "dask_fleet_mean_s",
        "dask_fleet_mean_vs_plain_zarr",
        "iot_fleet_mean_ms",
        "iot_fleet_mean_vs_plain_zarr",
    },
}
"""Figures that every version of a benchmark has to report."""

MAY_BE_NOTHING = {"raw_chunks_rewritten"}
"""Figures that are 0 where all is well."""


@pytest.fixture(scope="module")
def apart() -> Iterator[None]:
    """One process for whatever the benchmarks of a module run apart."""
    with one_process():
        yield


def check_tiny_run(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a benchmark at tiny size, and check what it reports and prints."""
    for reason in (told() for told in BROKERS.get(name, ())):
        if reason:
            pytest.skip(reason)
    file = folder / "figures.json"
    assert main([name, "--tiny", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["name"] == name
    assert report["figures"].keys() >= KEYS[name]
    assert all(value >= 0 for value in report["figures"].values())
    assert all(report["figures"][key] > 0 for key in KEYS[name] - MAY_BE_NOTHING)
    assert report["rows"]
    printed = capsys.readouterr().out
    assert all(key in printed for key in report["figures"])
