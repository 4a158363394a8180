"""What job files may say, and how they are told what they may not."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.connectors.parquet import ParquetSource
from pipeline.errors import JobError
from pipeline.jobs.job_file import load_job
from pipeline.jobs.source_options import ParquetOptions, SimulatedOptions, TsbsOptions
from pipeline.jobs.step_options import ImportStep
from pipeline.schema.channels import Channel
from pipeline.simulation.fleets import SimulatedFleet, SimulatedSource
from pipeline.simulation.tsbs_iot import TsbsIot
from tests.jobs.running import simulated

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def load(tmp_path: Path, document: Any, *overrides: str, **environment: str) -> Any:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_job(path, overrides, environment)


def minimal() -> dict[str, Any]:
    return {"archive": "a", "steps": [simulated()]}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_file_in_configs_is_a_job(path: Path) -> None:
    assert load_job(path).job.steps


def test_there_are_configs() -> None:
    assert {"quickstart.yaml", "real-data.yaml"} <= {path.name for path in CONFIGS}


class TestLoading:
    def test_defaults(self, tmp_path: Path) -> None:
        job = load(tmp_path, minimal()).job
        assert (job.if_exists, str(job.cluster), job.cluster.is_local) == ("append", "local", True)
        assert job.steps[0].chosen.duplicates.value == "keep_last"

    def test_overrides_come_before_the_environment(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, minimal(), "archive=${PLACE:-here}/x", PLACE="there")
        assert loaded.job.archive == "there/x"
        assert loaded.hint == " (set the environment variable PLACE to look elsewhere)"

    def test_numbers_may_come_from_the_environment(self, tmp_path: Path) -> None:
        document = minimal()
        document["steps"][0]["import"]["source"]["simulated"]["devices"] = "${N}"
        assert load(tmp_path, document, N="7").job.steps[0].chosen.source.chosen.devices == 7

    def test_jobs_cannot_be_changed(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="frozen"):
            load(tmp_path, minimal()).job.archive = "b"

    def test_a_step_without_options_may_be_a_word(self, tmp_path: Path) -> None:
        job = load(tmp_path, minimal() | {"steps": ["report", {"report": None}]}).job
        assert job.steps[0] == job.steps[1]

    @pytest.mark.parametrize(
        ("archive", "report"),
        [
            ("data/demo", f"{Path.cwd()}/data/demo.report.json"),
            ("data/demo/", f"{Path.cwd()}/data/demo.report.json"),
            ("~/demo", f"{Path.home()}/demo.report.json"),
            ("file:///data/demo", "/data/demo.report.json"),
            ("s3://bucket/some/demo", "demo.report.json"),
            ("memory://", "archive.report.json"),
        ],
    )
    def test_where_the_report_goes_by_default(
        self, tmp_path: Path, archive: str, report: str
    ) -> None:
        assert load(tmp_path, minimal() | {"archive": archive}).job.report_path == Path(report)

    def test_a_schema_and_its_ranges(self, tmp_path: Path) -> None:
        channel = {"name": "t", "dtype": "float32", "units": "K", "valid_range": [0, 400]}
        document = minimal() | {"steps": [simulated(step={"schema": [channel]})]}
        step: ImportStep = load(tmp_path, document).job.steps[0].chosen
        assert step.schema_given is not None
        assert step.schema_given.channels == (
            Channel("t", "float32", units="K", valid_range=(0, 400)),
        )


IMPORT = "steps.0.import"
SIMULATED = f"{IMPORT}.source.simulated"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("archiv=x", "unknown key 'archiv'; did you mean 'archive'?"),
        (
            "zzz=x",
            "unknown key 'zzz'; known are archive, cluster, if_exists, lease, report, steps,",
        ),
        ("archive=", "archive: has to be a valid string, not None"),
        ("archive=ftp://a/b", "archive: 'ftp://a/b': unknown scheme"),
        ("if_exists=maybe", "if_exists: has to be 'append', 'fail' or 'replace', not 'maybe'"),
        ("steps=[]", "steps: has to have at least one entry"),
        ("steps=3", "steps: has to be a valid tuple, not 3"),
        (f"{IMPORT}.fleets=x", f"{IMPORT}: unknown key 'fleets'; did you mean 'fleet'?"),
        (f"{IMPORT}.duplicates=x", f"{IMPORT}.duplicates: has to be 'keep_last', 'keep_first'"),
        (f"{IMPORT}.fragments_per_commit=0", "has to be greater than 0, not 0"),
        (f"{IMPORT}.partitioning.windw=x", "unknown key 'windw'; did you mean 'window'?"),
        (f"{IMPORT}.schema=[{{name: a, dtype: float}}]", "schema.0: channel 'a' has unknown dtype"),
        (f"{IMPORT}.schema=[{{nme: a}}]", "schema.0: key 'name' is missing"),
        (f"{SIMULATED}.devces=3", f"{SIMULATED}: unknown key 'devces'; did you mean 'devices'?"),
        (f"{SIMULATED}.devices=-3", f"{SIMULATED}: a fleet of -3 devices"),
        (f"{SIMULATED}.devices=x", f"{SIMULATED}.devices: has to be a valid integer"),
        (f"{SIMULATED}.faults={{nam: 1}}", f"{SIMULATED}.faults: unknown key 'nam'; did you mean"),
        (f"{SIMULATED}.faults={{nan: 3}}", f"{SIMULATED}.faults: fault nan is 3.0"),
        (
            f"{IMPORT}.source={{}}",
            "source: give exactly one of simulated, tsbs_iot, tsbs_cpu, parquet,",
        ),
        (f"{IMPORT}.source.parquet={{path: x}}", "found simulated, parquet"),
        (f"{IMPORT}.source={{parket: {{}}}}", "source: unknown key 'parket'; did you mean"),
        (f"{IMPORT}.source={{parquet: {{}}}}", "source.parquet: key 'path' is missing"),
        (f"{IMPORT}.source={{tsbs_iot: {{trucks: 0}}}}", "source.tsbs_iot: a run of 0 trucks"),
        (f"{IMPORT}.source={{tsbs_cpu: {{hosts: 0}}}}", "source.tsbs_cpu: a run of 0 hosts"),
        (
            f"{IMPORT}.source={{delimited: {{path: x, mapping: {{device: d, tme: t, channels: "
            "{v: {dtype: float65}}}}}",
            "delimited.mapping.channels.v.dtype: has to be 'bool', 'int8'",
        ),
        ("steps.0={report: {}, latest: {}}", "steps.0: give exactly one of import, ingest,"),
        ("steps.0=[report]", "steps.0: give exactly one of"),
        ("steps.0=reprot", "steps.0: unknown key 'reprot'; did you mean 'report'?"),
        ("steps.0={latest: {}}", "steps.0.latest: key 'fleet' is missing"),
        (
            "steps.0={aggregate: {fleet: a, statistics: {t: mean}, time: ['2025']}}",
            "steps.0.aggregate.time: entry 1 is missing",
        ),
        (
            "steps.0={latest: {fleet: a, output: a.txt}}",
            "output: 'a.txt' has to end in .parquet, .csv or .zarr",
        ),
        ("cluster=locl", "cluster: 'locl' is no cluster; use local, a scheduler's address"),
        ("cluster={clas: a.b}", "cluster: unknown key 'clas'; did you mean 'class'?"),
        ("cluster={class: LocalCluster}", "has to be an import path"),
        ("cluster={class: a.b, address: 'tcp://a'}", "not both"),
        ("cluster={workers: 3}", "arguments and workers are those of a cluster class"),
        ("cluster={address: 'tcp://a', timeout: soon}", "timeout: 'soon' is not a duration"),
        ("archive=${NOWHERE}", "environment variable NOWHERE is not set"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(JobError) as caught:
        load(tmp_path, minimal(), override)
    message = str(caught.value)
    assert said in message
    assert message.startswith(str(tmp_path / "job.yaml"))
    assert "\n" not in message


def test_a_file_that_is_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="a job file is a mapping with the keys archive, "):
        load(tmp_path, ["steps"])


def test_what_a_source_is_known_by_never_changes(tmp_path: Path) -> None:
    """Archives hold these texts: another one would import everything a second time."""

    def fingerprint(*overrides: str) -> str:
        step = load(tmp_path, minimal(), *overrides).job.steps[0].chosen
        return str(step.source.fingerprint)

    assert fingerprint() == fingerprint(f"{SIMULATED}.seed=0") == "ce92acf1fad2d2e6"
    assert fingerprint(f"{IMPORT}.source={{parquet: {{path: a}}}}") == "0e588e6b7bc932ee"
    assert fingerprint(f"{IMPORT}.source={{parquet: {{path: b, time: t}}}}") == "f3e3280236fd54d8"


@pytest.mark.parametrize(
    ("options", "described"),
    [
        (SimulatedOptions, (SimulatedFleet, SimulatedSource)),
        (TsbsOptions, (TsbsIot,)),
        (ParquetOptions, (ParquetSource,)),
    ],
)
def test_options_have_the_keys_of_what_they_build(
    options: type[Any], described: tuple[type[Any], ...]
) -> None:
    names = {field.name for one in described for field in fields(one) if field.init}
    assert set(options.model_fields) - {"measurement"} == names - {"fleet"}
