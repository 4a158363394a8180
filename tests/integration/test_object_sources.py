"""Importing from an S3-protocol server: every kind of file, and objects that change."""

from __future__ import annotations

import gzip
import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from pipeline.connectors.mapping import find_files, list_files
from pipeline.connectors.mapping.object_stores import connect
from pipeline.errors import InvalidInputError, JobError, NotFoundError
from tests.jobs.running import run


class Bucket:
    """A bucket and the options to reach it."""

    def __init__(self, endpoint: str) -> None:
        self.options = {
            "endpoint_url": endpoint,
            "region": "us-east-1",
            "allow_http": True,
            "force_path_style": True,
            "access_key_id": "test",
            "secret_access_key": "test",
        }
        self.system: pafs.FileSystem = connect("s3://bucket", self.options)[0]

    def put(self, key: str, data: bytes) -> None:
        with self.system.open_output_stream(f"bucket/{key}", compression=None) as stream:
            stream.write(data)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    request = urllib.request.Request(f"{endpoint}/bucket", method="PUT")
    with urllib.request.urlopen(request, timeout=30):
        pass
    yield Bucket(endpoint)
    server.stop()


def test_folders_and_patterns(bucket: Bucket) -> None:
    for key in ("find/a.csv", "find/x=1/b c.csv", "find/x=1/y/d.csv", "find/_log", "find/e.txt"):
        bucket.put(key, key.encode())
    url, options = "s3://bucket/find", bucket.options
    everything = tuple(f"{url}/{name}" for name in ("a.csv", "e.txt", "x=1/b c.csv", "x=1/y/d.csv"))
    assert find_files(url, options) == everything
    assert find_files(f"{url}/", options) == everything
    assert find_files(f"{url}/**/*.csv", options) == tuple(
        name for name in everything if name.endswith(".csv")
    )
    assert find_files(f"{url}/*/*.csv", options) == (f"{url}/x=1/b c.csv",)
    assert find_files(f"{url}/_log", options) == (f"{url}/_log",)
    with pytest.raises(NotFoundError, match=r"s3://bucket/none"):
        find_files("s3://bucket/none/*.csv", options)
    with pytest.raises(NotFoundError, match="s3://nobody"):
        find_files("s3://nobody/*.csv", options)
    with pytest.raises(InvalidInputError, match="name the bucket"):
        find_files("s3://buck*/a.csv", options)


def test_an_object_of_the_same_size_is_another_one(bucket: Bucket) -> None:
    states = []
    for data in (b"one", b"two", b"one"):
        bucket.put("state.csv", data)
        (found,) = list_files("s3://bucket/state.csv", bucket.options)
        assert found.size == 3
        states.append(found.state)
    assert states[0] != states[1]
    assert states[0] == states[2]


CHANNELS = {"t": {"dtype": "float64"}}


def line(device: str, minute: int, value: float) -> str:
    return f"{device},2025-01-01T00:{minute:02}:00Z,{value}\n"


def delimited(bucket: Bucket, path: str, **options: Any) -> dict[str, Any]:
    mapping = {"device": "device", "time": "time", "channels": CHANNELS}
    told = {"path": path, "mapping": mapping, "storage_options": bucket.options, **options}
    return {"delimited": told}


def step(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "import": {"fleet": "rooms", "source": source, "partitioning": {"window": "day"}, **more}
    }


def values(table: pa.Table) -> list[Any]:
    return list(table["t"].to_pylist())


def test_text_in_pieces_and_compressed(bucket: Bucket, tmp_path: Path) -> None:
    head = "device,time,t\n"
    lines = [line(f"d{at % 3}", at % 60, at + 0.5) for at in range(60)]
    bucket.put("text/a.csv", (head + "".join(lines[:30])).encode())
    bucket.put("text/b.csv.gz", gzip.compress((head + "".join(lines[30:])).encode()))
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write((head + line("d9", 0, 99.0)).encode())
    bucket.put("text/c.csv.zst", sink.getvalue().to_pybytes())
    outcome = run(tmp_path, step(delimited(bucket, "s3://bucket/text/**", piece_bytes=300)))
    done = outcome.report["steps"][0]
    assert done["fragments"] > 4
    assert done["rows"] == 61
    assert sorted(values(outcome.rows())) == [at + 0.5 for at in range(60)] + [99.0]
    assert "secret" not in json.dumps(outcome.report)


def test_an_object_that_changed_is_not_taken_for_the_one_that_was_imported(
    bucket: Bucket, tmp_path: Path
) -> None:
    job = step(delimited(bucket, "s3://bucket/grow/*.csv"))
    bucket.put("grow/a.csv", f"device,time,t\n{line('d', 0, 1.5)}".encode())
    assert run(tmp_path, job).report["steps"][0]["rows"] == 1
    again = run(tmp_path, job).report["steps"][0]
    assert (again["rows"], again["skipped"]) == (0, 1)
    bucket.put("grow/a.csv", f"device,time,t\n{line('d', 0, 2.5)}".encode())  # the same size
    bucket.put("grow/b.csv", f"device,time,t\n{line('d', 1, 3.5)}".encode())
    outcome = run(tmp_path, job)
    done = outcome.report["steps"][0]
    assert (done["fragments"], done["skipped"]) == (2, 0)
    assert values(outcome.rows()) == [2.5, 3.5]


def test_a_changed_object_is_refused_where_repeated_rows_are_kept(
    bucket: Bucket, tmp_path: Path
) -> None:
    job = step(delimited(bucket, "s3://bucket/kept.csv"), duplicates="keep_all")
    bucket.put("kept.csv", f"device,time,t\n{line('d', 0, 1.5)}".encode())
    run(tmp_path, job)
    bucket.put("kept.csv", f"device,time,t\n{line('d', 0, 2.5)}".encode())
    with pytest.raises(JobError, match="has changed since it was imported"):
        run(tmp_path, job)


def test_new_credentials_do_not_make_another_source(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("same.csv", f"device,time,t\n{line('d', 0, 1.5)}".encode())
    source = delimited(bucket, "s3://bucket/same.csv")
    run(tmp_path, step(source))
    source["delimited"]["storage_options"] = {**bucket.options, "secret_access_key": "other"}
    assert run(tmp_path, step(source)).report["steps"][0]["skipped"] == 1


def test_a_partitioned_parquet_data_set(bucket: Bucket, tmp_path: Path) -> None:
    for site in ("Oslo", "S%C3%A3o Paulo"):
        table = pa.table(
            {
                "node": ["n1", "n2"],
                "time": pa.array([0, 60_000_000], pa.timestamp("us", tz="UTC")),
                "t": [1.5, 2.5],
            }
        )
        sink = io.BytesIO()
        pq.write_table(table, sink)
        bucket.put(f"set/site={site}/part-0.parquet", sink.getvalue())
    source = {
        "parquet": {
            "path": "s3://bucket/set",
            "storage_options": bucket.options,
            "device": "{site}/{node}",
            "channels": {"t": "t", "place": "site"},
            "tag_columns": {"site": "site"},
        }
    }
    outcome = run(tmp_path, step(source))
    fleet = outcome.archive.fleet("rooms")
    assert sorted(fleet.devices) == ["Oslo/n1", "Oslo/n2", "São Paulo/n1", "São Paulo/n2"]
    assert outcome.rows()["place"].to_pylist() == ["Oslo"] * 2 + ["São Paulo"] * 2
    means = fleet.aggregate({"t": "mean"}, by=["site"])
    assert sorted(means["site"].values.tolist()) == ["Oslo", "São Paulo"]


def test_line_protocol_and_documents(bucket: Bucket, tmp_path: Path) -> None:
    lines = "".join(f"air,id=d{at % 2},site=x t={at}.5 {at}\n" for at in range(50))
    bucket.put("lines/a.lp", f"# a comment\n{lines}air t=1 1\n".encode())
    mapping = {"device": "id", "tags": ["site"], "precision": "s", "channels": CHANNELS}
    told = {
        "path": "s3://bucket/lines/*.lp",
        "mapping": mapping,
        "piece_bytes": 400,
        "storage_options": bucket.options,
    }
    outcome = run(tmp_path / "lp", step({"line_protocol": told}))
    done = outcome.report["steps"][0]
    assert (done["rows"], done["quarantined"], done["ignored"]) == (50, 1, 1)
    assert outcome.archive.fleet("rooms").aggregate({"t": "count"}, by=["site"])["site"] == "x"
    documents = "".join(
        json.dumps({"id": "d", "at": f"2025-01-01T00:{at:02}:00Z", "v": at}) + "\n"
        for at in range(50)
    )
    bucket.put("docs/a.ndjson", documents.encode())
    told = {
        "path": "s3://bucket/docs",
        "mapping": {
            "device": "id",
            "time": "at",
            "channels": {"t": {"column": "v", "dtype": "int8"}},
        },
        "piece_bytes": 400,
        "storage_options": bucket.options,
    }
    outcome = run(tmp_path / "json", step({"json": told}))
    assert outcome.report["steps"][0]["fragments"] > 4
    assert values(outcome.rows()) == list(range(50))
