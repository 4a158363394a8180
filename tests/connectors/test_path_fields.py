"""Files whose names and folders tell what their rows do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline.connectors.delimited import DelimitedSource
from pipeline.connectors.json_documents import JsonSource
from pipeline.connectors.mapping import PathFields, RowMapping
from pipeline.errors import InvalidInputError
from tests.jobs.running import run

MAPPING = {
    "device": "device",
    "time": "time",
    "channels": {"temperature": {"column": "temp", "dtype": "float64"}},
    "tags": ["site", "model"],
}


@pytest.mark.parametrize(
    ("template", "path", "told"),
    [
        ("{device}.csv", "/data/a.b.csv", {"device": "a.b"}),
        ("{device}.csv", "a.csv", {"device": "a"}),
        ("{site}/{device}_{day}.csv.gz", "s3://x/ghent/p_4_2024.csv.gz", None),
        ("site={site}/{device}.csv", "/data/site=Bergen/p (1).csv", None),
        ("", "/data/a.csv", {}),
    ],
)
def test_paths(template: str, path: str, told: dict[str, str] | None) -> None:
    fields = PathFields(template)
    found = fields.read(path)
    assert tuple(found) == fields.names
    if told is not None:
        assert found == told
    elif "day" in found:
        assert found == {"site": "ghent", "device": "p", "day": "4_2024"}, "the shortest first"
    else:
        assert found == {"site": "Bergen", "device": "p (1)"}


def test_a_path_that_does_not_match() -> None:
    with pytest.raises(
        InvalidInputError, match=r"'/data/a\.txt' does not match .* narrow the path"
    ):
        PathFields("{device}.csv").read("/data/a.txt")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{device", "expected '}'"),
        ("{a}/{a}.csv", "twice"),
        ("{a b}.csv", "letters"),
        ("{}.csv", "letters"),
        ("{a:>3}.csv", "no format"),
    ],
)
def test_templates_that_make_no_sense(template: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        PathFields(template)
    with pytest.raises(InvalidInputError, match=message):
        JsonSource("x", RowMapping.model_validate(MAPPING), path_fields=template)


def write(folder: Path, kind: str) -> None:
    for at, (site, device) in enumerate([("bergen", "p1"), ("bergen", "p2"), ("oslo", "p3")]):
        rows = [(f"2024-01-01T00:0{row}:00Z", at + row / 10, f"m{row}") for row in range(3)]
        path = folder / site / f"{device}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "csv":
            lines = [f"{time},{value},{model}" for time, value, model in rows]
            path.write_text("\n".join(["time,temp,model", *lines, "never,1,m9"]) + "\n")
        else:
            documents = [
                {"time": time, "temp": value, "model": model} for time, value, model in rows
            ]
            path.write_text("\n".join(map(json.dumps, [*documents, {"time": "never"}])) + "\n")


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_devices_and_tags_of_paths(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "files", kind)
    source: dict[str, Any] = {
        "path": str(tmp_path / "files" / "**" / f"*.{kind}"),
        "path_fields": f"{{site}}/{{device}}.{kind}",
        "mapping": MAPPING,
    }
    name = "delimited" if kind == "csv" else "json"
    done = run(tmp_path, {"import": {"fleet": "pumps", "source": {name: source}}})
    assert (done.report["steps"][0]["rows"], done.report["steps"][0]["quarantined"]) == (9, 3)
    fleet = pipeline.Archive.open(tmp_path / "archive").fleet("pumps")
    assert {name: dict(tags) for name, tags in fleet.tags.items()} == {
        "p1": {"site": "bergen", "model": "m0"},
        "p2": {"site": "bergen", "model": "m0"},
        "p3": {"site": "oslo", "model": "m0"},
    }
    assert fleet.read("p3").read_all()["temperature"].to_pylist() == [2.0, 2.1, 2.2]
    assert fleet.read(where={"site": "bergen"}).read_all().num_rows == 6


def test_a_file_of_another_name_is_told_before_anything_is_read(tmp_path: Path) -> None:
    write(tmp_path, "csv")
    (tmp_path / "oslo" / "notes.txt").write_text("nothing")
    source = DelimitedSource(
        tmp_path, RowMapping.model_validate(MAPPING), path_fields="{site}/{device}.csv"
    )
    with pytest.raises(InvalidInputError, match=r"notes\.txt"):
        source.fragments()
