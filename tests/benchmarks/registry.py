"""All benchmarks, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.benchmarks import (
    codec_bench,
    devices_bench,
    history_bench,
    import_bench,
    latency_bench,
    mqtt_source_bench,
    partition_bench,
    payloads_bench,
    query_bench,
    quickstart_bench,
    rollup_bench,
    scale_bench,
    schema_bench,
    stream_bench,
    xarray_bench,
)
from tests.benchmarks.outcome import Benchmark

__all__ = ["BENCHMARKS"]

_ALL: Final = (
    Benchmark(
        "codecs",
        "sizes and speeds of blocks of real and made-up sensors, against pcodec and others",
        codec_bench.run,
    ),
    Benchmark(
        "devices",
        "registering, opening, asking and appending as a fleet grows to a million devices",
        devices_bench.run,
    ),
    Benchmark(
        "history",
        "thousands of small commits, then maintenance: sizes and latencies against a new archive",
        history_bench.run,
    ),
    Benchmark(
        "import",
        "appending a stream of two sensors, against DuckDB writing sorted zstd Parquet",
        import_bench.run,
    ),
    Benchmark(
        "latency",
        "questions to archives of a hundred million and a billion values, warm and cold",
        latency_bench.run,
    ),
    Benchmark(
        "mqtt_source",
        "messages of an MQTT broker to rows, all acknowledged, against paho",
        mqtt_source_bench.run,
    ),
    Benchmark(
        "partition",
        "raw rows into partitions, by one and by two worker processes",
        partition_bench.run,
    ),
    Benchmark(
        "payloads",
        "live messages of every payload format to rows, one reading and a hundred a message",
        payloads_bench.run,
    ),
    Benchmark(
        "query",
        "query types of the Time Series Benchmark Suite, against DuckDB and ClickHouse",
        query_bench.run,
        has_large=True,
    ),
    Benchmark(
        "quickstart",
        "the job configs/quickstart.yaml in fresh processes: import and three questions",
        quickstart_bench.run,
    ),
    Benchmark(
        "rollup",
        "hours and days of a hundred million points, then once more after late rows",
        rollup_bench.run,
    ),
    Benchmark(
        "scale",
        "an archive of 10,000 devices that grows to a billion points, and what it answers",
        scale_bench.run,
    ),
    Benchmark(
        "schema",
        "changing a schema, reading over versions, and a migration while rows arrive",
        schema_bench.run,
    ),
    Benchmark(
        "stream",
        "small batches through a stream: readings a second, acknowledgements, freshness, memory",
        stream_bench.run,
    ),
    Benchmark(
        "xarray",
        "opening, selecting and Dask through xarray, against plain Zarr with Blosc",
        xarray_bench.run,
    ),
)

BENCHMARKS: Final[Mapping[str, Benchmark]] = {benchmark.name: benchmark for benchmark in _ALL}
"""The benchmarks in the order in which they are listed."""
