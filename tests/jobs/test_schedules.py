"""The ready files in configs: scheduled jobs, timers, crontabs, clusters."""

from __future__ import annotations

import configparser
import importlib.util
import inspect
import io
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.jobs.job_file import load_job
from pipeline.jobs.progress import LogLines
from pipeline.jobs.runner import run_job
from tests.jobs.running import run, simulated

CONFIGS = Path(__file__).parents[2] / "configs"
UNITS = sorted((CONFIGS / "systemd").iterdir())
CLUSTERS = [
    path for path in sorted((CONFIGS / "clusters").iterdir()) if path.name != "dask-cluster.yaml"
]
PYTHON = "/opt/iot-archive/.venv/bin/python"


def test_hourly_and_daily_jobs_do_what_is_due_and_nothing_twice(tmp_path: Path) -> None:
    archive = run(tmp_path, simulated(interval="15 min")).archive

    def scheduled(name: str) -> dict[str, Any]:
        places = [f"archive={tmp_path}/archive", f"report={tmp_path}/{name}.json"]
        out = io.StringIO()
        done = run_job(load_job(CONFIGS / f"{name}.yaml", places), out=out, progress=LogLines())
        assert done["status"] == "succeeded"
        assert out.getvalue()
        return done

    def cells(report: dict[str, Any]) -> list[int]:
        return [one["cells"] for one in report["steps"][0]["rollups"]]

    assert cells(scheduled("hourly")) == [12 * 13]
    assert cells(scheduled("hourly")) == [0]
    daily = scheduled("daily")
    assert cells(daily) == [0, 12, 12]
    assert [step["step"] for step in daily["steps"]] == ["rollup", "maintenance", "stats"]
    before = [commit.metadata.get("kind") for commit in archive.history()]
    assert cells(scheduled("daily")) == [0, 0, 0]
    after = [commit.metadata.get("kind") for commit in archive.history()]
    assert after == ["lease", "lease", *before]


def read_unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path)
    return parser


def test_timers_start_jobs_that_there_are() -> None:
    service = read_unit(CONFIGS / "systemd" / "iot-archive@.service")["Service"]
    command = f"{PYTHON} -m pipeline --quiet /etc/iot-archive/%i.yaml"
    assert service["ExecStart"] == command
    timers = [path for path in UNITS if path.suffix == ".timer"]
    assert len(timers) == 2
    for path in timers:
        timer = read_unit(path)["Timer"]
        started = re.fullmatch(r"iot-archive@(\w+)\.service", timer["Unit"])
        assert started is not None
        assert (CONFIGS / f"{started[1]}.yaml").is_file()
        assert timer["Persistent"] == "true"


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    for path in UNITS:
        # Only what is installed can be executed.
        (tmp_path / path.name).write_text(path.read_text().replace(PYTHON, sys.executable))
    names = ["iot-archive@hourly.service", *(one.name for one in UNITS if one.suffix == ".timer")]
    if verify is not None:
        done = subprocess.run(
            [verify, "verify", "--man=no", *names],
            capture_output=True, text=True, check=False,
            env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


def test_the_crontab_runs_jobs_that_there_are() -> None:
    lines = (CONFIGS / "cron" / "iot-archive").read_text().splitlines()
    told = [line for line in lines if line and not line.startswith("#")]
    variables = [line for line in told if re.fullmatch(r"[A-Z_]+=\S+", line)]
    runs = [line for line in told if line not in variables]
    assert len(runs) == 3
    for line in runs:
        *times, user, command = line.split(maxsplit=6)
        assert len(times) == 5
        for text, most in zip(times, (59, 23, 31, 12, 7), strict=True):
            assert text == "*" or 0 <= int(text) <= most
        assert user == "iot-archive"
        job = re.fullmatch(
            rf"cd /\S+ && {PYTHON} -m pipeline --quiet /etc/iot-archive/(\w+\.yaml)", command
        )
        assert job is not None
        # A percent sign would end the command.
        assert "%" not in command
        assert (CONFIGS / job[1]).is_file()


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
def test_jobs_for_clusters_name_arguments_that_their_class_takes(path: Path) -> None:
    job = load_job(path).job
    assert job.cluster.class_ is not None
    assert job.cluster.workers
    assert job.lease is not None
    module, _, name = job.cluster.class_.rpartition(".")
    if importlib.util.find_spec(module.partition(".")[0]) is not None:
        kind = getattr(import_module(module), name)
        # Those of the jobs that it submits are taken by the cluster as well.
        kinds = [*inspect.getmro(kind), *inspect.getmro(getattr(kind, "job_cls", object))]
        signatures = [inspect.signature(one) for one in kinds if one is not object]
        taken = {name for signature in signatures for name in signature.parameters}
        assert set(job.cluster.arguments) <= taken


def test_the_cluster_for_kubernetes_is_one_of_the_operator() -> None:
    """The parts that the custom resource and the operator require."""
    arguments = load_job(CONFIGS / "clusters" / "kubernetes.yaml").job.cluster.arguments
    manifest = yaml.safe_load((CONFIGS.parent / arguments["custom_cluster_spec"]).read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    name, spec = manifest["metadata"]["name"], manifest["spec"]
    assert set(spec) == {"worker", "scheduler"}
    assert isinstance(spec["worker"]["replicas"], int)
    (worker,) = spec["worker"]["spec"]["containers"]
    (scheduler,) = spec["scheduler"]["spec"]["containers"]
    assert worker["image"] == scheduler["image"]
    assert "$(DASK_WORKER_NAME)" in worker["args"]
    service = spec["scheduler"]["service"]
    assert service["selector"] == {
        "dask.org/cluster-name": name,
        "dask.org/component": "scheduler",
    }
    ports = {port["name"]: port["containerPort"] for port in scheduler["ports"]}
    assert ports == {"tcp-comm": 8786, "http-dashboard": 8787}
    assert {port["targetPort"]: port["port"] for port in service["ports"]} == ports
