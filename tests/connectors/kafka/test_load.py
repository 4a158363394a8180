"""The load of benchmarks: every reading it says it wrote is there, once."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.benchmarks.kafka_load import PAYLOAD, Load, start_load
from tests.connectors.kafka.hosts import running
from tests.connectors.kafka.topics import Topic


@pytest.mark.parametrize("each", [1, 10])
def test_what_is_written_is_read(topic: Callable[..., Topic], each: int) -> None:
    told = topic(partitions=2)
    load = Load(told.address, told.name, readings=500, each=each, devices=7, rate=100_000)
    with start_load(load) as process:
        output, _ = process.communicate(timeout=60)
    written = json.loads(output)
    assert (written["readings"], written["messages"]) == (500, 500 // each)
    rows: set[tuple[str, object]] = set()
    with running(told.options(payload=PAYLOAD)) as host:
        while len(rows) < 500:
            batch = host.source.poll(1.0)
            for row in batch.table.to_pylist() if batch is not None else ():
                rows.add((row["device"], row["time"]))
        counters = host.source.counters()
    assert len(rows) == counters["rows"] == 500
    assert counters["rejected"] == 0
