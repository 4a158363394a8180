"""The same rows in time order, device by device, or shuffled over files become the same content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.jobs import import_step
from pipeline.jobs.clusters import Cluster, open_cluster
from pipeline.jobs.import_step import import_all
from pipeline.jobs.job_file import ClusterOptions, Job
from pipeline.jobs.memory import ImportSizes
from pipeline.jobs.opening import open_archive
from pipeline.jobs.progress import LogLines
from tests.jobs.running import all_rows
from tests.support import HOUR, START

ORDERS = ("time", "device", "shuffled")
STATISTICS = ("count", "min", "max", "first", "last", "sum")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with open_cluster(ClusterOptions()) as cluster:
        yield cluster


rows = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.integers(0, 200),
        st.sampled_from([0.1, -0.0, 21.5, 1e300]) | st.floats(-1e6, 1e6),
        st.none() | st.sampled_from(["on", "off", ""]),
    ),
    min_size=1,
    max_size=120,
    unique_by=lambda row: row[:2],
)


def table(content: Sequence[tuple[int, int, float, str | None]]) -> pa.Table:
    device, step, value, state = zip(*content, strict=True)
    return pa.table(
        {
            "device": [f"d{number}" for number in device],
            "time": pa.array(START + np.array(step) * HOUR // 2, pa.timestamp("us", "UTC")),
            "value": pa.array(value, pa.float64()),
            "state": pa.array(state, pa.string()).dictionary_encode(),
        }
    )


def ordered(whole: pa.Table, order: str, seed: int) -> pa.Table:
    if order == "shuffled":
        return whole.take(np.random.default_rng(seed).permutation(whole.num_rows))
    keys = ["time", "device"] if order == "time" else ["device", "time"]
    return whole.sort_by([(key, "ascending") for key in keys])


def stored(
    cluster: Cluster, whole: pa.Table, folder: Path, files: int, window: str, landing: int
) -> tuple[pa.Table, list[bytes]]:
    """Import rows from some files; return all that is stored, and statistics bit by bit."""
    (folder / "in").mkdir(parents=True)
    cuts = np.linspace(0, whole.num_rows, files + 1).astype(int)
    for at, (start, stop) in enumerate(pairwise(cuts.tolist())):
        pq.write_table(whole.slice(start, stop - start), folder / "in" / f"{at:02d}.parquet")
    partitioning = {"window": window, "devices_per_block": 3, "landing_rows": landing}
    step = {
        "fleet": "rooms",
        "source": {"parquet": {"path": str(folder / "in" / "*.parquet")}},
        "schema": [{"name": "value", "dtype": "float64"}, {"name": "state", "dtype": "category"}],
        "partitioning": partitioning,
    }
    job = Job.model_validate({"archive": str(folder / "archive"), "steps": [{"import": step}]})
    opened = open_archive(job)
    chosen = job.steps[0].import_
    assert chosen is not None
    (report,) = import_all(opened, cluster, chosen, LogLines())
    assert report.rows == whole.num_rows
    answer = (
        opened.archive.fleet("rooms")
        .aggregate({"value": list(STATISTICS)}, every="1 day")
        .sortby("device")
    )
    exact = [np.asarray(answer[f"value_{name}"].values).tobytes() for name in STATISTICS[:5]]
    return all_rows(opened.archive), exact


@given(
    rows,
    st.integers(1, 5),
    st.sampled_from(["hour", "day", "month"]),
    st.sampled_from([0, 8]),
    st.integers(0, 99),
)
@settings(max_examples=8)
def test_three_orders_of_the_same_rows_are_stored_alike(
    cluster: Cluster,
    content: list[tuple[int, int, float, str | None]],
    files: int,
    window: str,
    landing: int,
    seed: int,
) -> None:
    whole = table(content)
    sizes = ImportSizes(part_rows=20, reading=2, group_rows=40)
    with pytest.MonkeyPatch.context() as patched, TemporaryDirectory() as folder:
        patched.setattr(import_step, "choose_sizes", lambda *_: sizes)
        found = {
            order: stored(
                cluster, ordered(whole, order, seed), Path(folder) / order, files, window, landing
            )
            for order in ORDERS
        }
    in_order, exact = found["time"]
    assert bits(in_order) == bits(ordered(whole, "device", 0))
    for rows_found, statistics in found.values():
        assert bits(rows_found) == bits(in_order)
        assert statistics == exact


def bits(found: pa.Table) -> list[tuple[object, ...]]:
    """Return rows as something that compares bit by bit."""
    values = found["value"].to_numpy().view(np.int64).tolist()
    columns = [found["device"], found["time"].cast(pa.int64()), found["state"].cast(pa.string())]
    return list(zip(*(column.to_pylist() for column in columns), values, strict=True))
