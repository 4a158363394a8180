"""Jobs on other clusters than the embedded one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import psutil
import pytest

from pipeline.errors import JobError, MissingDependencyError
from pipeline.jobs.clusters import open_cluster
from pipeline.jobs.job_file import ClusterOptions, Job
from tests.jobs.running import run, simulated


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with one worker process."""
    with distributed.LocalCluster(  # type: ignore[no-untyped-call]
        processes=True, n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield str(cluster.scheduler_address)


def options(given: Any) -> ClusterOptions:
    job = {"archive": "a", "cluster": given, "steps": ["report"]}
    return Job.model_validate(job).cluster


def test_workers_in_other_processes_do_the_same(tmp_path: Path, scheduler: str) -> None:
    step = simulated(channels=["temperature", "state"], faults={"corrupt_times": 0.1})
    here = run(tmp_path / "here", step)
    there = run(tmp_path / "there", step, cluster=scheduler)
    assert there.report["cluster"]["kind"] == scheduler
    assert there.rows().equals(here.rows())
    names = ("rows", "points", "quarantined", "blocks", "block_bytes", "raw_bytes")
    for name in names:
        assert there.report["steps"][0][name] == here.report["steps"][0][name]


def test_a_scheduler_is_left_running(tmp_path: Path, scheduler: str) -> None:
    for name in ("one", "two"):
        report = run(tmp_path / name, simulated(), cluster={"address": scheduler, "workers": 1})
        assert report.report["cluster"]["workers"] == 1


def test_a_cluster_class(tmp_path: Path) -> None:
    cluster = {
        "class": "distributed.LocalCluster",
        "arguments": {"processes": False, "n_workers": 1, "dashboard_address": "127.0.0.1:0"},
        "workers": 2,
    }
    report = run(tmp_path, simulated(), cluster=cluster).report
    assert report["cluster"]["kind"] == "distributed.LocalCluster"
    assert report["cluster"]["workers"] == 2
    assert report["steps"][0]["rows"] == 600


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ("tcp://127.0.0.1:9", JobError, "the scheduler cannot be reached"),
        ("nonsense://x", JobError, "the scheduler cannot be reached"),
        ({"class": "dask_nowhere.Cluster"}, MissingDependencyError, "is dask-nowhere installed"),
        ({"class": "distributed.NoCluster"}, JobError, "'distributed' has no 'NoCluster'"),
        (
            {"class": "distributed.LocalCluster", "arguments": {"n_wokers": 1, "processes": False}},
            JobError,
            "cannot be started with",
        ),
        (
            {
                "class": "distributed.LocalCluster",
                "arguments": {
                    "n_workers": 0,
                    "processes": False,
                    "dashboard_address": "127.0.0.1:0",
                },
                "timeout": "100 ms",
            },
            JobError,
            "0 of 1 workers came within 100 ms",
        ),
    ],
)
def test_clusters_that_cannot_be(given: Any, error: type[Exception], said: str) -> None:
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "500ms"}),
        pytest.raises(error, match=said),
        open_cluster(options(given)),
    ):
        pass


def test_workers_that_lack_the_package_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'pipeline'")

    monkeypatch.setattr("pipeline.jobs.worker_plugin.warm_up", missing)
    with pytest.raises(JobError, match="is it installed there"), open_cluster(options("local")):
        pass


def test_the_embedded_cluster_listens_to_this_machine_only() -> None:
    def listening() -> set[Any]:
        connections = psutil.Process().net_connections("inet")
        return {c.laddr for c in connections if c.status == psutil.CONN_LISTEN}

    before = listening()
    with open_cluster(options("local")) as cluster:
        assert cluster.threads >= 1
        assert {host for host, _ in listening() - before} == {"127.0.0.1"}
