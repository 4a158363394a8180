"""What workers really hold during an import stays below what was estimated before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import distributed
import psutil
import pytest

from pipeline.jobs import import_step
from pipeline.jobs.memory import ImportSizes, estimate_memory
from tests.benchmarks.scale_data import Fleet, write_days
from tests.jobs.running import run, simulated

FLEET = Fleet(2000, 288)
ROW_BYTES = 8 + 4 + 2 * 9
SIZES = ImportSizes(part_rows=600_000, reading=4, group_rows=1_200_000)


@contextmanager
def watched(pids: list[int]) -> Iterator[list[int]]:
    """Note the memory of processes together, again and again."""
    seen: list[int] = []
    processes, over = [psutil.Process(pid) for pid in pids], Event()

    def watch() -> None:
        while not over.wait(0.01):
            seen.append(sum(process.memory_info().rss for process in processes))

    watching = Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()


def test_worker_processes_hold_no_more_than_was_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "days").mkdir()
    files = write_days(FLEET, 6, tmp_path / "days", processes=1)
    monkeypatch.setattr(import_step, "choose_sizes", lambda *_: SIZES)
    source = {"parquet": {"path": str(tmp_path / "days" / "*.parquet")}}
    step = {"fleet": "rooms", "source": source, "partitioning": {"window": "day"}}
    with distributed.LocalCluster(  # type: ignore[no-untyped-call]
        processes=True, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        told: dict[str, Any] = {"cluster": {"address": cluster.scheduler_address, "workers": 2}}
        run(tmp_path / "warm", simulated(), **told)
        pids = [worker.pid for worker in cluster.workers.values()]
        with watched(pids) as idle:
            time.sleep(0.1)
        with watched(pids) as busy:
            report = run(tmp_path / "job", {"import": step}, **told).report["steps"][0]
    assert report["rows"] == len(files) * FLEET.devices * FLEET.readings_per_day
    assert report["forked"]
    held = max(busy) - min(idle)
    estimated = estimate_memory(
        row_bytes=ROW_BYTES,
        part_rows=SIZES.part_rows,
        reading=SIZES.reading,
        group_rows=SIZES.group_rows,
    )
    assert held <= estimated
    # The estimate is of use only if it is not many times too high.
    assert held >= estimated / 8
