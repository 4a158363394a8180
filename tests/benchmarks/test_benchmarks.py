"""Benchmarks never rot: each runs at tiny size, and its JSON has the keys that others read."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.benchmarks.command import main
from tests.benchmarks.fingerprints import Fingerprint, fingerprint
from tests.benchmarks.import_bench import check_rows
from tests.benchmarks.measuring import Stopwatch, machine_facts, run_apart
from tests.benchmarks.outcome import Benchmark, Outcome, Size, WrongResultError
from tests.benchmarks.quickstart_bench import run_job
from tests.benchmarks.registry import BENCHMARKS

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
}
"""Figures that every version of a benchmark has to report."""


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_runs_and_reports_its_figures(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    assert main([name, "--tiny", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["name"] == name
    assert report["figures"].keys() >= KEYS[name]
    assert all(value >= 0 for value in report["figures"].values())
    assert all(report["figures"][key] > 0 for key in KEYS[name])
    assert report["rows"]
    printed = capsys.readouterr().out
    assert all(key in printed for key in report["figures"])


def test_benchmarks_are_listed_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    for benchmark in BENCHMARKS.values():
        assert benchmark.name in listed
        assert benchmark.description in listed


def test_an_unknown_name_is_an_error_that_tells_the_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["imports"]) == 2
    message = capsys.readouterr().err
    assert "'imports'" in message
    assert all(name in message for name in BENCHMARKS)


def test_a_file_that_cannot_be_written_is_an_error_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "--tiny", "--json", str(tmp_path / "none" / "figures.json")]) == 2
    assert "none" in capsys.readouterr().err


def test_two_sizes_at_once_are_refused() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["import", "--quick", "--tiny"])
    assert ended.value.code == 2


def test_a_size_that_a_benchmark_does_not_have_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["import", "--large"]) == 2
    assert "import has no --large" in capsys.readouterr().err


def test_benchmarks_do_not_need_pytest() -> None:
    script = "import sys; sys.modules['pytest'] = None; import tests.benchmarks.__main__"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_machine_facts_tell_cores_and_versions_but_not_which_machine_it_is() -> None:
    facts = machine_facts()
    assert facts["cores"] >= 1
    assert {"python", "numpy", "zarr", "duckdb"} <= facts.keys()
    node = subprocess.run(["uname", "-n"], capture_output=True, text=True, check=True).stdout
    assert node.strip() not in facts.values()


def touch_memory(megabytes: int) -> int:
    """Use memory in a process of its own; return how much."""
    return int(np.ones(megabytes << 20, np.uint8).sum())


def test_peak_memory_is_that_of_the_measured_function_alone() -> None:
    parents = np.ones(400 << 20, np.uint8)
    small, large = run_apart(touch_memory, 1), run_apart(touch_memory, 300)
    assert large.value == 300 << 20
    assert large.peak_rss - small.peak_rss == pytest.approx(299 << 20, rel=0.1)
    assert small.peak_rss < len(parents)


def test_a_stopwatch_adds_up_and_tells_working_from_waiting() -> None:
    watch = Stopwatch()
    with watch:
        time.sleep(0.2)
    assert watch.seconds >= 0.2
    assert watch.cpu_seconds < 0.1
    with watch:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
    assert watch.seconds >= 0.3
    assert watch.cpu_seconds >= 0.1
    assert watch.other_cpu_seconds >= 0


def test_an_error_in_a_process_apart_arrives() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        run_apart(int, "no number")


def batch(device: list[str], temperature: list[float]) -> pa.RecordBatch:
    """Return rows one second apart."""
    times = [datetime.fromtimestamp(1_700_000_000 + at, UTC) for at in range(len(device))]
    return pa.record_batch(
        {
            "device": pa.array(device).dictionary_encode(),
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "temperature": pa.array(temperature),
        }
    )


ROWS = batch(["a", "b", "b"], [20.5, 20.5, -0.0])


def test_a_fingerprint_does_not_depend_on_order_batches_or_how_devices_are_kept() -> None:
    found = fingerprint([ROWS])
    assert found.rows == 3
    assert fingerprint([ROWS.slice(2), ROWS.slice(0, 2)]) == found
    texts = ROWS.set_column(0, "device", ROWS["device"].cast(pa.string()))
    assert fingerprint([texts.select(["temperature", "time", "device"])]) == found


@pytest.mark.parametrize(
    "other",
    [
        batch(["a", "b", "b"], [20.5, 20.5, 0.0]),
        batch(["a", "b", "c"], [20.5, 20.5, -0.0]),
        batch(["b", "a", "b"], [20.5, 20.5, -0.0]),
        batch(["a", "b", "b"], [20.6, 20.4, -0.0]),
    ],
    ids=["the sign of a zero", "a device", "swapped devices", "values with the same sum"],
)
def test_a_fingerprint_tells_any_change(other: pa.RecordBatch) -> None:
    assert fingerprint([other]) != fingerprint([ROWS])


def test_a_side_that_lost_rows_is_found_out() -> None:
    check_rows("us", Fingerprint(3, 7), Fingerprint(3, 7))
    with pytest.raises(WrongResultError, match="us holds 2 rows"):
        check_rows("us", Fingerprint(2, 7), Fingerprint(3, 7))


def test_a_job_that_fails_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(WrongResultError, match="no-such-job"):
        run_job(str(tmp_path / "no-such-job.yaml"), tmp_path)


def test_a_benchmark_whose_work_went_wrong_reports_no_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose_rows(size: Size, show: Callable[[str], None]) -> Outcome:
        raise WrongResultError("rows are lost")

    broken = {"broken": Benchmark("broken", "loses rows", lose_rows)}
    monkeypatch.setattr("tests.benchmarks.command.BENCHMARKS", broken)
    file = tmp_path / "figures.json"
    assert main(["broken", "--json", str(file)]) == 1
    assert "rows are lost" in capsys.readouterr().err
    assert not file.exists()
